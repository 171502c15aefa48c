"""Reports' files in a folder and in S3: named by content, written once, patient with servers that stumble."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from benchmarks.service_fake import FakeRunner
from service.artefacts import ArtefactMissing, ArtefactStore, media_type
from service.context import Service, open_service
from service.errors import NotAvailable
from tests.service.s3 import BUCKET, Stumbling, stumbling_s3
from tests.service.support import client_of, feature, make_settings, work_off


@pytest.fixture(scope="module")
def s3() -> Iterator[Stumbling]:
    """An S3 server behind a proxy that can stumble."""
    with stumbling_s3() as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in proxy.environment.items():
            patch.setenv(name, value)
        yield proxy


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where artefacts go."""
    if request.param == "folder":
        return str(tmp_path / "artefacts")
    request.getfixturevalue("s3")
    return f"s3://{BUCKET}/{tmp_path.name}"


def test_what_goes_in_comes_out_by_its_hash_and_is_written_once(place: str, tmp_path: Path) -> None:
    store = ArtefactStore(place)
    store.check()
    folder = tmp_path / "report"
    (folder / "evidence").mkdir(parents=True)
    (folder / "report.json").write_bytes(b"{}")
    (folder / "evidence" / "a.png").write_bytes(b"picture")
    first, again = store.put_folder(folder), store.put_folder(folder)
    assert first == again
    assert [f.path for f in first] == ["evidence/a.png", "report.json"]
    digest = hashlib.sha256(b"picture").hexdigest()
    assert first[0].sha256 == digest
    fresh = ArtefactStore(place)
    assert fresh.get(digest) == b"picture"
    assert b"".join(fresh.stream(digest, 1, 4)) == b"ict"
    assert set(fresh.digests()) == {f.sha256 for f in first}
    fresh.delete(digest)
    with pytest.raises(ArtefactMissing):
        ArtefactStore(place).get(digest)


def test_a_blob_cut_short_by_a_power_cut_is_written_again(place: str) -> None:
    store = ArtefactStore(place)
    digest = store.put_bytes(b"whole picture")
    obstore.put(store._store, f"blobs/{digest[:2]}/{digest}", b"whole", mode="overwrite")
    assert store.put_bytes(b"whole picture") == digest
    assert ArtefactStore(place).get(digest) == b"whole picture"


def test_a_file_is_on_the_disk_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, synced = ArtefactStore(str(tmp_path / "artefacts")), []
    real = os.fsync

    def note(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", note)
    digest = store.put_bytes(b"picture")
    blob = tmp_path / "artefacts" / "blobs" / digest[:2] / digest
    assert synced == [str(blob), str(blob.parent)]


def test_a_whole_day_on_s3(s3: Stumbling, tmp_path: Path) -> None:
    service = open_service(make_settings(tmp_path / "data", artefacts=f"s3://{BUCKET}/day"))
    client = client_of(service)
    site = client.post("/sites", json=feature("a")).json()["id"]
    s3.failures, s3.failed = 3, 0
    work_off(service)
    assert s3.failed == 3
    assert client.get(f"/jobs/{client.get('/jobs').json()['jobs'][0]['id']}").json()["state"] == "successful"
    assert client.get(f"/sites/{site}/reports/1/bundle.zip").content.startswith(b"PK")
    service.close()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), obstore.exceptions.GenericError("500")]
)
def test_a_store_that_takes_nothing_costs_time_and_no_work(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    client = client_of(service)
    site = client.post("/sites", json=feature("a")).json()
    real, left = obstore.put, [2]

    def full(*args: object, **options: object) -> object:
        if left[0] > 0:
            left[0] -= 1
            raise error
        return real(*args, **options)

    monkeypatch.setattr(obstore, "put", full)
    assert work_off(service, FakeRunner()) == 3
    lines = client.get(f"/jobs/{site['job']}/logs").json()["lines"]
    assert [line["code"] for line in lines] == ["not-available", "not-available", "published"]
    assert len(client.get(f"/sites/{site['id']}/reports").json()["reports"]) == 1
    assert len(client.get("/changes").json()["entries"]) == 3


def test_a_store_that_stays_full_ends_in_a_dead_letter_that_says_why(
    lite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(lite_service)
    site = client.post("/sites", json=feature("a")).json()

    def full(*_args: object, **_options: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(obstore, "put", full)
    assert work_off(lite_service) == lite_service.settings.max_attempts
    assert client.get(f"/jobs/{site['job']}").json()["state"] == "failed"
    results = client.get(f"/jobs/{site['job']}/results").json()["results"]
    assert results[0]["code"] == "not-available"
    with pytest.raises(NotAvailable):
        lite_service.store.put_bytes(b"x")


def test_media_types_are_those_of_the_contract() -> None:
    assert media_type("changes.geojson") == "application/geo+json"
    assert media_type("evidence/a/before.tif").startswith("image/tiff")
    assert media_type("unknown.thing") == "application/octet-stream"
