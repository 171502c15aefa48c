"""The house's own rules: imports point down, and the guard that says so can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the import contracts of a checkout."""
    return subprocess.run([LINT, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_imports_point_down() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("room", "line"),
    [("imagery", "import pipelines.runner"), ("imagery", "import httpx"), ("pipelines", "import fastapi")],
)
def test_a_planted_upward_import_is_caught(room: str, line: str, tmp_path: Path) -> None:
    for name in ("imagery", "pipelines", "service"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "pipelines" / "runner.py").write_text("")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    assert lint(tmp_path).returncode == 0
    (tmp_path / room / "planted.py").write_text(line + "\n")
    assert lint(tmp_path).returncode != 0
