"""What it costs to read sites from scenes they share: bytes over the wire for remote ones, bytes off the disk for local.

Remote: a band of Sentinel-2's size (10,980 x 10,980, DEFLATE, 512 blocks) on a server in this process, read for one site
and for several, against fetching it whole. Local: several sites in one scene against as many sites in a scene each,
tiled and in strips. Pixels are noise on slopes: they pack to about as much as real ones do.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.shutil import copy as copy_raster
from shapely import box
from shapely.geometry.base import BaseGeometry

from imagery.grid import transformer
from imagery.scene import Scene
from imagery.warp import read_look
from pipelines.archives import download, open_archive
from pipelines.fetching import fetch_pixels
from pipelines.parameters import Parameters
from tests.pipelines.file_server import FileServer, serving

BAND_PX, LOCAL_PX, GSD_M = 10_980, 3_072, 10.0
EAST_M, NORTH_M = 600_000.0, 3_700_020.0
SITE_M = 1_000.0
SITES = (1, 4, 16)
LOCAL_SITES = 8
PARAMETERS = Parameters()


def write_band(path: Path, size: int, seed: int, *, strips: bool = False) -> None:
    """Write a single band with overviews, tiled, or as one file in strips."""
    rng = np.random.default_rng(seed)
    plain = path.with_suffix(".plain.tif")
    profile = {
        "driver": "GTiff", "height": size, "width": size, "count": 1, "dtype": "uint16", "crs": "EPSG:32636",
        "transform": Affine(GSD_M, 0.0, EAST_M, 0.0, -GSD_M, NORTH_M),
    }  # fmt: skip
    with rasterio.open(plain, "w", **profile) as file:
        slope = (np.arange(size) // 4 % 900 + 400).astype(np.uint16)
        for row in range(0, size, 512):
            rows = min(512, size - row)
            noise = rng.integers(0, 256, (rows, size), dtype=np.uint16)
            window = rasterio.windows.Window(0, row, size, rows)
            file.write(slope[None, :] + noise, 1, window=window)
    if strips:
        copy_raster(plain, path, driver="GTiff", COMPRESS="DEFLATE", ZLEVEL=1)
    else:
        copy_raster(plain, path, driver="COG", COMPRESS="DEFLATE", LEVEL=1, BLOCKSIZE=512)
    plain.unlink()


def catalog_of(folder: Path, hrefs: Sequence[str]) -> Path:
    """Write an item collection of one scene per file, a day apart."""
    features: list[dict[str, Any]] = [
        {
            "type": "Feature", "stac_version": "1.0.0", "id": f"s{n}", "geometry": None, "links": [],
            "properties": {"datetime": f"2024-05-{n + 1:02}T10:30:21Z", "gsd": GSD_M, "platform": "bench"},
            "assets": {
                "red": {
                    "href": href, "type": "image/tiff; application=geotiff", "roles": ["data"],
                    "eo:bands": [{"name": "red", "common_name": "red"}],
                    "raster:bands": [{"scale": 0.0001, "offset": 0, "nodata": 0}],
                }
            },
        }
        for n, href in enumerate(hrefs)
    ]  # fmt: skip
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def site_at(col: int, row: int) -> BaseGeometry:
    """Return a square site whose north-west corner is a pixel of the scenes, EPSG:4326."""
    west, north = EAST_M + col * GSD_M, NORTH_M - row * GSD_M
    to_degrees = transformer("EPSG:32636", "EPSG:4326").transform
    outline = box(west, north - SITE_M, west + SITE_M, north)
    return shapely.transform(outline, lambda xy: np.column_stack(to_degrees(xy[:, 0], xy[:, 1])))


def spread(count: int, size: int) -> list[BaseGeometry]:
    """Return so many sites all over an image of ``size`` pixels."""
    side = int(np.ceil(np.sqrt(count)))
    step = size // side
    return [site_at(step * (n % side) + step // 2, step * (n // side) + step // 2) for n in range(count)]


def read_site(aoi: BaseGeometry, catalog: Path, cache: Path) -> list[Scene]:
    """Search, fetch and hash a site's scenes and read each on the grid that looks are placed by."""
    found = open_archive(str(catalog), cache=cache, allow_hosts={"127.0.0.1"}).search(aoi)
    fetched = fetch_pixels(aoi, found.scenes, found.bring, PARAMETERS)
    for scene in fetched.scenes:
        read_look(scene, fetched.grids.chips[scene.gsd_m > 3.5])
    return list(fetched.scenes)


