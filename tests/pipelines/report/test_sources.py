"""Names of source files tell nobody where they lie."""

from pathlib import Path

import pytest

from pipelines.report.sources import recorded


def test_a_file_is_named_from_the_innermost_folder_of_an_archive() -> None:
    folders = ("/data/imagery", "/srv/archive", "/srv/archive/new")
    assert recorded("/srv/archive/2024/a.tif", folders) == "2024/a.tif"
    assert recorded("/srv/archive/new/a.tif", folders) == "a.tif"
    assert recorded("/data/imagery/b/c.tif", folders) == "b/c.tif"


def test_a_file_outside_all_folders_is_named_by_itself() -> None:
    assert recorded("/somewhere/else/a.tif", ("/srv/archive",)) == "a.tif"
    assert recorded("/srv/archives/a.tif", ("/srv/archive",)) == "a.tif"


def test_an_address_is_told_without_what_may_be_a_token() -> None:
    assert recorded("https://example.org/a.tif?sig=secret#x", ("/srv",)) == "https://example.org/a.tif"


def test_where_archives_lie_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("one", "two/deep"):
        assert recorded(f"{place}/x/a.tif", (str(tmp_path / place),)) == "x/a.tif"
