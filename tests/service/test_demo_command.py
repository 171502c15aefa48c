"""``depotwatch demo`` as a person and as a pipeline start it; the real samples are run by ``make run`` in CI."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.service.support import feature

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("live-service")]
COMMAND = [sys.executable, "-m", "tests.service.run", "demo"]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A sample whose catalog holds no scene: analysed in no time, and honestly not observable."""
    folder = tmp_path / "yard-1.5"
    folder.mkdir()
    catalog = {
        "type": "Catalog",
        "id": "none",
        "stac_version": "1.1.0",
        "description": "no scene",
        "links": [],
    }
    (folder / "catalog.json").write_text(json.dumps(catalog))
    (folder / "aoi.geojson").write_text(json.dumps(feature("somewhere")))
    return folder


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_once_analyses_and_fetches_everything_and_a_second_run_has_it_already(
    sample: Path, tmp_path: Path
) -> None:
    arguments = ["--once", "--sample", sample, "--data", tmp_path / "data", "--out", tmp_path / "out"]
    first = run(*arguments)
    assert first.returncode == 0, first.stderr
    address, key = first.stdout.split()
    assert address.startswith("http://127.0.0.1:")
    assert key.startswith("dw_")
    assert f"{address}/#key={key}" in first.stderr
    report = tmp_path / "out" / "yard-1.5" / "report.html"
    assert str(report) in first.stderr
    made = json.loads((report.parent / "report.json").read_text())
    second = run(*arguments)
    assert second.returncode == 0, second.stderr
    assert second.stdout.split()[1] != key
    assert json.loads((report.parent / "report.json").read_text()) == made


def test_a_demonstration_stays_until_it_is_interrupted_and_leaves_with_0(sample: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--sample", str(sample)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    address, key = process.stdout.readline().strip(), process.stdout.readline().strip()
    while "report" not in (said := process.stderr.readline()):
        assert said, "it ended before the sample was analysed"
    headers = {"Authorization": f"Bearer {key}"}
    sites = httpx.get(f"{address}/sites", headers=headers).json()["features"]
    assert [site["properties"]["name"] for site in sites] == ["yard-1.5"]
    assert httpx.get(f"{address}/sites").status_code == 401
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_what_cannot_be_analysed_is_said_and_ends_with_a_fault(sample: Path, tmp_path: Path) -> None:
    (sample / "aoi.geojson").unlink()
    missing = run("--once", "--sample", sample)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "no-sample" in missing.stderr
    assert str(sample) in missing.stderr
