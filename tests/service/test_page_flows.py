"""The page as a reader uses it, in a real browser against a served data folder.

Every test ends with the same two questions: did anything leave the origin, and did a script break.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright
from pyproj import Transformer

from service.api import schemas
from service.context import open_service
from service.keys import create_key, pepper
from service.settings import Settings
from tests.service.page_world import (
    BLIND,
    DEPOT,
    LARGE,
    LOOKS,
    QUIET,
    SINGLE,
    WAITING,
    chip,
    make_world,
    run_waiting,
    served_world,
)
from tests.service.support import LiveService

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
READY_MS = 15_000


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the world in it, made once."""
    folder = tmp_path_factory.mktemp("world") / "data"
    make_world(folder)
    return folder


@pytest.fixture(scope="module")
def world(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveService, Settings]]:
    """The world, served."""
    with served_world(template, tmp_path_factory.mktemp("served") / "data") as served:
        yield served


@pytest.fixture(scope="module")
def live(world: tuple[LiveService, Settings]) -> LiveService:
    """The service."""
    return world[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "Chromium is needed for these tests: apt-get install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield started
        started.close()


Open = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, live: LiveService) -> Iterator[Open]:
    """Open a place of the page with a key; at the end nothing has left the origin and no script has broken."""
    outside: list[str] = []
    broken: list[str] = []
    contexts: list[BrowserContext] = []

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: broken.append(str(error)))

    def note(request: Any) -> None:
        if not request.url.startswith((live.address, "data:", f"blob:{live.address}")):
            outside.append(request.url)

    def go(place: str = "", *, key: str | None = None, tab_of: Page | None = None, **options: Any) -> Page:
        if tab_of is None:
            context = browser.new_context(**{"viewport": DESKTOP, **options})
            context.on("request", note)
            contexts.append(context)
        else:
            context = tab_of.context
        page = context.new_page()
        page.set_default_timeout(READY_MS)
        watch(page)
        page.goto(f"{live.address}/#{place}&key={live.key if key is None else key}")
        page.wait_for_selector("html[data-ready]", timeout=READY_MS)
        return page

    yield go
    for context in contexts:
        context.close()
    assert outside == []
    assert broken == []


@pytest.fixture
def http(live: LiveService) -> Iterator[httpx.Client]:
    """A program beside the reader."""
    headers = {"Authorization": f"Bearer {live.key}"}
    with httpx.Client(base_url=live.address, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def sites(http: httpx.Client) -> dict[str, str]:
    """Ids by name."""
    return {f["properties"]["name"]: f["id"] for f in http.get("/sites?limit=1000").json()["features"]}


def restricted(settings: Settings, *scopes: str) -> str:
    """A key of the same tenant that may do less."""
    service = open_service(settings)
    key = create_key(service.database, pepper(settings), "first", scopes)
    service.close()
    return key


def until(page: Page, condition: str) -> None:
    """Wait for a condition in the page; Playwright's own way needs eval, which the page's policy forbids."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


def faults(page: Page) -> list[str]:
    """What axe calls serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found if v["impact"] in {"serious", "critical"}
    ]


# Coming in


def test_the_key_is_taken_out_of_the_address(visit: Open) -> None:
    page = visit("")
    assert "key" not in page.url
    expect(page.get_by_role("heading", name="All sites")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="All sites")).to_be_visible()


def test_a_key_is_asked_for_and_a_wrong_one_refused_in_words(visit: Open, live: LiveService) -> None:
    page = visit("", key="dw_0000000000000000_wrong")
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("Key").fill(live.key)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="All sites")).to_be_visible()
    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_role("heading", name="Your key, please")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_deep_link_survives_the_key_being_asked(
    visit: Open, live: LiveService, sites: dict[str, str]
) -> None:
    page = visit(f"/sites/{sites[DEPOT]}", key="dw_0000000000000000_wrong")
    page.get_by_label("Key").fill(live.key)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name=DEPOT, level=1)).to_be_visible()


def test_a_key_that_may_not_read_is_told_so(visit: Open, world: tuple[LiveService, Settings]) -> None:
    page = visit("", key=restricted(world[1], "jobs:write"))
    expect(page.get_by_role("heading", name="Your key may not see this")).to_be_visible()


def test_a_service_that_asks_to_wait_is_waited_for(visit: Open) -> None:
    page = visit("")
    asked = 0

    def busy(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            body = json.dumps({"status": 429, "code": "rate-limited", "detail": "too many"})
            headers = {"Retry-After": "1", "Content-Type": "application/problem+json"}
            route.fulfill(status=429, body=body, headers=headers)
        else:
            route.continue_()

    page.route("**/jobs?*", busy)
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator(".waiting")).to_contain_text("asks to wait")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.locator(".waiting")).to_be_hidden()


