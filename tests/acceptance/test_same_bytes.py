"""The same bytes whoever does the work and wherever what it makes is kept (G16)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import steps
from pipelines.aoi import read_aoi
from pipelines.products import ProductStore
from pipelines.site import analyse
from tests.pipelines.bucket import bucket
from tests.pipelines.cluster import running_cluster


def run(
    site: Path, out: Path, *, workers: int = 1, scheduler: str | None = None, store: str | None = None
) -> dict[str, bytes]:
    """Analyse a site and return every file of the report."""
    analyse(
        catalog=str(site / "catalog.json"), site=read_aoi(site / "aoi.geojson"), out=out, workers=workers, scheduler=scheduler,
        store=store,
    )  # fmt: skip
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def alone(rendered_site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The report of one process."""
    return run(rendered_site, tmp_path_factory.mktemp("alone") / "report")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server with an empty bucket, and the settings that lead there."""
    with bucket("products") as address:
        yield address


@pytest.mark.long
@pytest.mark.xdist_group("same-bytes")
@pytest.mark.parametrize("scheduler", ["threads", None])
@pytest.mark.parametrize("workers", [2, 4])
def test_threads_and_processes(
    alone: dict[str, bytes], rendered_site: Path, tmp_path: Path, workers: int, scheduler: str | None
) -> None:
    assert run(rendered_site, tmp_path / "report", workers=workers, scheduler=scheduler) == alone


@pytest.mark.long
@pytest.mark.xdist_group("same-bytes")
def test_a_cluster_that_keeps_its_products_in_s3(
    alone: dict[str, bytes], rendered_site: Path, tmp_path: Path, s3: str
) -> None:
    store = f"{s3}/cluster"
    with running_cluster(tmp_path, 2) as cluster:
        first = run(rendered_site, tmp_path / "report", scheduler=cluster.address, store=store)
    assert first == alone
    # What the cluster made serves one process, which makes nothing again.
    assert run(rendered_site, tmp_path / "again", store=store) == alone


@pytest.mark.long
@pytest.mark.xdist_group("same-bytes")
@pytest.mark.parametrize("where", ["folder", "s3"])
def test_products_that_were_deleted_are_made_again_with_the_same_bytes(
    alone: dict[str, bytes], rendered_site: Path, tmp_path: Path, s3: str, where: str
) -> None:
    place = str(tmp_path / "store") if where == "folder" else f"{s3}/deleted"
    store = ProductStore(place)
    assert run(rendered_site, tmp_path / "first", store=place) == alone
    made = {entry.key: store.stored(entry.key) for entry in store.entries()}
    for number, key in enumerate(made):
        if number % 3:  # some stay: a new product stands beside an old one
            store.delete(key)
    steps._yardstick.cache_clear()  # as in a process of its own, which must read what this one still holds
    assert run(rendered_site, tmp_path / "second", store=place) == alone
    assert {entry.key: store.stored(entry.key) for entry in store.entries()} == made
