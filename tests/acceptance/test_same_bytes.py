"""The same bytes whoever does the work and wherever what it makes is kept (G16)."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipelines.aoi import read_aoi
from pipelines.site import analyse
from tests.pipelines.cluster import running_cluster

BUCKET = "products"


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
def bucket() -> Iterator[str]:
    """An S3 server with an empty bucket, and the settings that lead there."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ALLOW_HTTP", "true")
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield f"s3://{BUCKET}/products"
    moto.stop()


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
    alone: dict[str, bytes], rendered_site: Path, tmp_path: Path, bucket: str
) -> None:
    with running_cluster(tmp_path, 2) as cluster:
        first = run(rendered_site, tmp_path / "report", scheduler=cluster.address, store=bucket)
    assert first == alone
    # What the cluster made serves one process, which makes nothing again.
    assert run(rendered_site, tmp_path / "again", store=bucket) == alone