def test_a_service_that_is_gone_is_said_to_be(visit: Open) -> None:
    page = visit("")
    page.route("**/jobs?*", lambda route: route.abort())
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="The service does not answer")).to_be_visible()
    page.unroute("**/jobs?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_an_address_that_leads_nowhere_says_so(visit: Open) -> None:
    expect(visit("/nowhere/at/all").get_by_role("heading", name="Nothing here")).to_be_visible()
    page = visit("/sites/site-00000000000000000000000000000000")
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


# All sites


def test_sites_are_listed_and_searched(visit: Open) -> None:
    page = visit("")
    rows = page.locator(".site-list li")
    expect(rows).to_have_count(5)
    page.get_by_label("Search sites by name").fill("quiet")
    expect(rows).to_have_count(1)
    rows.get_by_role("link").click()
    expect(page.get_by_role("heading", name=QUIET, level=1)).to_be_visible()


def test_what_is_new_since_the_last_visit_is_marked_until_it_is_seen(
    visit: Open, world: tuple[LiveService, Settings], http: httpx.Client, sites: dict[str, str]
) -> None:
    first = visit("")
    expect(first.locator(".news")).to_contain_text("first visit")
    until(first, "Object.keys(localStorage).some(k => k.startsWith('depotwatch.feed'))")
    first.wait_for_timeout(200)
    http.post("/jobs", json={"type": "analyse", "sites": [sites[DEPOT]]}).raise_for_status()
    run_waiting(world[1], more=3)
    second = visit("", tab_of=first)
    expect(second.locator(".news")).to_contain_text("3 changes since your last visit")
    expect(second.locator(".site-list li").first).to_contain_text(DEPOT)
    expect(second.locator(".news-badge")).to_have_text("3 new")
    second.reload()
    expect(second.locator(".news-badge")).to_have_text("3 new")
    second.locator(".site-list li").first.get_by_role("link").click()
    second.get_by_role("button", name="since your last visit").click()
    expect(second.locator(".change-row")).to_have_count(3)
    expect(second.locator(".change-row .news-badge").first).to_have_text("new")
    second.get_by_role("link", name="All sites").click()
    second.get_by_role("button", name="Mark all as seen").click()
    expect(second.locator(".news-badge")).to_have_count(0)
    second.reload()
    expect(second.locator(".news")).to_contain_text("Nothing new since your last visit")


def test_sites_that_could_not_be_seen_are_told_apart_from_quiet_ones(visit: Open) -> None:
    page = visit("")
    row = page.locator(".site-list li")
    expect(row.filter(has_text=BLIND).locator(".badge")).to_have_text("not observable")
    expect(row.filter(has_text=SINGLE).locator(".badge")).to_have_text("nothing to compare")
    expect(row.filter(has_text=QUIET)).to_contain_text("last clear look 1 Jun 2024")
    expect(row.filter(has_text=QUIET).locator(".badge")).to_have_count(0)
    expect(row.filter(has_text=WAITING)).to_contain_text("no report yet")


def test_a_reader_is_told_where_it_is_unknown_what_could_be_seen(visit: Open) -> None:
    page = visit("")
    page.route(
        "**/digests/*", lambda route: route.fulfill(status=500, json={"status": 500, "detail": "broken"})
    )
    page.reload()
    expect(page.locator(".overview .panel")).to_contain_text("could not be read just now")


def moved(page: Page, http: httpx.Client, wests: dict[str, float]) -> None:
    """Let the page know only some sites, elsewhere."""
    listed = http.get("/sites?limit=1000").json()
    kept = [f for f in listed["features"] if f["properties"]["name"] in wests]
    for site in kept:
        west = wests[site["properties"]["name"]]
        site["bbox"] = [west, 50.0, west + 0.01, 50.01]
    page.route("**/sites?limit=*", lambda route: route.fulfill(json={**listed, "features": kept}))


def test_a_site_is_opened_from_the_map(visit: Open, http: httpx.Client) -> None:
    page = visit("/jobs")
    moved(page, http, {DEPOT: 10.0, QUIET: 30.0})
    page.get_by_role("link", name="Sites", exact=True).click()
    box = page.locator(".map").bounding_box()
    assert box is not None
    # The map is fitted to both, 50 px from its edges.
    page.mouse.click(box["x"] + 50, box["y"] + box["height"] / 2)
    expect(page.get_by_role("heading", name=DEPOT, level=1)).to_be_visible()


def test_a_long_list_of_sites_leaves_the_map_where_it_is(visit: Open, http: httpx.Client) -> None:
    page = visit("/jobs")
    listed = http.get("/sites?limit=1000").json()
    many = [site | {"id": f"site-{number:032x}"} for number, site in enumerate(listed["features"] * 50)]
    page.route("**/sites?limit=*", lambda route: route.fulfill(json={**listed, "features": many}))
    page.get_by_role("link", name="Sites", exact=True).click()
    expect(page.locator(".site-list li")).to_have_count(201)  # 200 and the button for more
    box = page.locator(".map").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= DESKTOP["height"]
    assert page.evaluate("document.documentElement.scrollHeight") <= DESKTOP["height"]


def test_sites_on_both_sides_of_the_antimeridian_are_shown_side_by_side(
    visit: Open, http: httpx.Client
) -> None:
    """Fitted the long way round, the western of the two would lie on the right, and the world between them."""
    page = visit("/jobs")
    moved(page, http, {DEPOT: 150.0, QUIET: -150.0})
    for name, share in ((DEPOT, 0.0), (QUIET, 1.0)):
        page.get_by_role("link", name="Sites", exact=True).click()
        expect(page.locator(".site-list li")).to_have_count(2)
        box = page.locator(".map").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 50 + share * (box["width"] - 100), box["y"] + box["height"] / 2)
        expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def test_an_outline_drawn_beyond_the_antimeridian_is_taken_for_the_place_it_shows(
    visit: Open, http: httpx.Client
) -> None:
    page = visit("/jobs")
    moved(page, http, {DEPOT: 179.9})
    page.get_by_role("link", name="Add a site").click()
    box = page.locator(".map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    with page.expect_request("**/sites/forecast") as sent:
        for east, north in ((150, 0), (190, 0), (190, 40), (150, 0)):
            page.mouse.click(x + east, y - north)
            page.wait_for_timeout(320)
    longitudes = [place[0] for place in sent.value.post_data_json["geometry"]["coordinates"][0]]
    assert -180 < min(longitudes) < max(longitudes) < -170


def test_a_circle_on_the_antimeridian_is_shown_in_one_piece(visit: Open) -> None:
    """Its two halves lie at both ends of the coordinates; a map fitted to those would show the whole world."""
    page = visit("/add")
    for label, value in (("Latitude", "-16"), ("Longitude", "180"), ("Radius", "3000")):
        page.get_by_label(label).fill(value)
    expect(page.locator(".verdict-box")).to_contain_text("antimeridian")
    expect(page.locator(".ol-scale-line-inner")).to_have_text("1000 m")


# A site


def test_a_site_shows_its_changes_by_class_and_direction(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[DEPOT]}")
    rows = page.locator(".change-row")
    expect(page.locator(".list-said")).to_contain_text(re.compile(r"\d+ changes"))
    total = int(re.search(r"(\d+) change", page.locator(".list-said").inner_text()).group(1))  # type: ignore[union-attr]
    page.get_by_role("button", name=re.compile("Containers? removed")).click()
    expect(page.locator(".list-said")).to_contain_text(f"of {total} changes")
    for text in rows.all_inner_texts():
        assert "Containers removed" in text or "Container removed" in text
    page.get_by_role("button", name="show all").click()
    page.get_by_text("Filter and sort").click()
    page.get_by_label("seen twice").check()
    expect(rows.first).to_contain_text("seen twice")
    page.get_by_label("seen twice").uncheck()
    page.locator("input[type=range][max='0.95']").fill("0.95")
    expect(page.locator(".list-said")).to_contain_text("of")


@pytest.mark.parametrize("screen", [DESKTOP, PHONE])
def test_no_number_in_the_list_is_cut_off(
    visit: Open, http: httpx.Client, sites: dict[str, str], screen: dict[str, int]
) -> None:
    page = visit("", viewport=screen)
    told = http.get(f"/sites/{sites[DEPOT]}/changes?limit=1000").json()
    for made in told["features"]:
        made["properties"] |= {"change_type": "other", "count": None, "area_m2": 21_000.0}
    page.route("**/sites/*/changes?*", lambda route: route.fulfill(json=told))
    page.evaluate(f"location.hash = '#/sites/{sites[DEPOT]}'")
    expect(page.locator(".change-row").first).to_contain_text("21\u202f000 m²")
    gaps = page.locator(".change-row").evaluate_all(
        """rows => rows.map(row => {
          const size = row.querySelector(".change-size");
          const room = row.querySelector(".confidence").getBoundingClientRect().left - size.getBoundingClientRect().right;
          return Math.min(room, size.clientWidth + 1 - size.scrollWidth);
        })"""
    )
    assert gaps
    assert min(gaps) >= 0, "a number is cut off, or lies under the confidence"


def test_a_short_list_takes_no_more_of_a_phone_than_its_rows(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page = visit("", viewport=PHONE)
    told = http.get(f"/sites/{sites[DEPOT]}/changes?limit=1000").json()
    told["features"] = told["features"][:3]
    page.route("**/sites/*/changes?*", lambda route: route.fulfill(json=told))
    page.evaluate(f"location.hash = '#/sites/{sites[DEPOT]}'")
    expect(page.locator(".change-row")).to_have_count(3)
    heights = (
        "['.change-list', '.rows'].map(part => document.querySelector(part).getBoundingClientRect().height)"
    )
    listed, rows = page.evaluate(heights)
    assert rows <= listed <= rows + 2


INKED = "(() => { const c = document.querySelector('canvas.marks'); return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v > 0).length; })()"


def test_the_map_shows_what_the_filters_leave_and_nothing_else(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[DEPOT]}")
    expect(page.locator(".change-row").first).to_be_visible()
    until(page, f"{INKED} > 300")
    everything = page.evaluate(INKED)
    one = page.locator(".tally").first
    one.click()
    until(page, f"{INKED} < {0.6 * everything}")
    assert page.evaluate(INKED) > 0
    one.click()
    until(page, f"{INKED} === {everything}")


SCALE = "(s => s.innerText + s.getAttribute('style'))(document.querySelector('.ol-scale-line-inner'))"


def test_the_wheel_zooms_a_map_nobody_has_touched(visit: Open, sites: dict[str, str]) -> None:
    for place in ("", f"/sites/{sites[DEPOT]}"):
        page = visit(place)
        before = page.evaluate(SCALE)
        page.locator(".map").hover()
        page.mouse.wheel(0, -300)
        until(page, f"{SCALE} !== {json.dumps(before)}")
        page.mouse.wheel(0, 200)
        page.wait_for_timeout(300)
        assert page.evaluate("scrollY") == 0


def test_removed_is_as_plain_as_appeared(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[DEPOT]}")
    expect(page.locator(".tally.removed").first).to_be_visible()
    appeared, removed = page.locator(".tally.appeared").first, page.locator(".tally.removed").first
    assert appeared.bounding_box()["height"] == removed.bounding_box()["height"]  # type: ignore[index]
    page.locator(".change-row").filter(has_text="removed").first.click()
    expect(page.locator("#change-title")).to_contain_text("removed")
    expect(page.locator(".change-view")).to_contain_text("Last clear look with it")
    expect(page.locator(".change-view")).to_contain_text("First clear look without it")


def test_an_onset_is_an_interval_wherever_it_is_told(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[DEPOT]}")
    expect(page.locator(".change-row").first).to_be_visible()
    for when in page.locator(".change-when").all_inner_texts():
        assert re.search(r"\d+ \w{3} \d{4} – \d+ \w{3} \d{4}", when), when
    page.keyboard.press("j")
    expect(page.locator(".change-view")).to_contain_text(
        re.compile(r"between \d+ \w+ \d{4} and \d+ \w+ \d{4}")
    )


@pytest.mark.parametrize(
    ("name", "says", "never", "lists"),
    [
        (BLIND, "Not observable", "No change found", "Nothing could be seen, so nothing can be listed"),
        (SINGLE, "No ground was seen on two dates", "No change found", "No ground was seen on two dates"),
        (QUIET, "No change found in what could be seen", "Not observable", "in what could be seen"),
        (WAITING, "No report yet", "No change found", "No report yet"),
    ],
)
def test_what_could_not_be_seen_is_never_told_as_no_change(
    visit: Open, sites: dict[str, str], name: str, says: str, never: str, lists: str
) -> None:
    page = visit(f"/sites/{sites[name]}")
    expect(page.locator(".site-said")).to_contain_text(says)
    expect(page.locator(".nothing")).to_contain_text(lists)
    assert never.lower() not in page.locator(".site-said").inner_text().lower()


@pytest.mark.parametrize(
    ("compared", "says"),
    [
        (None, "Nothing to compare"),
        ([{"gsd": 0.5, "comparable_fraction": 0.0}], "Nothing to compare"),
        (
            [{"gsd": 0.5, "comparable_fraction": 0.0}, {"gsd": 10, "comparable_fraction": 0.9}],
            "No change found",
        ),
    ],
)
def test_a_report_without_a_verdict_is_read_by_what_it_could_compare(
    visit: Open, sites: dict[str, str], http: httpx.Client, compared: object, says: str
) -> None:
    here = f"/sites/{sites[QUIET]}"
    told = http.get(f"{here}/reports/latest", follow_redirects=True).json()
    assert told.pop("verdict") == "no_change_found"
    page = visit("/jobs")
    page.route(f"**{here}/reports/latest", lambda route: route.fulfill(json=told | {"compared": compared}))
    page.goto(page.url.replace("/jobs", here))
    expect(page.locator(".site-said")).to_contain_text(says)


def test_the_timeline_tells_every_look_and_picks_it(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[DEPOT]}")
    slider = page.get_by_role("slider", name="Look shown on the map")
    expect(slider).to_have_attribute(
        "aria-valuetext", re.compile("1 June 2024 · whole site seen · standing: 27")
    )
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("2 May 2023"))
    slider.press("ArrowRight")
    expect(slider).to_have_attribute(
        "aria-valuetext", re.compile(r"14 June 2023 · 35 % of the site seen.*in the 35 % that was seen: 4")
    )
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "5 September 2023 · not observable: cloud")
    expect(page.locator(".map-said")).to_contain_text("not observable: cloud")
    for reason in ("cloud", "snow", "too little light", "could not be lined up"):
        expect(page.locator(".timeline-key")).to_contain_text(f"not seen: {reason}")
    over = page.locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 4, box["y"] + 40)
    expect(slider).to_have_attribute("aria-valuetext", re.compile("2 May 2023"))


