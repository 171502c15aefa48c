"""Collecting deletes what nothing points to and what can be made again, and never anything else."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.products import ProductStore, product_key
from service.artefacts import ArtefactStore
from service.cli import main
from service.context import Service, open_service
from service.retention import GRACE, collect, plan, referenced
from tests.pipelines.bucket import bucket
from tests.service.support import client_of, feature, make_settings, work_off

NOW = datetime.now(UTC)
LATER = NOW + 2 * GRACE


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 bucket."""
    with bucket("kept") as address:
        yield address


@pytest.fixture(params=["folder", "s3"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service with its files in a folder or in S3."""
    more = {}
    if request.param == "s3":
        address = f"{request.getfixturevalue('s3')}/{tmp_path.name}"
        more = {"artefacts": f"{address}/artefacts", "products": f"{address}/products"}
    service = open_service(make_settings(tmp_path / "data", **more))
    yield service
    service.close()


def _report(service: Service) -> tuple[str, bytes]:
    client = client_of(service)
    site = client.post("/sites", json=feature("a")).json()["id"]
    work_off(service)
    address = f"/sites/{site}/reports/1/bundle.zip"
    return address, client.get(address).content


def test_only_files_without_a_row_are_orphans_and_only_when_the_grace_period_is_over(served: Service) -> None:
    address, bundle = _report(served)
    lost = served.store.put_bytes(b"of a worker that was killed before it wrote its rows")
    products = ProductStore(served.settings.products_place)
    known = (served.database, served.store)
    chosen = plan(products, known, NOW, older_than=None, keep_bytes=None)
    assert (chosen.orphans, chosen.products) == ((), ())
    chosen = plan(products, known, LATER, older_than=timedelta(0), keep_bytes=0)
    assert [blob.digest for blob in chosen.orphans] == [lost]
    before = set(served.store.digests())
    collect(products, served.store, chosen, LATER - GRACE)
    assert set(served.store.digests()) == before - {lost} == referenced(served.database)
    served.store = ArtefactStore(served.settings.artefacts_place)  # with an empty cache
    assert client_of(served).get(address).content == bundle


def test_a_file_written_again_between_choosing_and_deleting_stays(
    served: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = served.store.put_bytes(b"orphan")
    products = ProductStore(served.settings.products_place)
    chosen = plan(products, (served.database, served.store), LATER, older_than=None, keep_bytes=None)
    assert len(chosen.orphans) == 1
    monkeypatch.setattr("service.artefacts.RENEWED_AFTER", timedelta(0))
    served.store.put_bytes(b"orphan")
    written = served.store.written(lost)
    assert written is not None
    collect(products, served.store, chosen, written)
    assert lost in set(served.store.digests())


def test_writing_an_old_blob_again_makes_it_new(tmp_path: Path) -> None:
    store = ArtefactStore(str(tmp_path))
    digest = store.put_bytes(b"x")
    path = tmp_path / "blobs" / digest[:2] / digest
    os.utime(path, (0, 0))
    store.put_bytes(b"x")
    written = store.written(digest)
    assert written is not None
    assert datetime.now(UTC) - written < timedelta(minutes=1)
    assert store.written("0" * 64) is None


def test_the_page_of_a_report_whose_files_were_all_kept_still_answers(served: Service) -> None:
    address, bundle = _report(served)
    for _ in range(2):
        chosen = plan(
            ProductStore(served.settings.products_place),
            (served.database, served.store),
            LATER,
            older_than=timedelta(0),
            keep_bytes=0,
        )
        collect(ProductStore(served.settings.products_place), served.store, chosen, LATER - GRACE)
    served.store = ArtefactStore(served.settings.artefacts_place)
    assert hashlib.sha256(client_of(served).get(address).content).digest() == hashlib.sha256(bundle).digest()


def test_every_table_that_names_a_file_of_the_store_is_asked(service: Service) -> None:
    from service.tables import metadata

    asked = {table.name for table in metadata.sorted_tables if "sha256" in table.c}
    assert "report_files" in asked
    assert referenced(service.database) == set()


def _command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["products", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def _age(store: Path, days: float) -> None:
    moment = (NOW - timedelta(days=days)).timestamp()
    for path in store.rglob("*"):
        if path.is_file():
            os.utime(path, (moment, moment))


def test_list_and_gc_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    store = ProductStore(data / "products")
    for number in range(4):
        store.put(product_key("chip", 1, [str(number)], {}), {"n": "x" * 1000}, {})
    at = ["--data", str(data)]
    code, out, _ = _command(capsys, "list", *at)
    assert code == 0
    assert out.splitlines()[1].split()[:2] == ["chip", "4"]
    said = json.loads(_command(capsys, "list", *at, "--json")[1])
    assert said["total"] == {"count": 4, "bytes": said["steps"][0]["bytes"]}

    assert json.loads(_command(capsys, "gc", *at, "--json", "--older-than", "0")[1])["products"] == 0, (
        "in use"
    )
    _age(data / "products", 2)
    assert json.loads(_command(capsys, "gc", *at, "--json")[1])["products"] == 0
    keep = str(said["total"]["bytes"] // 2)
    dry = json.loads(_command(capsys, "gc", *at, "--json", "--keep-size", keep, "--dry-run")[1])
    assert (dry["products"], dry["dry_run"], len(list(store.entries()))) == (2, True, 4)
    code, out, err = _command(capsys, "gc", *at, "--keep-size", keep)
    assert (code, len(list(store.entries()))) == (0, 2)
    assert "deleted 2 products" in out
    assert "made again" in err
    store_only = ["--store", str(data / "products")]
    assert _command(capsys, "gc", *store_only, "--older-than", "1")[0] == 0
    assert list(store.entries()) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--older-than", "-1"], "--older-than is -1"),
        (["--older-than", "nan"], "--older-than is nan"),
        (["--keep-size", "much"], "--keep-size is 'much'"),
        (["--keep-size", "-5G"], "--keep-size is '-5G'"),
        (["--grace-hours", "0"], "--grace-hours is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    code, _, err = _command(capsys, "gc", "--data", str(tmp_path), *[f"{given[0]}={given[1]}"])
    assert code == 2
    assert said in err
    assert err.startswith("depotwatch products: bad-retention: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("1.5k", 1500), ("20G", 20 * 10**9), ("7", 7)])
def test_sizes_are_read(text: str, size: int) -> None:
    from service.commands.products import size_of

    assert size_of(text) == size