def bytes_read() -> int:
    """Return how many bytes this process has read from files and sockets so far (Linux)."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def remote(folder: Path, server: FileServer) -> dict[str, Any]:
    """Fetch one band for sites that share it, and whole."""
    path = folder / "B04.tif"
    write_band(path, BAND_PX, 1)
    catalog = catalog_of(folder, [server.add("B04.tif", path)])
    size = path.stat().st_size
    rows = []
    for count in SITES:
        server.forget()
        cache = folder / f"ranges-{count}"
        began, cpu = time.perf_counter(), time.process_time()
        for aoi in spread(count, BAND_PX):
            read_site(aoi, catalog, cache)
        rows.append(
            {
                "sites": count,
                "bytes": server.bytes_sent,
                "requests": len(server.sent),
                "seconds": time.perf_counter() - began,
                "cpu_s": time.process_time() - cpu,
            }
        )
    server.forget()
    whole = download.Downloader(folder / "whole", {"127.0.0.1"}, whole_below=2**40)
    began, cpu = time.perf_counter(), time.process_time()
    kept = whole.fetch(f"{server.url}/B04.tif")
    download_s, download_cpu_s = time.perf_counter() - began, time.process_time() - cpu
    found = open_archive(str(catalog_of(folder, [str(kept)])), cache=folder / "local").search(
        site_at(5000, 5000)
    )
    assert found.scenes[0].parts == ()
    told = {"bytes": server.bytes_sent, "seconds": download_s, "cpu_s": download_cpu_s}
    told["with_hash_s"] = time.perf_counter() - began
    told["with_hash_cpu_s"] = time.process_time() - cpu
    return {"file_bytes": size, "ranges": rows, "whole": told}


def local(folder: Path, *, strips: bool) -> dict[str, Any]:
    """Count bytes read for several sites in one scene, and for as many sites in a scene each."""
    paths = [folder / f"{'strips' if strips else 'tiles'}-{n}.tif" for n in range(LOCAL_SITES)]
    for n, path in enumerate(paths):
        write_band(path, LOCAL_PX, n, strips=strips)
    sites = spread(LOCAL_SITES, LOCAL_PX)
    time.sleep(6.0)  # files younger than that are not remembered
    counted = {}
    for name, catalogs in (
        ("one_scene", [catalog_of(_new(folder / f"one-{strips}"), [str(paths[0])])] * LOCAL_SITES),
        (
            "a_scene_each",
            [catalog_of(_new(folder / f"each-{strips}-{n}"), [str(p)]) for n, p in enumerate(paths)],
        ),
    ):
        before, cpu = bytes_read(), time.process_time()
        for aoi, catalog in zip(sites, catalogs, strict=True):
            read_site(aoi, catalog, folder / f"cache-{name}-{strips}")
        counted[name] = {"bytes": bytes_read() - before, "cpu_s": time.process_time() - cpu}
    one, each = counted["one_scene"]["bytes"], counted["a_scene_each"]["bytes"]
    return counted | {"file_bytes": paths[0].stat().st_size, "sites": LOCAL_SITES, "ratio": each / one}


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="depotwatch-bench-") as name, serving() as server:
        folder = Path(name)
        result = {
            "remote": remote(folder, server),
            "tiles": local(folder, strips=False),
            "strips": local(folder, strips=True),
        }
    told = result["remote"]
    for row in told["ranges"]:
        share = told["whole"]["bytes"] / row["bytes"]
        print(
            f"{row['sites']:3} sites by ranges: {row['bytes'] / 1e6:7.1f} MB in {row['requests']} requests, "
            f"{row['cpu_s']:.2f} s CPU; whole {told['whole']['bytes'] / 1e6:.1f} MB: {share:.1f} times as much"
        )
    for kind in ("tiles", "strips"):
        row = result[kind]
        print(
            f"local, {kind}: {row['sites']} sites in one scene read {row['one_scene']['bytes'] / 1e6:.1f} MB, in a scene "
            f"each {row['a_scene_each']['bytes'] / 1e6:.1f} MB: {row['ratio']:.2f} times as much"
        )
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
