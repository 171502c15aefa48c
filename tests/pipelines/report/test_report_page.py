"""report.html: whole in one file, honest in every state, safe against hostile names, and readable when printed."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from shapely import box

from imagery import objects
from imagery.changes import Compared, Direction, Estimate, Status
from pipelines.report import write_report
from pipelines.report.figures import nice_length, timeline_figure
from pipelines.report.html_page import headline
from pipelines.report.summary import Verdict, expected_true, tallies, verdict
from pipelines.report.wording import GENERAL_LIMITS, coarse_limits, confidence, date, statement

VOID = {"meta", "br", "img", "hr"}


class Outline(HTMLParser):
    """Collects tags, addresses and text, and checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [
            v or "" for k, v in attrs if k in {"src", "href", "xlink:href", "srcset", "action"}
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def parsed(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert outline.open == []
    return outline


def page_of(made: Any, tmp_path: Path) -> Outline:
    write_report(made.analysis, made.read, tmp_path / "out")
    return parsed((tmp_path / "out" / "report.html").read_text("utf-8"))


def test_the_page_needs_nothing_from_outside(report: Path) -> None:
    text = (report / "report.html").read_text("utf-8")
    page = parsed(text)
    assert "script" not in page.tags
    assert all(
        re.match(r"data:image/|#change-|evidence/[0-9a-f]{16}/provenance\.json$", a) for a in page.addresses
    )
    assert "url(" not in text.split("</style>")[0]


def test_every_drawing_is_well_formed(report: Path) -> None:
    drawings = re.findall(r"<svg.*?</svg>", (report / "report.html").read_text("utf-8"), flags=re.DOTALL)
    assert len(drawings) > 12
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_a_reader_finds_findings_and_gaps_at_the_top(site: Any) -> None:
    assert headline(site.analysis) == (
        "Eight scenes between 4 March 2023 and 7 October 2023 were examined; seven showed the site. "
        "One object consistent with a container (90 % interval 1\u20132), two earth banks consistent with berms and one "
        "structural change not identified (about 29 m²) appeared. One object consistent with a container "
        "(90 % interval 1\u20132) was removed. On one date the site could not be seen (the scene could not be lined "
        "up); nothing is claimed about that date."
    )  # fmt: skip


def test_a_look_that_saw_a_part_of_the_site_is_no_fall_of_the_curve(report: Path, site: Any) -> None:
    """The clouded look counts less because it saw less: a line through it would tell of objects going and coming."""
    drawing = ElementTree.fromstring(timeline_figure(site.analysis))
    parts = [e for e in drawing.iter() if "dot part" in (e.get("class") or "")]
    partial = [look for look in site.analysis.looks if look.used and look.usable_fraction < 0.9]
    assert len(parts) == 2 * len(partial) > 0  # containers and berms
    lines = [e for e in drawing.iter() if (e.get("class") or "").startswith("series")]
    ends = {point.split()[0] for line in lines for point in (line.get("d") or "")[1:].split("L")}
    assert ends
    assert not ends & {e.get("cx") for e in parts}
    text = parsed((report / "report.html").read_text("utf-8")).text
    assert "Hollow dots count only the part of the site that their look showed." in text


def test_every_look_that_saw_a_part_says_why(site: Any, tmp_path: Path) -> None:
    looks = list(site.analysis.looks)
    shares = (("observed", 0.88), ("cloud", 0.07), ("cloud_shadow", 0.05))
    looks[1] = replace(looks[1], usable_fraction=0.88, fractions=shares)
    page = page_of(replace(site, analysis=replace(site.analysis, looks=tuple(looks))), tmp_path)
    assert f"{date(looks[1].scene.t_utc)} (cloud)" in page.text


def test_settings_read_without_knowing_python(site: Any, tmp_path: Path) -> None:
    settings = (("gsd_m", "None"), ("network", "True"))
    page = page_of(replace(site, analysis=replace(site.analysis, parameters=settings)), tmp_path)
    assert "gsd_mnot set" in page.text
    assert "networkyes" in page.text


def test_numbers_of_looks_that_follow_close_on_each_other_are_all_readable(site: Any) -> None:
    """The looks of two changes are a day apart, and years lie around them: their numbers would lie on one another."""
    looks = list(site.analysis.looks)
    near = looks[2].scene.t_utc
    looks[4] = replace(looks[4], scene=replace(looks[4].scene, t_utc=near + timedelta(days=1)))
    looks[3] = replace(looks[3], scene=replace(looks[3].scene, t_utc=near + timedelta(hours=9)))
    looks[7] = replace(looks[7], scene=replace(looks[7].scene, t_utc=near + timedelta(days=900)))
    drawing = ElementTree.fromstring(timeline_figure(replace(site.analysis, looks=tuple(looks))))
    told = [t for t in drawing.iter() if (t.get("class") or "").startswith("delta k-container")]
    spans = sorted((float(t.get("y") or 0), float(t.get("x") or 0), len(t.text or "")) for t in told)
    assert len(spans) >= 3
    for (y, x, long), (below, beside, wide) in pairwise(spans):
        assert below > y or beside - x >= 4 * (long + wide)


def blinded(made: Any, seen: int) -> Any:
    """Leave the first ``seen`` looks clear and nothing else, and nothing found."""
    compared = (Compared(made.analysis.grid.gsd_m, float(seen > 1)),)
    looks = tuple(
        look
        if i < seen
        else replace(look, used=False, usable_fraction=0.0, fractions=(("observed", 0.0), ("cloud", 1.0)))
        for i, look in enumerate(made.analysis.looks)
    )
    detection = replace(made.analysis.detection, changes=(), standing=(), compared=compared)
    return replace(made, analysis=replace(made.analysis, looks=looks, detection=detection))


@pytest.mark.parametrize(
    ("seen", "expected", "title"),
    [
        (0, Verdict.NOT_OBSERVABLE, "Not observable"),
        (1, Verdict.NOTHING_TO_COMPARE, "Nothing to compare"),
        (3, Verdict.NO_CHANGE_FOUND, "No change found"),
    ],
)
def test_the_three_empty_states_read_differently(
    seen: int, expected: Verdict, title: str, build: Callable[..., Any], tmp_path: Path
) -> None:
    made = blinded(build(n_looks=3, side=120, gaps=False), seen)
    page = page_of(made, tmp_path)
    assert verdict(made.analysis) is expected
    titles = ("Not observable", "Nothing to compare", "No change found")
    assert [t for t in titles if t in page.text] == [title]
    assert ("No change was found" in headline(made.analysis)) == (expected is Verdict.NO_CHANGE_FOUND)


def test_no_change_says_what_it_does_not_cover(build: Callable[..., Any], tmp_path: Path) -> None:
    made = blinded(build(n_looks=3, side=120, gsd_m=10.0, gaps=False), 3)
    text = headline(made.analysis)
    assert (
        "It does not cover objects consistent with containers: pixels of this size do not show them." in text
    )
    page = page_of(made, tmp_path)
    assert "cannot be seen at this resolution" in page.text


def test_no_change_reaches_no_further_than_the_last_clear_look(build: Callable[..., Any]) -> None:
    made = blinded(build(n_looks=4, side=120, gaps=False), 2)
    first, last = (date(look.scene.t_utc) for look in made.analysis.looks[:2])
    text = headline(made.analysis)
    assert f"No change was found between the clear looks of {first} and {last}." in text
    whole = blinded(build(n_looks=4, side=120, gaps=False), 4)
    assert "No change was found." in headline(whole.analysis)


def comparing(analysis: Any, *compared: Compared) -> Any:
    """Say otherwise how much of the site was compared."""
    return replace(analysis, detection=replace(analysis.detection, compared=compared))


def test_clear_looks_that_were_never_compared_are_not_no_change(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    made = blinded(build(n_looks=3, side=120, gaps=False), 3)
    apart = comparing(made.analysis, Compared(0.5, 0.0), Compared(10.0, 0.004))
    assert verdict(apart) is Verdict.NOTHING_TO_COMPARE
    assert "no part of the site was seen clearly on two dates" in headline(apart)
    page = page_of(replace(made, analysis=apart), tmp_path)
    assert "No part of the site was seen clearly on two dates" in page.text
    assert "there is one" in headline(blinded(build(n_looks=3, side=120, gaps=False), 1).analysis)


@pytest.mark.parametrize(
    ("compared", "told"),
    [
        ((Compared(0.5, 0.97),), "is 97 % of the site; nothing is claimed about the rest."),
        (
            (Compared(0.5, 0.0), Compared(10.0, 1.0)),
            "is none of the site at 0.5 m and all of the site at 10 m;",
        ),
        ((Compared(0.5, 0.98),), ""),
        ((Compared(0.5, 1.0), Compared(10.0, 0.0)), ""),
    ],
)
def test_the_summary_says_how_much_was_compared_where_it_was_not_all(
    compared: tuple[Compared, ...], told: str, build: Callable[..., Any]
) -> None:
    made = build(n_looks=3, side=120, gaps=False)
    for site in (made, blinded(made, 3)):
        text = headline(comparing(site.analysis, *compared))
        assert ("could be compared" in text) == bool(told)
        assert told in text


def test_the_report_tells_how_much_was_compared_as_a_number(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    made = build(n_looks=3, side=120, gaps=False)
    analysis = comparing(made.analysis, Compared(0.5, 2 / 3), Compared(10.0, 0.0))
    write_report(analysis, made.read, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "report.json").read_bytes())["compared"]
    assert told == [{"gsd": 0.5, "comparable_fraction": 0.6667}, {"gsd": 10.0, "comparable_fraction": 0.0}]


def test_names_from_strangers_stay_text(build: Callable[..., Any], tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script>&<b>'
    made = build(n_changes=1, n_looks=3, side=200, name=hostile, licence=hostile)
    looks = tuple(
        replace(look, notes=(hostile,), scene=replace(look.scene, platform=hostile))
        for look in made.analysis.looks
    )
    change = replace(made.analysis.detection.changes[0], against=(hostile,), count=None, count_reason=hostile)
    detection = replace(made.analysis.detection, changes=(change,), warnings=(hostile,))
    analysis = replace(
        made.analysis, looks=looks, detection=detection, refused=((hostile, "x", hostile),),
        parameters=((hostile, hostile),),
    )  # fmt: skip
    page = page_of(replace(made, analysis=analysis), tmp_path)
    assert "script" not in page.tags
    assert page.text.count(hostile) >= 8


def test_more_than_sixty_changes_show_the_strongest_and_say_where_the_rest_is(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    made = build(n_changes=70, n_looks=4, side=400)
    page = page_of(made, tmp_path)
    assert "The 60 strongest of 70 changes are shown" in page.text
    assert len([a for a in page.addresses if a.startswith("evidence/")]) == 60
    assert len(list((tmp_path / "out" / "evidence").iterdir())) == 70


def test_words_never_claim_contents_or_intent(report: Path) -> None:
    text = parsed((report / "report.html").read_text("utf-8")).text.lower()
    assert not re.search(r"ammunition|weapon|munition|military|enemy|missile|explosive", text)


def test_a_statement_gives_an_interval_and_never_one_date(site: Any) -> None:
    for change in site.analysis.detection.changes:
        assert " between 4 April 2023 and " in statement(change)


def test_no_confidence_reads_as_certainty() -> None:
    assert [confidence(c) for c in (0.004, 0.4, 0.95, 0.9899, 0.996, 1.0)] == [
        "under 0.01", "0.40", "0.95", "0.99", "over 0.99", "over 0.99",
    ]  # fmt: skip


def test_a_count_of_many_is_written_as_a_sentence(site: Any) -> None:
    change = replace(site.analysis.detection.changes[0], count=Estimate(12, 10, 14))
    assert statement(change) == (
        "12 objects consistent with containers (90 % interval 10\u201314) appeared between 4 April 2023 and 5 May 2023."
    )


@pytest.mark.parametrize(
    ("gsd_m", "words"), [(0.5, ""), (3.0, "120 m²"), (10.0, "cannot be seen"), (30.0, "large parts")]
)
def test_coarse_pixels_say_what_they_cannot_show(gsd_m: float, words: str) -> None:
    assert words in " ".join(coarse_limits(gsd_m))
    assert bool(coarse_limits(gsd_m)) == bool(words)


def test_how_many_are_real_follows_the_law_of_independent_chances() -> None:
    # Two fair coins: 0, 1, 2 with 1/4, 1/2, 1/4; the middle 90 % is all of them.
    assert expected_true([0.5, 0.5]) == Estimate(1.0, 0.0, 2.0)
    # Binomial(20, 0.9): P(X <= 15) = 0.0432, P(X <= 16) = 0.1330 (tables), P(X <= 19) = 0.878.
    assert expected_true([0.9] * 20) == Estimate(pytest.approx(18.0), 16.0, 20.0)
    assert expected_true([]) == Estimate(0.0, 0.0, 0.0)


def test_intervals_of_counts_add_up_since_stacks_widen_them_all_alike(build: Callable[..., Any]) -> None:
    """If twenty places all hold stacks of two, there are 80 containers: hand calculation, 20 x 2 (1-6)."""
    made = build(n_changes=1, n_looks=3, side=200, gaps=False)
    one = replace(made.analysis.detection.changes[0], count=Estimate(2, 1, 6), area_m2=Estimate(50, 40, 60))
    detection = replace(made.analysis.detection, changes=(one,) * 20)
    (tally,) = tallies(replace(made.analysis, detection=detection))
    assert tally.count == Estimate(40, 20, 120)
    assert tally.area_m2.high == pytest.approx(1000 + 10 * 20**0.5)


def test_what_the_text_says_of_stacks_is_what_the_interval_allows_for() -> None:
    counted, _ = objects.count_containers(box(0, 0, 12.19, 2.44), 0.5)
    assert counted == Estimate(1.0, 1.0, 3.0)
    assert objects.MOST_STACKED == 3.0
    docs = (Path(__file__).parents[3] / "docs" / "report-files.md").read_text("utf-8")
    for text in (GENERAL_LIMITS[-1], docs):
        assert "three times" in text
        assert "stacks of up to three layers" in text


@pytest.mark.parametrize(
    ("direction", "told"),
    [(Direction.APPEARED, "gone again;"), (Direction.REMOVED, "undone: later looks show")],
)
def test_a_closed_removal_is_not_gone_again(
    direction: Direction, told: str, build: Callable[..., Any], tmp_path: Path
) -> None:
    made = build(n_changes=1, n_looks=3, side=120, gaps=False)
    change = replace(made.analysis.detection.changes[0], status=Status.CLOSED, direction=direction)
    detection = replace(made.analysis.detection, changes=(change,))
    text = page_of(replace(made, analysis=replace(made.analysis, detection=detection)), tmp_path).text
    assert told in text
    assert ("gone again" in text) is (direction is Direction.APPEARED)


@pytest.mark.parametrize(
    ("longest", "expected"), [(73, 50), (50, 50), (49.9, 20), (1, 1), (0.9, 0.5), (2600, 2000)]
)
def test_scale_bars_have_round_lengths(longest: float, expected: float) -> None:
    assert nice_length(longest) == pytest.approx(expected)


@pytest.mark.long
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_a_browser_shows_the_page_without_asking_for_anything(report: Path, width: int, scheme: str) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "Debian's chromium is needed for this test"
    asked: list[str] = []
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: pytest.fail(message.text))
        page.goto((report / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        broken = page.evaluate(
            "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width < 10).length"
        )
        assert broken == 0
        browser.close()
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []


def test_a_summary_of_unlikely_changes_says_possible_and_how_many_are_expected(site: Any) -> None:
    changes = tuple(replace(c, confidence=0.1) for c in site.analysis.detection.changes)
    detection = replace(site.analysis.detection, changes=changes)
    text = headline(replace(site.analysis, detection=detection))
    assert "two possible earth banks consistent with berms (0\u20131 of 2 expected to be real)" in text
    assert "possible" not in headline(site.analysis)
