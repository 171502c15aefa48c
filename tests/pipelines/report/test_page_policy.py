"""Pages of ours under the policy they are served with: they look as they would without one, and break none of it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from pipelines.page_policy import style_element, style_sources
from service.api.reports import page_policy

CSS = ".a { width: 120px }\n"
PAGE = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{style_element(CSS)}<title>t</title></head><body>'
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
# What an attacker would write into a name, if a page of ours ever failed to escape it.
SMUGGLED = "<style>.a { width: 7px }</style><b class=b style='width:300px;display:block'>b</b><script>document.title = 'taken'</script>"
MEASURE = "[...document.querySelectorAll('svg, .card, table, h1, p, li, .b')].map(e => { const b = e.getBoundingClientRect(); const s = getComputedStyle(e); return [b.x, b.y, b.width, b.height, s.color, s.fill, s.fontSize].join(); })"
META = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "Chromium is needed for these tests: apt-get install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield started
        started.close()


def shown(browser: Browser, text: str, headers: dict[str, str]) -> tuple[list[str], list[str], str]:
    """What stands where on a page, what the console says, and its title."""
    said: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("console", lambda message: said.append(message.text))
    page.route("**/*", lambda route: route.fulfill(body=text, content_type="text/html", headers=headers))
    page.goto("http://127.0.0.1:9/report.html")
    measured: list[str] = page.evaluate(MEASURE)
    title = page.title()
    page.close()
    return measured, said, title


def test_a_report_looks_the_same_under_its_policy_and_the_console_is_silent(
    chromium: Browser, report: Path
) -> None:
    text = (report / "report.html").read_text("utf-8")
    policy = {"Content-Security-Policy": page_policy(text.encode())}
    free, _, _ = shown(chromium, META.sub("", text), {})
    bound, said, _ = shown(chromium, text, policy)
    assert said == []
    assert bound == free
    assert len(bound) > 50


def test_no_page_needs_a_style_of_its_own_or_a_script(report: Path) -> None:
    text = (report / "report.html").read_text("utf-8")
    assert "unsafe" not in text.split("</head>")[0]
    assert re.search(r"<[^>]*\sstyle=", text) is None
    assert len(re.findall("<style", text)) == 1


@pytest.mark.parametrize("served", [True, False], ids=["served", "from a disk"])
def test_a_style_or_script_that_was_smuggled_in_does_nothing(chromium: Browser, served: bool) -> None:
    text = f"{PAGE}<p class=a>x</p>{SMUGGLED}</body></html>"
    widths, said, title = shown(
        chromium, text, {"Content-Security-Policy": page_policy(text.encode())} if served else {}
    )
    assert title == "t"
    own, smuggled = (float(width.split(",")[2]) for width in widths)
    assert own == 120
    assert smuggled < 100
    assert "style-src" in said[0]


def test_only_the_first_style_is_known_by_its_hash() -> None:
    page = f"{PAGE}{SMUGGLED}".encode()
    assert page_policy(page) == page_policy(PAGE.encode())
    assert style_sources(page) in PAGE
    assert style_sources(b"<!doctype html><title>report</title>") == "'none'"
    assert "unsafe" not in page_policy(page)
