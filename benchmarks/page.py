"""How fast the page is: ready with 500 sites, and smooth on a site with 5,000 changes.

``python -m benchmarks.page [--runs 9] [--out benchmarks/results/page.json]`` fills a service with recorded reports,
serves it on loopback and uses the page in Debian's Chromium, headless and without a GPU, so every pixel is painted by
the processor. A page is ready when what it is about stands on the screen: the frame after ``data-ready``. Frame times
are the gaps between animation frames while a reader scrolls, moves the map, steps through changes and filters.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from benchmarks.service_faults import free_port
from service.analysis_unit import AnalyseUnit, Step
from service.app import build_app
from service.artefacts import ArtefactStore
from service.context import open_service
from service.keys import SCOPES, create_key, pepper
from service.settings import Settings
from service.worker import Worker

SITES = 500
CHANGES = 5_000
LARGE = "Large depot"
FRAME_MS = 1000 / 60
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}

# Notes when the page says it is ready and when the frame after that was painted; and every frame, once asked.
WATCH = """
new MutationObserver((_, watcher) => {
  if (!document.documentElement?.dataset.ready) return;
  watcher.disconnect();
  window.saidReady = performance.now();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.painted = performance.now(); }));
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ['data-ready']});
window.frames_ms = null;
window.startFrames = () => {
  const gaps = []; let last = null;
  window.frames_ms = gaps;
  const tick = (now) => {
    if (window.frames_ms !== gaps) return;
    if (last !== null) gaps.push(now - last);
    last = now;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
};
window.stopFrames = () => { const gaps = window.frames_ms; window.frames_ms = null; return gaps; };
"""
SIZES = "['navigation', 'resource'].flatMap(k => performance.getEntriesByType(k)).map(e => e.transferSize)"


@dataclass(slots=True)
class Ready:
    """One place opened again and again in a browser that knows nothing of it; ``whole_ms`` when all rows were there."""

    place: str
    screen: str
    runs: int
    median_ms: float
    worst_ms: float
    whole_ms: float
    requests: int
    kilobytes: float


@dataclass(slots=True)
class Smooth:
    """One thing a reader does, as gaps between frames."""

    doing: str
    frames: int
    median_ms: float
    p95_ms: float
    worst_ms: float
    late_share: float


@dataclass(frozen=True, slots=True)
class PageRunner:
    """Many changes on the large site, three on every other."""

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        """See ``service.analysis_unit.UnitRunner``."""
        FakeRunner(CHANGES if unit.name == LARGE else 3)(unit, out, step)

    def afresh(self, _products: Path) -> "PageRunner":
        """Return itself: it keeps nothing."""
        return self


def square(west: float, south: float, size: float = 0.01) -> dict[str, Any]:
    """Return a square as GeoJSON."""
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def fill(data: Path, sites: int) -> tuple[Settings, str, str]:
    """Make the sites and their reports; return settings, a key and the id of the large site."""
    settings = Settings(data=data, rate_per_s=1_000.0, rate_burst=10_000.0)
    service = open_service(settings)
    key = create_key(service.database, pepper(settings), "bench", SCOPES, burst=settings.rate_burst)
    client = TestClient(
        build_app(service), base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {key}"}
    )
    names = [LARGE, *(f"Site {number:03}" for number in range(1, sites))]
    features = [
        {"type": "Feature", "properties": {"name": name}, "geometry": square(-150 + (i * 7.3) % 300, -50 + (i * 3.7) % 110)}
        for i, name in enumerate(names)
    ]  # fmt: skip
    for start in range(0, sites, 100):
        answer = client.post(
            "/sites", json={"type": "FeatureCollection", "features": features[start : start + 100]}
        )
        answer.raise_for_status()
    worker = Worker(service.database, ArtefactStore(settings.artefacts_place), PageRunner(), settings)
    while worker.run_one():
        pass
    found = client.get("/sites", params={"q": LARGE}).json()["features"]
    service.close()
    return settings, key, str(found[0]["id"])


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Answer on a loopback port until the block ends."""
    import asyncio

    import uvicorn

    from service.server import bind
    from service.telemetry import configure_logging

    configure_logging("ERROR")
    service = open_service(settings)
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(build_app(service), log_config=None, access_log=False, lifespan="off")
    )
    sockets = [bind("127.0.0.1", port)]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=sockets)), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    service.close()


