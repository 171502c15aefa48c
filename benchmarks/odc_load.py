"""Load the looks of a static catalog with odc-stac and say what it took: run by the Python of an environment of its own.

    pip install odc-stac
    PYTHON benchmarks/odc_load.py CATALOG.json

It reads every band of every item onto the items' own grid moved by part of a pixel, cubic, in one chunk per look, with one
thread, as ``benchmarks.throughput`` does with rasterio for its floor. Prints one line of JSON: seconds without imports.
"""

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import dask
import pystac
import rasterio

# Not of our environment: the type checker need not find them.
stac: Any = import_module("odc.stac")
GeoBox: Any = import_module("odc.geo.geobox").GeoBox


def main() -> int:
    """Load and tell."""
    catalog = Path(sys.argv[1])
    links = [link for link in json.loads(catalog.read_text())["links"] if link["rel"] == "item"]
    items, bands = [], ["data.1", "data.2", "data.3", "data.4"]
    for link in links:
        item = pystac.Item.from_file(str(catalog.parent / link["href"]))
        for asset in item.assets.values():
            asset.href = str((catalog.parent / asset.href).resolve())
        items.append(item)
    with rasterio.open(items[0].assets["data"].href) as source:
        crs, transform, shape = source.crs, source.transform, source.shape
    moved = transform * rasterio.Affine.translation(0.37, 0.41)
    box = GeoBox(shape, moved, crs)
    wall, cpu, total = time.perf_counter(), time.process_time(), 0.0
    with dask.config.set(scheduler="synchronous"):
        for item in items:
            loaded = stac.load(
                [item], bands=bands, geobox=box, resampling="cubic", dtype="float32", groupby="id"
            )
            total += float(sum(loaded[name].values[:, ::500, ::500].sum() for name in loaded.data_vars))
    said = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "check": total,
        "version": stac.__version__,
    }
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