def test_an_open_change_is_shown_on_the_curve_of_its_own_class(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page = visit("")
    told = http.get(f"/sites/{sites[DEPOT]}/timeline").json()
    told["points"] += [p | {"class": "berm", "count": None, "area_m2": 900.0} for p in told["points"]]
    page.route("**/timeline*", lambda route: route.fulfill(json=told))
    page.evaluate(f"location.hash = '#/sites/{sites[DEPOT]}'")
    curve = page.get_by_label("What the curve shows").locator("option:checked")
    expect(curve).to_have_text("Containers standing, number")
    page.locator(".change-row").filter(has_text="Berm").first.click()
    expect(curve).to_have_text("Berms standing, m²")
    expect(page.locator(".timeline-said")).to_contain_text("berms")


WRITTEN = """(() => {
  const write = CanvasRenderingContext2D.prototype.fillText;
  window.written = [];
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    window.written.push([text, x - (this.textAlign === "right" ? this.measureText(text).width : 0)]);
    write.call(this, text, x, y);
  };
})()"""


def test_names_of_events_stay_inside_the_timeline(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    """An event of years before leaves no room outside the plot for the name of the next one."""
    long = "Shipment of trucks to the eastern gate, as three newspapers tell of it on the same day"
    posted = [
        http.post(
            f"/sites/{sites[DEPOT]}/events",
            json={"label": label, "kind": "claim", "when": day, "lag_days": [0, 30], "source": "Newspaper"},
        )
        for label, day in (("Long before", "2019-01-01"), (long, "2023-06-25"), ("Next", "2023-06-27"))
    ]  # fmt: skip
    assert [answer.status_code for answer in posted] == [201] * 3
    page = visit(f"/sites/{sites[DEPOT]}")
    expect(page.locator(".event-card")).to_have_count(3)
    page.evaluate(WRITTEN)
    page.set_viewport_size({"width": 1100, "height": 800})
    until(page, "window.written.length > 0")
    left = page.evaluate("document.querySelector('.u-over').offsetLeft")
    names = [
        (text, x) for text, x in page.evaluate("window.written") if text[:4] in long or text == "Long before"
    ]
    assert all(x >= left for _, x in names), names
    for answer in posted:
        http.delete(answer.headers["location"]).raise_for_status()


LEVEL = {"cellSize": 2.0, "pointOfOrigin": [0, 0], "tileWidth": 256, "tileHeight": 256, "matrixWidth": 2, "matrixHeight": 2}  # fmt: skip


def with_tiles(visit: Open, http: httpx.Client, site: str, without: tuple[str, ...] = ()) -> Page:
    """A site with tiles of every look, as the tiles route tells them, but drawn here: recorded reports have no pixels."""
    page = visit("")
    corner = http.get(f"/sites/{site}").json()
    west, north = to_utm(corner["properties"]["utm_epsg"], corner["bbox"][0], corner["bbox"][3])
    levels = [
        LEVEL | {"id": str(z), "cellSize": 2.0 / 2**z, "pointOfOrigin": [west, north], "matrixWidth": 2**z, "matrixHeight": 2**z}
        for z in range(3)
    ]  # fmt: skip
    scenes = [{"scene_id": f"scene-{day}"} for day, *_ in LOOKS if f"scene-{day}" not in without]
    told = {
        "tileMatrixSet": {"tileMatrices": levels},
        "bbox": [west, north - 512, west + 512, north],
        "scenes": scenes,
        "withheld": [{"scene_id": scene} for scene in without],
    }
    schemas.SiteTiles.model_validate(told | {"report": None, "tilesets": [], "links": []})
    page.route("**/tiles", lambda route: route.fulfill(json=told))
    page.route(
        "**/tiles/*/*/*/*.png*",
        lambda route: route.fulfill(body=chip((90, 110, 70)), content_type="image/png"),
    )
    page.evaluate(f"location.hash = '#/sites/{site}'")
    expect(page.locator(".change-row").first).to_be_visible()
    return page


def to_utm(epsg: int, longitude: float, latitude: float) -> tuple[float, float]:
    """A place in the site's own zone."""
    return Transformer.from_crs(4326, epsg, always_xy=True).transform(longitude, latitude)


def test_a_look_is_shown_as_tiles_and_two_are_swiped_and_flickered(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page = with_tiles(visit, http, sites[DEPOT], without=("scene-2023-05-02",))
    until(page, "document.querySelectorAll('.map canvas.pixels, .map .pixels canvas').length > 0")
    said = page.locator(".map-said")
    expect(said).to_have_text("1 Jun 2024: whole site seen")
    page.keyboard.press("s")
    expect(said).to_have_text(re.compile(r"\d+ \w+ \d{4} ◀ ▶ 1 Jun 2024"))
    page.get_by_role("slider", name="Divider").press("ArrowRight")
    page.keyboard.press("f")
    expect(said).to_have_text("1 Jun 2024")
    expect(said).not_to_have_text("1 Jun 2024")
    page.keyboard.press("f")
    page.get_by_role("slider", name="Look shown on the map").press("Home")
    expect(said).to_have_text("2 May 2023: picture withheld by its licence")


def test_looks_to_compare_with_are_offered_best_first_and_never_unseen(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page = with_tiles(visit, http, sites[DEPOT])
    page.get_by_role("button", name="Swipe").first.click()
    partner = page.locator(".toolbar select").nth(1)
    offered = partner.locator("optgroup[label='Comparable, best first'] option").all_inner_texts()
    assert offered
    assert not any(day in " ".join(offered) for day in ("5 Sep 2023", "24 Dec 2023", "8 Apr 2024"))
    assert partner.locator("optgroup").first.get_attribute("label") == "Comparable, best first"


def test_a_dated_event_is_set_beside_the_timeline_and_says_whether_it_could_be_tested(
    visit: Open, sites: dict[str, str]
) -> None:
    page = visit(f"/sites/{sites[DEPOT]}")
    expect(page.locator(".event-list")).to_contain_text("None yet")
    for label, first, latest in (
        ("Shipment of trucks", "2023-09-20", "40"),
        ("Claim in the snow", "2023-12-20", "3"),
    ):
        if not page.locator(".event-form").is_visible():
            page.get_by_text("Add an event").click()
        page.get_by_label("What", exact=True).fill(label)
        page.get_by_label("Date, or the first").fill(first)
        page.get_by_label("to, days after").fill(latest)
        page.get_by_label("Who says so, and where").fill("Newspaper")
        page.get_by_role("button", name="Add event").click()
        expect(page.locator(".event-card", has_text=label)).to_be_visible()
    # Five clear looks cannot tell one onset from chance, whatever else the site shows.
    expect(page.locator(".event-card", has_text="Shipment").locator(".badge")).to_have_text("not testable")
    shipment = page.locator(".event-card", has_text="Shipment")
    for words in (
        "Not testable by itself",
        "neither yes nor no",
        "1 clear look of 1 in the window",
        "posted after a report",
    ):
        expect(shipment).to_contain_text(words)
    expect(shipment).to_contain_text("the best fit came between 64 days before it and 22 days after it")
    blind = page.locator(".event-card", has_text="Claim in the snow")
    expect(blind).to_contain_text("no clear look")
    expect(blind).to_contain_text("That is neither yes nor no.")
    assert faults(page) == []
    blind.get_by_role("button", name="Remove").click()
    blind.get_by_role("button", name="Remove for good?").click()
    expect(page.locator(".event-card")).to_have_count(1)
    page.get_by_label("Who says so, and where").fill(" ")
    page.get_by_label("What", exact=True).fill("Unsaid")
    page.get_by_label("Date, or the first").fill("2023-09-20")
    page.get_by_role("button", name="Add event").click()
    expect(page.locator(".events").get_by_role("alert")).to_contain_text("source")


def test_a_reader_waits_and_is_told_for_what(visit: Open, sites: dict[str, str]) -> None:
    page = visit("")
    held: list[Route] = []

    def hold(route: Route) -> None:  # a function of our own: Playwright keeps a mark on its handlers
        held.append(route)

    page.route("**/changes?*", hold)
    page.evaluate(f"location.hash = '#/sites/{sites[DEPOT]}'")
    expect(page.locator(".list-said")).to_contain_text("Loading changes")
    expect(page.locator(".nothing")).to_be_hidden()  # an empty list while it loads is no finding
    for route in held:
        route.continue_()
    expect(page.locator(".change-row").first).to_be_visible()


def test_nothing_is_offered_that_cannot_be_had_without_a_report(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[WAITING]}")
    expect(page.locator(".site-head")).to_contain_text("No report yet")
    expect(page.locator(".site-menu").get_by_text("Download")).to_be_hidden()
    expect(page.get_by_role("link", name="Compare versions")).to_be_hidden()
    expect(page.get_by_role("button", name="Analyse", exact=True)).to_be_visible()
    with_report = visit(f"/sites/{sites[DEPOT]}")
    expect(with_report.locator(".site-menu").get_by_text("Download")).to_be_visible()


def test_jobs_of_one_site_bear_its_name(
    visit: Open, http: httpx.Client, sites: dict[str, str], world: tuple[LiveService, Settings]
) -> None:
    http.post("/jobs", json={"type": "analyse", "sites": [sites[QUIET]]}).raise_for_status()
    run_waiting(world[1])
    page = visit("/jobs")
    expect(page.locator(".job-row").first.locator(".job-site")).to_have_text(QUIET)


def test_changes_that_could_not_be_read_are_not_told_as_none(visit: Open, sites: dict[str, str]) -> None:
    page = visit("")
    page.route(
        "**/changes?*",
        lambda route: route.fulfill(status=500, json={"status": 500, "detail": "the disk is gone"}),
    )
    page.evaluate(f"location.hash = '#/sites/{sites[DEPOT]}'")
    expect(page.locator(".site-said").get_by_role("alert")).to_contain_text("the disk is gone")
    expect(page.locator(".site-said")).not_to_contain_text("No change")
    expect(page.locator(".nothing")).to_have_text("The changes could not be read.")


def test_a_reader_needs_no_mouse(visit: Open, sites: dict[str, str]) -> None:
    page = visit("")
    page.get_by_label("Search sites by name").press("Tab")
    for _ in range(12):
        if page.evaluate("document.activeElement.classList.contains('site-row')"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=DEPOT, level=1)).to_be_focused()
    expect(page.locator(".change-row").first).to_be_visible()  # before they are there, no key can choose one
    page.get_by_role("listbox", name="Changes").press("ArrowDown")
    expect(page.locator("#change-title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox", name="Changes")).to_be_visible()


# A change


def open_change(visit: Open, http: httpx.Client, site: str, **options: Any) -> tuple[Page, str]:
    """The change with pictures, opened by its link."""
    found = http.get(f"/sites/{site}/changes?limit=1000").json()["features"]
    change = next(f["id"] for f in found if f["properties"]["evidence"])
    page = visit(f"/sites/{site}/changes/{change}", **options)
    expect(page.locator("#change-title")).to_be_visible()
    return page, change


def test_a_change_shows_before_and_after_and_what_speaks_against_it(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page, _ = open_change(visit, http, sites[DEPOT])
    images = page.locator(".swipe-stage img")
    expect(images).to_have_count(2)
    until(page, "[...document.querySelectorAll('.swipe-stage img')].every(i => i.naturalWidth === 96)")
    divider = page.locator(".swipe-stage input")
    divider.fill("20")
    assert page.locator(".swipe-stage").evaluate("e => e.style.getPropertyValue('--at')") == "20%"
    page.locator(".swipe").get_by_role("button", name="Flicker").click()
    until(page, "document.querySelector('.swipe-stage input').value === '100'")
    page.locator(".swipe").get_by_role("button", name="Before").click()
    view = page.locator(".change-view")
    for words in (
        "What speaks against it",
        "Looks against it",
        "confidence",
        "Half a pixel of misregistration",
    ):
        expect(view).to_contain_text(words)
    page.get_by_text("What speaks for and against").click()
    expect(view.get_by_role("row", name=re.compile("half-pixel shift"))).to_contain_text("−0.40")


def test_pictures_of_a_change_are_compared_on_the_map(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page, _ = open_change(visit, http, sites[DEPOT])
    page.locator(".map-divider").wait_for(state="visible")
    page.locator(".toolbar").get_by_role("button", name="Flicker").click()
    expect(page.locator(".map-divider")).to_be_hidden()
    page.locator(".toolbar").get_by_role("button", name="Before").click()
    expect(page.locator(".map-said")).to_have_text(re.compile(r"\d+ \w+ \d+: whole site seen"))


def test_pictures_bear_their_own_dates_however_late_the_looks_are_known(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    found = http.get(f"/sites/{sites[DEPOT]}/changes?limit=1000").json()["features"]
    change = next(f for f in found if f["properties"]["evidence"])
    page = visit("")

    def late(route: Route) -> None:
        page.wait_for_timeout(700)
        route.continue_()

    page.route("**/looks?*", late)
    page.evaluate(f"location.hash = '#/sites/{sites[DEPOT]}/changes/{change['id']}'")
    days = [change["properties"][end].removeprefix("scene-") for end in ("before_scene", "after_scene")]
    told = [
        f"{int(day[8:])} {'JanFebMarAprMayJunJulAugSepOctNovDec'[3 * int(day[5:7]) - 3 :][:3]} {day[:4]}"
        for day in days
    ]
    expect(page.locator(".map-said")).to_have_text(f"{told[0]} ◀ ▶ {told[1]}")
    expect(page.locator(".swipe-tags span").nth(1)).to_contain_text(told[1])
    page.get_by_role("slider", name="Look shown on the map").press(
        "Home"
    )  # the timeline may be read, the pictures stay
    expect(page.locator(".map-said")).to_have_text(f"{told[0]} ◀ ▶ {told[1]}")


def test_a_verdict_is_held_back_a_moment_and_can_be_undone(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page, change = open_change(visit, http, sites[DEPOT])
    page.keyboard.press("r")
    expect(page.locator(".toast")).to_contain_text("rejected")
    expect(page.get_by_role("button", name="Reject")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("u")
    expect(page.locator(".toast")).to_contain_text("Undone")
    expect(page.get_by_role("button", name="Reject")).to_have_attribute("aria-pressed", "false")
    page.wait_for_timeout(300)
    assert http.get(f"/changes/{change}/reviews").json()["reviews"] == []


def test_a_verdict_is_kept_when_the_reader_goes_on(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page, change = open_change(visit, http, sites[DEPOT])
    page.get_by_text("Add a note").click()
    page.get_by_label("Note, sent with the verdict").fill("clear as day")
    page.locator("#change-title").click()
    with page.expect_response(lambda r: r.request.method == "PUT" and r.ok):
        page.keyboard.press("a")
        page.get_by_role("link", name="All sites").click()
    review = http.get(f"/changes/{change}").json()["review"]
    assert (review["verdict"], review["note"]) == ("confirmed", "clear as day")
    with page.expect_response(lambda r: r.request.method == "PUT" and r.ok):
        page.go_back()
        page.get_by_label("Relabel as").select_option("berm")
        page.keyboard.press("j")
        page.locator("body").press("a")
        page.locator("body").press("u")
    assert http.get(f"/changes/{change}").json()["review"]["class"] == "berm"


def test_a_verdict_survives_the_tab_being_closed(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page, _ = open_change(visit, http, sites[DEPOT])
    page.keyboard.press("j")
    expect(page.locator(".change-nav")).to_contain_text(" of ")
    change = page.url.rpartition("/")[2]
    page.keyboard.press("r")
    expect(page.locator(".toast")).to_contain_text("rejected")
    page.goto("about:blank")
    for _ in range(300):
        if http.get(f"/changes/{change}/reviews").json()["reviews"]:
            break
        page.wait_for_timeout(100)
    assert http.get(f"/changes/{change}/reviews").json()["reviews"][0]["verdict"] == "rejected"


def test_a_key_that_may_not_review_is_told_so(
    visit: Open, http: httpx.Client, sites: dict[str, str], world: tuple[LiveService, Settings]
) -> None:
    page, _ = open_change(visit, http, sites[DEPOT], key=restricted(world[1], "sites:read", "reports:read"))
    page.keyboard.press("a")
    page.keyboard.press("j")
    page.keyboard.press("a")  # the next verdict sends the one before it
    expect(page.locator(".toast")).to_contain_text("your key may not review")


def test_j_and_k_walk_through_the_list_and_escape_leaves(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[DEPOT]}")
    expect(page.locator(".change-row").first).to_be_visible()
    page.keyboard.press("j")
    expect(page.locator(".change-nav")).to_contain_text("1 of")
    first = page.url
    page.keyboard.press("j")
    expect(page.locator(".change-nav")).to_contain_text("2 of")
    page.keyboard.press("k")
    expect(page.locator(".change-nav")).to_contain_text("1 of")
    assert page.url == first
    page.keyboard.press("Escape")
    expect(page.locator(".change-list")).to_be_visible()


def test_a_change_has_a_link_to_pass_on(visit: Open, http: httpx.Client, sites: dict[str, str]) -> None:
    page, change = open_change(visit, http, sites[DEPOT])
    link = page.get_by_label("Link to this change").input_value()
    assert link.endswith(f"/#/sites/{sites[DEPOT]}/changes/{change}")
    title = page.locator("#change-title").inner_text()
    other = visit(link.partition("#")[2])
    expect(other.locator("#change-title")).to_have_text(title)


def test_every_export_is_saved_from_the_page(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[DEPOT]}")
    for words, ending in (
        ("GeoJSON", ".geojson"),
        ("CSV", ".csv"),
        ("KMZ", ".kmz"),
        ("GeoPackage", ".gpkg"),
        ("GeoParquet", ".parquet"),
        ("bundle", ".zip"),
        ("print", ".html"),
    ):
        page.get_by_text("Download").first.click() if not page.locator(".menu[open]").count() else None
        with page.expect_download() as saved:
            page.locator(".menu").get_by_role("button", name=re.compile(words)).click()
        assert saved.value.suggested_filename == f"depot{ending}"
        assert Path(saved.value.path()).stat().st_size > 0


@pytest.mark.long
def test_a_geojson_file_holds_every_change_and_not_a_page_of_them(browser: Browser, tmp_path: Path) -> None:
    """The API answers 1,000 changes at most at a time; who saves a file is not told, and would take them for all."""
    make_world(tmp_path / "world", (LARGE,))
    with served_world(tmp_path / "world", tmp_path / "data") as (live, _):
        headers = {"Authorization": f"Bearer {live.key}"}
        listed = httpx.get(f"{live.address}/sites", headers=headers).json()["features"]
        site = next(f["id"] for f in listed if f["properties"]["name"] == LARGE)
        page = browser.new_page(viewport=DESKTOP)
        page.goto(f"{live.address}/#/sites/{site}&key={live.key}")
        page.get_by_text("Download").click()
        with page.expect_download() as saved:
            page.get_by_role("button", name="Changes as GeoJSON").click()
        found = json.loads(Path(saved.value.path()).read_text())
        page.close()
    assert len({feature["id"] for feature in found["features"]}) == 5_000
    assert not any(link["rel"] == "next" for link in found["links"])


# A new site


BOW_TIE = [[15.30, 50.097], [15.304, 50.1], [15.304, 50.097], [15.30, 50.1], [15.30, 50.097]]


def drop(page: Page, name: str, text: str) -> None:
    """Hand the page a file."""
    page.set_input_files("#aoi-file", {"name": name, "mimeType": "text/plain", "buffer": text.encode()})


def test_a_faulty_outline_is_shown_where_it_is_wrong(visit: Open) -> None:
    page = visit("/add")
    polygon = {"type": "Polygon", "coordinates": [BOW_TIE]}
    drop(page, "yard.geojson", json.dumps({"type": "Feature", "properties": {}, "geometry": polygon}))
    expect(page.locator(".verdict-box")).to_contain_text("crosses itself")
    expect(page.locator(".verdict-box code")).to_contain_text("/geometry/coordinates/0/")
    expect(page.get_by_role("button", name="Add and analyse")).to_be_disabled()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("yard.csv", "name,longitude,latitude,radius_m\nYard,15.3,50.1,300\n"),
        (
            "yard.kml",
            '<kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><name>Yard</name><Polygon><outerBoundaryIs><LinearRing>'
            "<coordinates>15.3,50.1 15.31,50.1 15.31,50.11 15.3,50.1</coordinates></LinearRing></outerBoundaryIs></Polygon>"
            "</Placemark></kml>",
        ),
        ("Yard.geojson", json.dumps({"type": "Polygon", "coordinates": [[[15.3, 50.1], [15.31, 50.1], [15.31, 50.11], [15.3, 50.1]]]})),
    ],
)  # fmt: skip
def test_files_of_every_kind_are_forecast(visit: Open, name: str, text: str) -> None:
    page = visit("/add")
    drop(page, name, text)
    expect(page.locator(".verdict-box")).to_contain_text("Yard")
    expect(page.locator(".verdict-box")).to_contain_text("EPSG:32633")
    expect(page.locator(".verdict-box")).to_contain_text("No scene of its archives covers the site yet")
    expect(page.get_by_role("button", name="Add and analyse")).to_be_enabled()


def test_a_file_that_names_its_site_is_added_without_typing(visit: Open, http: httpx.Client) -> None:
    page = visit("/add")
    ring = [[15.3, 50.1], [15.31, 50.1], [15.31, 50.11], [15.3, 50.1]]
    made = {"type": "Feature", "properties": {"name": "Named in its file"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip
    drop(page, "outline.geojson", json.dumps(made))
    expect(page.locator(".verdict-box")).to_contain_text("Named in its file")
    page.get_by_role("button", name="Add and analyse").click()
    expect(page.get_by_role("heading", name="Named in its file", level=1)).to_be_visible()
    found = http.get("/sites?q=Named+in+its+file").json()["features"]
    http.delete(f"/sites/{found[0]['id']}").raise_for_status()


def test_a_drawn_site_is_added_and_waits_for_its_report(visit: Open, http: httpx.Client) -> None:
    page = visit("/add")
    page.get_by_label("Latitude").fill("-33.9")
    page.get_by_label("Longitude").fill("151.2")
    expect(page.locator(".verdict-box")).to_contain_text("EPSG:32756")
    page.get_by_role("button", name="Start over").click()
    box = page.locator(".map").bounding_box()
    assert box is not None
    for x, y in ((300, 300), (420, 310), (430, 420), (290, 400), (300, 300)):
        page.mouse.click(box["x"] + x, box["y"] + y)
        page.wait_for_timeout(60)
    expect(page.locator(".verdict-box")).to_contain_text("Give it a name")
    page.get_by_label("Name").fill("Depot")
    expect(page.locator(".verdict-box")).to_contain_text("There is a site of this name already")
    expect(page.get_by_role("button", name="Add and analyse")).to_be_disabled()
    page.get_by_label("Name").fill("Drawn by hand")
    page.get_by_role("button", name="Add and analyse").click()
    expect(page.get_by_role("heading", name="Drawn by hand", level=1)).to_be_visible()
    expect(page.locator(".site-said")).to_contain_text("No report yet")
    made = next(
        f
        for f in http.get("/sites?limit=1000").json()["features"]
        if f["properties"]["name"] == "Drawn by hand"
    )
    assert len(made["geometry"]["coordinates"][0]) == 5
    http.delete(f"/sites/{made['id']}").raise_for_status()


# Jobs


def test_a_job_is_followed_live_and_its_results_lead_to_the_site(
    visit: Open, world: tuple[LiveService, Settings], http: httpx.Client, sites: dict[str, str]
) -> None:
    page = visit(f"/sites/{sites[QUIET]}")
    page.get_by_role("button", name="Analyse again").click()
    expect(page.get_by_role("heading", name="Job")).to_be_visible()
    expect(page.locator(".state")).to_have_text("waiting")
    run_waiting(world[1])
    expect(page.locator(".state")).to_have_text("done", timeout=15_000)
    page.get_by_role("link", name=QUIET).click()
    expect(page.get_by_role("heading", name=QUIET, level=1)).to_be_visible()
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator(".job-row").first).to_contain_text("done")


def printed(page: Page) -> None:
    """Bring a page into the state in which it is printed: what is asked before, and the medium, on A4 between its margins."""
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 1_000})


def test_what_is_printed_is_the_finding_and_not_the_buttons(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[DEPOT]}", viewport={"width": 1280, "height": 500}, color_scheme="dark")
    expect(page.locator(".list-said")).to_contain_text(re.compile(r"\d+ changes"))
    listed = int(re.search(r"\d+", page.locator(".list-said").inner_text()).group())  # type: ignore[union-attr]
    printed(page)
    expect(page.locator(".change-row")).to_have_count(listed)
    expect(page.get_by_role("heading", name=DEPOT, level=1)).to_be_visible()
    expect(page.get_by_role("heading", name="What could not be seen")).to_be_visible()
    for hidden in (".top", ".toolbar", ".site-menu", ".filters"):
        expect(page.locator(hidden)).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_nothing_on_paper_is_cut_off_or_lies_over_something_else(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[DEPOT]}")
    expect(page.locator(".change-row").first).to_be_visible()
    printed(page)
    parts = [
        ".site-head",
        ".change-row:first-child",
        ".change-row:last-child",
        ".map-box",
        ".timeline canvas >> nth=0",
        ".unseen",
    ]
    boxes = [page.locator(part).first.bounding_box() for part in parts]
    for above, below in pairwise(boxes):
        assert above["y"] + above["height"] <= below["y"] + 1, (above, below)  # type: ignore[index]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 680 for box in boxes)  # type: ignore[index]
    pixels = page.locator(".map canvas").first.bounding_box()
    assert abs(pixels["width"] - boxes[3]["width"]) <= 1, "the map is drawn for the screen, not for the paper"  # type: ignore[index]
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    page.set_viewport_size(DESKTOP)
    until(page, "document.querySelector('.timeline canvas').clientWidth > 800")


CLEARED = """(() => {
  const clear = CanvasRenderingContext2D.prototype.clearRect;
  window.cleared = 0;
  CanvasRenderingContext2D.prototype.clearRect = function (...box) {
    if (this.canvas.className === "marks") window.cleared += 1;
    clear.apply(this, box);
  };
})()"""


def test_the_map_is_printed_under_its_signs(visit: Open, sites: dict[str, str]) -> None:
    """Chromium prints what is drawn meanwhile as vectors, and a cleared rectangle as a white one over all below it."""
    page = visit(f"/sites/{sites[DEPOT]}")
    until(page, f"{INKED} > 300")
    page.evaluate(CLEARED)
    printed(page)
    until(page, f"{INKED} > 300")
    assert page.evaluate("window.cleared") == 0


def test_a_change_is_printed_with_both_pictures_side_by_side(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page, change = open_change(visit, http, sites[DEPOT])
    until(page, "[...document.querySelectorAll('.swipe-stage img')].every(i => i.naturalWidth === 96)")
    printed(page)
    before, after = (page.locator(".swipe-stage img").nth(n).bounding_box() for n in range(2))
    assert before["x"] + before["width"] <= after["x"]  # type: ignore[index]
    assert page.locator(".swipe-stage img").nth(1).evaluate("e => getComputedStyle(e).clipPath") == "none"
    expect(page.locator(".change-view")).to_contain_text("What speaks against it")
    expect(page.locator(".change-view .print-only")).to_contain_text(change)
    expect(page.locator(".review")).to_be_hidden()


# Two versions


def compared(http: httpx.Client, site: str) -> dict[str, Any]:
    """A comparison as the service tells it, of every kind of difference, made of a site's own changes."""
    found = http.get(f"/sites/{site}/changes?limit=1000").json()["features"]
    one, two, three, four = (f["properties"] | {"id": f["id"]} for f in found[:4])
    head = {"report": "rep", "created": "2026-01-02T03:04:05Z", "processing_version": "0123456789abcdef"}
    entries = [
        {"kind": "new", "published": False, "before": None, "after": one, "reasons": ["The step detect differs."]},
        {"kind": "lost", "published": True, "before": two, "after": None, "reasons": ["The look of 5 May flipped."]},
        {"kind": "redated", "published": True, "before": three, "after": three | {"first_seen": "2024-12-01T10:00:00Z"}, "reasons": []},
        {"kind": "reclassified", "published": False, "before": four, "after": four | {"change_type": "berm"}, "reasons": []},
    ]  # fmt: skip
    counts = {
        "new": 1,
        "lost": 1,
        "moved": 0,
        "reclassified": 1,
        "redated": 1,
        "recounted": 0,
        "unchanged": 7,
    }
    sides = {"before": head | {"number": 1, "current": True}, "after": head | {"number": 2, "current": False}}
    block = {
        "site": site,
        "name": DEPOT,
        "counts": counts,
        "reasons": ["min_confidence differs."],
        "entries": entries,
    } | sides
    told = {"totals": counts, "reasons": [], "published": [], "sites": [block], "links": []}
    schemas.Comparison.model_validate(told)
    return told


def test_two_reports_are_chosen_and_set_beside_each_other(
    visit: Open, http: httpx.Client, sites: dict[str, str], world: tuple[LiveService, Settings]
) -> None:
    http.post("/jobs", json={"type": "analyse", "sites": [sites[DEPOT]]}).raise_for_status()
    run_waiting(world[1], more=1)
    page = visit(f"/sites/{sites[DEPOT]}/versions")
    told = compared(http, sites[DEPOT])
    page.route("**/comparisons/*", lambda route: route.fulfill(json=told))
    expect(page.get_by_label("Later report")).to_contain_text("current")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".deck")).to_have_text(
        "1 new, 1 lost, 1 reclassified, 1 re-dated; 7 the same. 2 differences touch what is published now."
    )
    rows = page.locator(".difference")
    expect(rows).to_have_count(4)
    expect(rows.nth(1)).to_contain_text("The look of 5 May flipped.")
    expect(rows.nth(2).locator("b")).to_contain_text("1 Dec 2024")
    page.get_by_role("button", name="lost").click()
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="lost").click()
    page.get_by_label("only what touches published reports").check()
    expect(rows).to_have_count(2)
    assert faults(page) == []


def test_what_the_service_compares_is_read_as_it_tells_it(
    visit: Open, http: httpx.Client, sites: dict[str, str], world: tuple[LiveService, Settings]
) -> None:
    for more in (2, 4):
        http.post("/jobs", json={"type": "analyse", "sites": [sites[DEPOT]]}).raise_for_status()
        run_waiting(world[1], more=more)
    after, before = http.get(f"/sites/{sites[DEPOT]}/reports?limit=2").json()["reports"]
    page = visit(f"/compare/{before['id']}..{after['id']}")
    expect(page.locator(".deck")).to_contain_text(re.compile("2 new; [0-9]+ the same"))
    expect(page.locator(".difference")).to_have_count(2)
    expect(page.locator(".sides")).to_contain_text(f"report {after['number']} of ")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    assert Path(saved.value.path()).read_text().count("new") >= 2


def test_the_reports_of_a_reprocess_are_made_current_and_taken_back(
    visit: Open, http: httpx.Client, sites: dict[str, str]
) -> None:
    page = visit("")
    job = http.get("/jobs?limit=1").json()["jobs"][0] | {
        "type": "reprocess",
        "state": "successful",
        "promoted": None,
    }
    asked: list[str] = []

    def promote(route: Route) -> None:
        asked.append(route.request.method)
        job["promoted"] = "2026-01-02T03:04:05Z" if route.request.method == "POST" else None
        route.fulfill(json={})

    def tell(route: Route) -> None:
        told = compared(http, sites[DEPOT])
        told["sites"][0]["before"]["current"] = job["promoted"] is None
        told["sites"][0]["after"]["current"] = job["promoted"] is not None
        route.fulfill(json=told)

    page.route("**/jobs/*", lambda route: route.fulfill(json=job))
    page.route("**/jobs/*/comparison?*", tell)
    page.route("**/jobs/*/promote", promote)
    page.evaluate(f"location.hash = '#/jobs/{job['id']}'")
    page.get_by_role("link", name="Compare with what was current").click()
    page.get_by_role("button", name="Make them current").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 published changes would be told otherwise, 1 of them retracted")
    assert faults(page) == []
    dialog.get_by_role("button", name="Leave as it is").click()
    assert asked == []
    page.get_by_role("button", name="Make them current").click()
    dialog.get_by_role("button", name="Make them current").click()
    expect(page.locator(".notice")).to_contain_text("are the current ones")
    expect(page.locator(".sides")).to_have_text(
        re.compile(r"report 1 .*[0-9a-f]{12} → report 2 .*, current$")
    )
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator(".notice")).to_contain_text("wait beside the current ones")
    assert asked == ["POST", "DELETE"]


def test_one_report_alone_has_nothing_to_be_compared_with(visit: Open, sites: dict[str, str]) -> None:
    page = visit(f"/sites/{sites[SINGLE]}/versions")
    expect(page.locator(".deck")).to_contain_text("one report of this site only")


# For everyone


def places(http: httpx.Client, sites: dict[str, str]) -> dict[str, str]:
    """Every place of the page, by what a reader meets there."""
    reports = http.get(f"/sites/{sites[DEPOT]}/reports?limit=2").json()["reports"]
    found = http.get(f"/sites/{sites[DEPOT]}/changes?limit=1000").json()["features"]
    change = {bool(f["properties"]["evidence"]): f["id"] for f in found}
    return {
        "all sites": "",
        "changes": f"/sites/{sites[DEPOT]}",
        "a change with pictures": f"/sites/{sites[DEPOT]}/changes/{change[True]}",
        "a change without": f"/sites/{sites[DEPOT]}/changes/{change[False]}",
        "no change": f"/sites/{sites[QUIET]}",
        "not observable": f"/sites/{sites[BLIND]}",
        "one look": f"/sites/{sites[SINGLE]}",
        "no report yet": f"/sites/{sites[WAITING]}",
        "a new site": "/add",
        "jobs": "/jobs",
        "a job": f"/jobs/{http.get('/jobs?limit=1').json()['jobs'][0]['id']}",
        "two versions": f"/sites/{sites[DEPOT]}/versions",
        "a comparison": f"/compare/{reports[-1]['id']}..{reports[0]['id']}",
    }


def unfold(page: Page) -> None:
    """Open whatever can be opened, so that what is folded away is judged too."""
    page.evaluate("document.querySelectorAll('main details:not(.menu)').forEach(e => e.open = true)")


BEYOND = """() => [...document.querySelectorAll("main *")]
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map((e) => `${e.tagName}.${e.className}: ${(e.textContent ?? "").slice(0, 60)}`).slice(-4)"""


@pytest.mark.long
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_serious_stands_in_anyones_way(
    visit: Open, http: httpx.Client, sites: dict[str, str], viewport: dict[str, int]
) -> None:
    page = visit("", viewport=viewport)
    found = {}
    for name, place in places(http, sites).items():
        page.evaluate(
            "location.hash = '#/nowhere'"
        )  # from one place of a site to another nothing is opened anew
        expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
        page.evaluate(f"delete document.documentElement.dataset.ready; location.hash = '#{place}'")
        page.wait_for_selector("html[data-ready]")
        page.wait_for_timeout(250)  # what is fetched after the frame stands
        unfold(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found[name, scheme] = faults(page)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        # What sticks out is named, so that a failure that depends on the state of the world can be understood.
        beyond = page.evaluate(BEYOND) if wide > 0 else []
        assert wide <= 0, f"{name}: wider than the screen by {beyond}"
    assert {where: what for where, what in found.items() if what} == {}


def test_a_key_that_is_wrong_and_an_outline_that_is_faulty_are_told_to_everyone(
    visit: Open, live: LiveService
) -> None:
    page = visit("", key="dw_0000000000000000_wrong")
    assert faults(page) == []
    page.get_by_label("Key").fill(live.key)
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("link", name="Add a site").click()
    polygon = {"type": "Polygon", "coordinates": [BOW_TIE]}
    drop(page, "yard.geojson", json.dumps(polygon))
    expect(page.locator(".verdict-box")).to_contain_text("crosses itself")
    assert faults(page) == []
