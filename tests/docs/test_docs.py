"""The documentation says what is so: it builds offline, its links hold, and its tutorials run as printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))
LOADED = re.compile(
    r"""(?:src|data-src)=["']?https?:|<link[^>]+href=["']?https?:[^>]+stylesheet|url\(["']?https?:"""
)
STOP = "trap 'for job in $(jobs -p); do kill $job; done' EXIT\n"


def blocks(page: Path) -> str:
    """Return the shell commands of a page, in order."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))


def run_page(page: Path, folder: Path) -> str:
    """Run a page's commands in a folder that holds the sample scenes; return what they printed."""
    (folder / "sample_tiles").symlink_to(ROOT / "sample_tiles")
    tools = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", STOP + blocks(page)],
        cwd=folder,
        env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


# What a reader must be able to see having followed a page to its end.
SHOWN = {
    "first-site": ["between 20", "usable:", "replay   identical", "verified"],
    "check-a-dated-claim": ["Delivery -> ", "Earthworks -> not_testable", "power ="],
    "re-run-an-archive": [],
    "own-sensor": ["scene-without-time", "3 scenes", "use {"],
}


@pytest.mark.long
@pytest.mark.parametrize("page", TUTORIALS, ids=[page.stem for page in TUTORIALS])
def test_a_tutorial_runs_as_printed(page: Path, tmp_path: Path) -> None:
    said = run_page(page, tmp_path)
    for words in SHOWN[page.stem]:
        assert words in said
    if page.stem == "re-run-an-archive":
        assert "<html" in (tmp_path / "comparison.html").read_text()
        assert '"superseded"' in (tmp_path / "feed.json").read_text()


@pytest.mark.long
def test_the_site_builds_offline_and_asks_nobody(tmp_path: Path) -> None:
    built = tmp_path / "site"
    mkdocs = Path(sys.executable).with_name("mkdocs")
    done = subprocess.run(
        [mkdocs, "build", "--strict", "--site-dir", built],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(built.rglob("*.html"))
    assert len(pages) > 15
    asking = [page.name for page in pages if LOADED.search(page.read_text())]
    assert asking == []


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text()
    missing = [
        str(page.relative_to(ROOT / "docs"))
        for page in (ROOT / "docs").rglob("*.md")
        if f" {page.relative_to(ROOT / 'docs')}" not in menu
    ]
    assert missing == []


def test_the_guard_against_outside_files_can_fail() -> None:
    assert LOADED.search('<script src="https://cdn.example/x.js">')
    assert not LOADED.search('<a href="https://example.org">')
    assert shutil.which("bash")
