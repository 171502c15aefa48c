"""A cold start takes no longer than it must: what analyses is not loaded by what answers.

Seconds are those of the processor, not of the clock: a busy machine is no slower start.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.support import environment_of, make_settings

HEAVY = {"scipy", "rasterio", "skimage", "onnxruntime", "pyogrio", "pyarrow", "dask", "pystac_client"}
READY_S, HELP_S = 4.0, 1.5


def loaded_by(module: str) -> set[str]:
    """Return the top-level packages that importing a module loads."""
    code = f"import json, sys, {module}; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["service.app", "service.server", "service.client"])
def test_answering_loads_nothing_that_analyses(module: str) -> None:
    assert loaded_by(module) & HEAVY == set()


def test_help_loads_no_numbers_and_no_database() -> None:
    assert loaded_by("service.cli") & (HEAVY | {"numpy", "shapely", "sqlalchemy", "fastapi"}) == set()


def spent_by(process: "subprocess.Popen[str]") -> float:
    """Wait for a process; the processor seconds it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process.wait(60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_told_at_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.service.run", "--help"], stdout=subprocess.DEVNULL, text=True
    )
    assert spent_by(process) < HELP_S


def test_the_api_answers_soon_after_it_was_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.service.run", "api", "--port", "0"],
        env=environment_of(make_settings(tmp_path / "data")), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://")
    process.terminate()
    assert spent_by(process) < READY_S
    process.stdout.close()
