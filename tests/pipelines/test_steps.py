"""What names a version of the method."""

import shutil
from importlib import resources
from pathlib import Path

import pytest

from pipelines.steps import PACKAGES, SHAPING, algorithm_sha256, sources_sha256

SOURCES = [Path(str(resources.files(name))) for name in PACKAGES]


@pytest.fixture
def copies(tmp_path: Path) -> list[Path]:
    """Copy what shapes a report to another place."""
    ignore = shutil.ignore_patterns("__pycache__")
    return [Path(shutil.copytree(place, tmp_path / place.name, ignore=ignore)) for place in SOURCES]


@pytest.mark.parametrize(
    "changed",
    [
        "imagery/lifecycle.py", "imagery/evidence/weights/verifier.json", "pipelines/site.py",
        "pipelines/parameters.py", "pipelines/archives/items.py", "pipelines/report/report.css", "imagery/evidence/weights/delineation.onnx",
    ],
)  # fmt: skip
def test_whatever_shapes_a_report_is_a_version_of_its_own(changed: str, copies: list[Path]) -> None:
    assert sources_sha256(copies) == algorithm_sha256()
    path = copies[0].parent / changed
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.8") + b"\n")
    assert sources_sha256(copies) != algorithm_sha256()


def test_a_file_that_moves_is_another_version(copies: list[Path]) -> None:
    path = copies[0] / "limits_table.json"
    path.rename(path.parent / "evidence" / path.name)
    assert sources_sha256(copies) != algorithm_sha256()


def test_both_packages_hold_nothing_but_what_is_hashed() -> None:
    kinds = {path.suffix for place in SOURCES for path in place.rglob("*") if path.is_file()}
    assert kinds - {".pyc"} == set(SHAPING)
