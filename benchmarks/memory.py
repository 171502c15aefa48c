"""How much memory each kind of unit takes at its peak, against the bound that runs are planned by (``pipelines.memory``).

    python -m benchmarks.memory [--out FILE.json]

Every site runs in a process of its own, whose peak is the kernel's (``VmHWM``, set back when a unit begins). Sites differ in
pixels and looks, so that what grows with each can be told apart. Peaks do not depend on what else the machine does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.throughput import ONE_CORE, Case, resident_bytes, write_scenes
from pipelines.runner import Result, SerialRunner, Unit

RESULTS = Path(__file__).parent / "results" / "memory.json"
CASES = (
    Case("fine", 1000, 0.5, 2, "0.25 km2 at 0.5 m, 2 looks"),
    Case("fine", 1000, 0.5, 12, "0.25 km2 at 0.5 m, 12 looks"),
    Case("fine", 2000, 0.5, 2, "1 km2 at 0.5 m, 2 looks"),
    Case("coarse", 1000, 10.0, 2, "100 km2 at 10 m, 2 looks"),
    Case("coarse", 500, 10.0, 24, "25 km2 at 10 m, 24 looks"),
)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


class Watching(SerialRunner):
    """Does one unit after the other and keeps, by step, the highest peak above ``idle`` and the bound it was given."""

    def __init__(self, idle: int) -> None:
        self.idle = idle
        self.taken: dict[str, int] = {}
        self.bound: dict[str, int] = {}

    def map(
        self,
        step: Callable[[Unit], Result],
        units: Sequence[Unit],
        done: Callable[[int], None],
        unit_bytes: int = 0,
    ) -> list[Result]:
        """See ``Runner``."""

        def watched(unit: Unit) -> Result:
            _forget_peak()
            result = step(unit)
            self.note(step.__name__, unit_bytes)
            return result

        return super().map(watched, units, done, unit_bytes)

    def note(self, step: str, bound: int) -> None:
        """Keep the peak since it was last forgotten, as one of a step."""
        self.taken[step] = max(self.taken.get(step, 0), resident_bytes("VmHWM") - self.idle)
        self.bound[step] = max(self.bound.get(step, 0), bound)


def measure(scenes: Path) -> dict[str, Any]:
    """Analyse a site and plant into it in this process; return bytes taken and bounds by step (Linux)."""
    from pipelines import memory
    from pipelines.aoi import read_aoi
    from pipelines.archives import open_archive
    from pipelines.parameters import COARSE_GSD_M
    from pipelines.planting import could_we_have_seen
    from pipelines.report import write_report
    from pipelines.site import SceneSet, analyse_scenes
    from pipelines.steps import _network

    site = read_aoi(scenes / "aoi.geojson")
    found = open_archive(str(scenes / "catalog.json")).search(site.aoi)
    _network()
    runner = Watching(resident_bytes("VmRSS"))

    def progress(step: str, done: int, _total: int) -> None:
        if step == "changes" and done == 0:
            _forget_peak()

    with tempfile.TemporaryDirectory() as folder:
        given = SceneSet(found.scenes)
        store = f"{folder}/store"
        finished = analyse_scenes(site, given, store=store, runner=runner, progress=progress)
        write_report(finished.analysis, finished.read_window, Path(folder) / "report")
        looks = finished.analysis.looks
        grid, coarse = finished.analysis.grid, looks[0].scene.gsd_m > COARSE_GSD_M
        runner.note("changes and report", memory.series_bytes(grid, len(looks), coarse=coarse))
        # Beside each look with objects in it this process holds the evidence of all.
        runner.bound["plant_look"] = runner.bound["changes and report"]
        could_we_have_seen(site, given, store=store, runner=runner, each=1)
    return {
        "idle": runner.idle,
        "px": memory.pixels(grid),
        "taken": runner.taken,
        "bound": runner.bound,
    }


def measured_apart(case: Case, work: Path) -> dict[str, Any]:
    """Measure one case in a process of its own."""
    scenes = work / f"{case.name}-{case.side_px}-{case.looks}"
    if not scenes.is_dir():
        write_scenes(scenes, case)
    command = [sys.executable, "-m", "benchmarks.memory", "--measure", str(scenes)]
    root = str(Path(__file__).parents[1])
    environment = os.environ | ONE_CORE | {"PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=root)
    if done.returncode != 0:
        raise RuntimeError(f"{case.what}: {done.stderr.strip().splitlines()[-1:]}")
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"what": case.what, "looks": case.looks} | said


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every case and keep it; 1 where a unit took more than its bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="keep the scenes here")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.measure:
        print(json.dumps(measure(args.measure)))
        return 0
    said = []
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            said.append(measured_apart(case, args.work or Path(scratch)))
            print(said[-1], flush=True)
    args.out.write_text(json.dumps({"cases": said}, indent=1, sort_keys=True) + "\n")
    return int(any(case["taken"][step] > case["bound"][step] for case in said for step in case["taken"]))


if __name__ == "__main__":
    sys.exit(main())