def percentile(values: list[float], share: float) -> float:
    """Return the value that ``share`` of the sorted values lie below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(slots=True)
class Reader:
    """Someone with a browser and a key; counts what was asked of another machine."""

    browser: Browser
    address: str
    key: str
    outside: int = 0

    @contextmanager
    def opened(self, place: str, screen: str) -> Iterator[Page]:
        """Open a place in a browser that has never been here."""
        context = self.browser.new_context(**SCREENS[screen])
        context.add_init_script(WATCH)
        context.on("request", lambda request: self._note(request.url))
        page = context.new_page()
        page.goto(f"{self.address}/#{place}&key={self.key}")
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        yield page
        context.close()

    def _note(self, url: str) -> None:
        if not url.startswith((self.address, "data:", f"blob:{self.address}")):
            self.outside += 1


def wait_for(page: Page, condition: str) -> None:
    """Wait until a condition holds; Playwright's own way needs eval, which the page's policy forbids."""
    for _ in range(1200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise SystemExit(f"the page never came to: {condition}")


def measure_ready(reader: Reader, name: str, place: str, screen: str, runs: int, there: str) -> Ready:
    """Open a place ``runs`` times, each in a browser context of its own; the first is not counted."""
    took: list[float] = []
    whole: list[float] = []
    sizes: list[int] = []
    for _ in range(runs + 1):
        with reader.opened(place, screen) as page:
            wait_for(page, "window.painted !== undefined")
            took.append(page.evaluate("window.painted"))
            wait_for(page, there)
            whole.append(page.evaluate("performance.now()"))
            sizes = page.evaluate(SIZES)
    median, worst = round(statistics.median(took[1:]), 1), round(max(took[1:]), 1)
    all_of_it = round(statistics.median(whole[1:]), 1)
    return Ready(name, screen, runs, median, worst, all_of_it, len(sizes), round(sum(sizes) / 1024, 1))


def measure_frames(page: Page, doing: str, act: Callable[[Page], None]) -> Smooth:
    """Note every frame while something is done."""
    page.wait_for_timeout(300)
    page.evaluate("window.startFrames()")
    act(page)
    page.wait_for_timeout(150)
    gaps: list[float] = page.evaluate("window.stopFrames()")
    late = sum(gap > 2 * FRAME_MS for gap in gaps) / len(gaps)
    return Smooth(
        doing, len(gaps), round(statistics.median(gaps), 1), round(percentile(gaps, 0.95), 1), round(max(gaps), 1), round(late, 3)
    )  # fmt: skip


def middle(page: Page, selector: str) -> tuple[float, float]:
    """Return the middle of an element on the screen."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def scroll_list(page: Page) -> None:
    """Wheel through the list of changes."""
    page.mouse.move(*middle(page, ".change-list"))
    for _ in range(90):
        page.mouse.wheel(0, 240)
        page.wait_for_timeout(16)


def move_map(page: Page) -> None:
    """Drag the map about."""
    x, y = middle(page, ".map")
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(90):
        page.mouse.move(x + 120 * ((step % 30) / 30 - 0.5), y + 60 * ((step % 45) / 45 - 0.5))
        page.wait_for_timeout(16)
    page.mouse.up()


def zoom_map(page: Page) -> None:
    """Wheel in and out over the map."""
    page.mouse.move(*middle(page, ".map"))
    for step in range(60):
        page.mouse.wheel(0, -80 if step % 30 < 15 else 80)
        page.wait_for_timeout(30)


def step_changes(page: Page) -> None:
    """Press j again and again, as a reviewer does."""
    page.locator(".change-list").click()
    page.keyboard.press("Escape")
    for _ in range(25):
        page.keyboard.press("j")
        page.wait_for_timeout(80)
    page.keyboard.press("Escape")


def filter_changes(page: Page) -> None:
    """Show only one class and direction, then another, then all."""
    for _ in range(3):
        for number in range(page.locator(".tally").count()):
            page.locator(".tally").nth(number).click()
            page.wait_for_timeout(60)


DOING: tuple[tuple[str, Callable[[Page], None]], ...] = (
    ("scrolling the list", scroll_list),
    ("dragging the map", move_map),
    ("zooming the map", zoom_map),
    ("filtering by class and direction", filter_changes),
    ("stepping with j", step_changes),
)
ALL_LOADED = f"/{CHANGES // 1000}.?{CHANGES % 1000:03} changes/.test(document.querySelector('.list-said')?.textContent ?? '')"


def measure(data: Path, sites: int, runs: int) -> dict[str, Any]:
    """Fill, serve and use; return everything measured."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        raise SystemExit("Chromium is needed: apt-get install chromium")
    settings, key, large = fill(data, sites)
    before = round(os.getloadavg()[0], 1)
    with served(settings) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        reader = Reader(browser, address, key)
        many, one = f"all {sites} sites", f"a site with {CHANGES} changes"
        rows = "document.querySelectorAll('.site-list li').length > 100"
        ready = []
        for screen in SCREENS:
            ready.append(measure_ready(reader, many, "", screen, runs, rows))
            ready.append(measure_ready(reader, one, f"/sites/{large}", screen, runs, ALL_LOADED))
        with reader.opened(f"/sites/{large}", "desktop") as page:
            wait_for(page, ALL_LOADED)
            smooth = [measure_frames(page, doing, act) for doing, act in DOING]
        version = browser.version
        browser.close()
    return {
        "sites": sites, "changes": CHANGES, "chromium": version, "cores": os.cpu_count(), "load_before": before, "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(), "outside": reader.outside,
        "ready": [asdict(one) for one in ready], "frames": [asdict(one) for one in smooth],
    }  # fmt: skip


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=SITES)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder) / "data", args.sites, args.runs)
    for one in found["ready"]:
        print(f"{one['place']:28} {one['screen']:8} ready {one['median_ms']:7.1f} ms, worst {one['worst_ms']:7.1f} ms, whole {one['whole_ms']:7.1f} ms, {one['requests']} requests, {one['kilobytes']} kB")  # fmt: skip
    for one in found["frames"]:
        print(f"{one['doing']:34} frame {one['median_ms']:5.1f} ms, p95 {one['p95_ms']:5.1f}, worst {one['worst_ms']:6.1f}, late {one['late_share']:.1%}")  # fmt: skip
    print(f"requests that left this machine: {found['outside']}")
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
