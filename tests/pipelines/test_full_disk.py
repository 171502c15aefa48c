"""A disk that is really full, a small file system of its own: what is done is kept, and the rest is done when there is room."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.test_bad_input_batch import run, write_site

# In a mount namespace, so that nothing outside sees the file system and the kernel takes it away at the end.
APART = ["unshare", "-rm"]
CHILD = """
import json, subprocess, sys
from pathlib import Path
from imagery.errors import DepotwatchError
from tests.pipelines.test_bad_input_batch import run
site, disk, kept = map(Path, sys.argv[1:4])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=True)
told = []
for kib in [64, 160, 320, 640, 1280, 2560, 5120, 65536]:
    subprocess.run(["mount", "-o", f"remount,size={kib}k", str(disk)], check=True)
    places = {"both": (disk / "store", disk / "report"), "report": (kept / "store", disk / "report")}
    store, out = places[sys.argv[4]]
    try:
        files = run(site, out, store=str(store))
    except DepotwatchError as error:
        told.append([error.code, error.detail])
        assert not out.exists(), sorted(out.rglob("*"))
        assert [p for p in disk.iterdir() if p.name != "store"] == []
        continue
    for name, data in files.items():
        (kept / "report" / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / "report" / name).write_bytes(data)
    break
print(json.dumps(told))
"""


def can_mount() -> bool:
    """Tell whether this user may have a file system of its own."""
    tried = [*APART, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("what", "codes"),
    [("both", {"product-store-failed"}), ("report", {"out-not-writable"})],
)
def test_a_full_disk_is_told_in_a_sentence_and_the_report_is_the_same_once_there_is_room(
    tmp_path: Path, what: str, codes: set[str]
) -> None:
    site, disk, kept = write_site(tmp_path / "site"), tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()
    command = [*APART, sys.executable, "-c", CHILD, str(site), str(disk), str(kept), what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert {code for code, _ in told} == codes
    assert all("No space left on device" in said and "\n" not in said for _, said in told)
    as_it_should_be = run(site, tmp_path / "report")
    found = {
        str(p.relative_to(kept / "report")): p.read_bytes()
        for p in (kept / "report").rglob("*")
        if p.is_file()
    }
    assert found == as_it_should_be


# Left out, not skipped, where a user may have no file system of its own.
if sys.platform != "linux" or not can_mount():
    del test_a_full_disk_is_told_in_a_sentence_and_the_report_is_the_same_once_there_is_room
