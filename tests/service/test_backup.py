"""A backup brings back everything, into the other kind of database too."""

import tarfile
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service import backup
from service.app import build_app
from service.backup import restore_backup, write_backup
from service.context import Service, open_service
from service.errors import BackupUnusable
from tests.service.support import PostgresServer, client_of, feature, make_settings, square, work_off


@pytest.fixture
def filled(service: Service, client: TestClient) -> str:
    """A service with a site, a report, a review and a job in somebody's hands; the key."""
    site = client.post("/sites", json=feature("a")).json()["id"]
    work_off(service)
    change = client.get(f"/sites/{site}/changes").json()["features"][0]["id"]
    client.put(f"/changes/{change}/review", json={"verdict": "confirmed"})
    client.post("/sites", json=feature("b", geometry=square(31)))
    from service.leases import claim
    from service.worker import rules_of

    assert claim(service.database, "somebody", rules_of(service.settings)) is not None
    return str(client.headers["authorization"])


def everything(client: TestClient) -> list[object]:
    """What a client can read, as it reads it."""
    site = client.get("/sites").json()["features"][0]["id"]
    change = client.get(f"/sites/{site}/changes").json()["features"][0]["id"]
    paths = ["/sites", "/changes", f"/sites/{site}/reports/latest", f"/changes/{change}/reviews"]
    read: list[object] = [client.get(path).json() for path in paths]
    read.append(client.get(f"/sites/{site}/reports/1/bundle.zip").content)
    return read


@pytest.mark.parametrize("target", ["sqlite", "postgres"])
def test_what_was_saved_comes_back(
    service: Service, filled: str, tmp_path: Path, target: str, request: pytest.FixtureRequest
) -> None:
    saved = tmp_path / "all.tar"
    counts = write_backup(service, saved)
    assert (counts["sites"], counts["reports"], counts["reviews"]) == (2, 1, 1)
    assert (saved.stat().st_mode & 0o777) == 0o600
    before = everything(client_with(service, filled))

    if target == "sqlite":
        restored = open_service(make_settings(tmp_path / "new", secret=""))
        check(restored, saved, filled, before)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database(request.getfixturevalue("postgres_template")) as url:
        restored = open_service(make_settings(tmp_path / "new", url, secret=""))
        check(restored, saved, filled, before)


def client_with(service: Service, authorisation: str) -> TestClient:
    return TestClient(
        build_app(service), base_url="http://127.0.0.1", headers={"Authorization": authorisation}
    )


def check(restored: Service, saved: Path, key: str, before: list[object]) -> None:
    restore_backup(restored, saved)
    restored.close()
    again = open_service(restored.settings)
    client = client_with(again, key)
    assert everything(client) == before
    assert work_off(again) == 1, "what somebody held is worked on again"
    assert client.post("/sites", json=feature("c", geometry=square(32))).status_code == 201
    again.close()


def test_nobody_else_may_read_a_backup_while_it_is_written(
    service: Service, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = set()

    def watched(archive: tarfile.TarFile, name: str, data: bytes) -> None:
        modes.add((tmp_path / "all.tar.part").stat().st_mode & 0o777)
        add(archive, name, data)

    add = backup._add
    monkeypatch.setattr(backup, "_add", watched)
    (tmp_path / "all.tar.part").touch(0o644)  # left by a crash
    write_backup(service, tmp_path / "all.tar")
    assert modes == {0o600}


def test_a_torn_or_foreign_file_is_refused(service: Service, filled: str, tmp_path: Path) -> None:
    saved = tmp_path / "all.tar"
    write_backup(service, saved)
    with pytest.raises(BackupUnusable, match="exists already"):
        write_backup(service, saved)
    with pytest.raises(BackupUnusable, match="not empty"):
        restore_backup(service, saved)
    empty = open_service(make_settings(tmp_path / "new"))
    torn = tmp_path / "torn.tar"
    torn.write_bytes(saved.read_bytes()[: saved.stat().st_size // 2])
    with pytest.raises(BackupUnusable):
        restore_backup(empty, torn)
    damaged = tmp_path / "damaged.tar"
    with tarfile.open(saved) as archive:
        blob = next(m for m in archive.getmembers() if m.name.startswith("blobs/") and m.size)
    data = bytearray(saved.read_bytes())
    data[blob.offset_data] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(BackupUnusable, match="damaged"):
        restore_backup(empty, damaged)
    assert client_of(empty).get("/sites").json()["features"] == []
    empty.close()
