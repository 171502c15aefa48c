"""Write ``docs/performance-page.md`` from the measured JSON, so that it cannot drift: ``python -m benchmarks.page_docs``."""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "page.json"
PAGE = ROOT / "docs" / "performance-page.md"


def page_of(found: dict[str, Any]) -> str:
    """Return the page about one run."""
    ready = "\n".join(
        f"| {one['place']} | {one['screen']} | {one['median_ms']:.0f} | {one['worst_ms']:.0f} | {one['whole_ms']:.0f} "
        f"| {one['requests']} | {one['kilobytes']:.0f} |"
        for one in found["ready"]
    )
    frames = "\n".join(
        f"| {one['doing']} | {one['frames']} | {one['median_ms']:.1f} | {one['p95_ms']:.1f} | {one['worst_ms']:.0f} "
        f"| {100 * one['late_share']:.1f} % |"
        for one in found["frames"]
    )
    left = "No request" if not found["outside"] else f"{found['outside']} requests"
    return f"""# The page, as measured

Made by `python -m benchmarks.page_docs` from `benchmarks/results/page.json`, which `python -m benchmarks.page` writes; edit neither by hand.
Recorded reports, served on loopback; Chromium {found["chromium"]}, headless and without a GPU, so the processor paints every pixel.
The machine has {found["cores"]} cores and was shared: its load average was {found["load_before"]} after the service was filled and {found["load"]} at
the end, both with what the measurement itself asks for.

## Ready

From the start of the navigation to the frame in which the place stands on the screen, in a browser that has never been here (nothing
cached). "All rows" is when the last row of the list is known too. The target is 1,000 ms with {found["sites"]} sites.

| place | screen | ready, median ms | worst ms | all rows, median ms | requests | kB |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
{ready}

## Smooth

Gaps between frames on a site with {found["changes"]:,} changes, 1280 x 800. A screen shows one every 16.7 ms; "late" is the share of frames that
came after more than two of those.

| doing | frames | median ms | p95 ms | worst ms | late |
| --- | ---: | ---: | ---: | ---: | ---: |
{frames}

The list holds only the rows in sight. The map's signs are copied from one picture per class and direction; of signs within a cell
of 4 x 4 px only the surest change's is drawn, until the reader zooms in. Outlines are drawn where they are 14 px long or more.

{left} left the machine.
"""


def main() -> int:
    """Write the page."""
    PAGE.write_text(page_of(json.loads(RESULT.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
