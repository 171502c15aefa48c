"""Small archives written on the spot: GeoTIFFs of 40 x 40 pixels and the STAC documents that describe them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

EAST, NORTH = 600_000.0, 3_700_000.0


@pytest.fixture
def tiff(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of GeoTIFFs: ``tiff(name, bands=4, dtype="uint16", east=..., seed=...)``."""

    def write(name: str, *, bands: int = 4, dtype: str = "uint16", east: float = EAST, gsd: float = 10.0,
              seed: int = 0, value: int | None = None, size: int = 40, **profile: Any) -> Path:  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"crs": "EPSG:32636", "transform": Affine(gsd, 0.0, east, 0.0, -gsd, NORTH)} | profile
        rng = np.random.default_rng([seed, *name.encode()])
        numbers = (
            rng.integers(1, 250, (bands, size, size))
            if value is None
            else np.full((bands, size, size), value)
        )
        with rasterio.open(
            path, "w", driver="GTiff", height=size, width=size, count=bands, dtype=dtype, **options
        ) as file:
            file.write(numbers.astype(dtype))
        return path

    return write


@pytest.fixture
def item() -> Callable[..., dict[str, Any]]:
    """Return a maker of STAC Items with one data asset of four bands."""

    def make(
        name: str, href: str, when: str | None = "2024-05-12T10:30:21Z", **properties: Any
    ) -> dict[str, Any]:
        bands = [{"name": n, "common_name": n} for n in ("blue", "green", "red", "nir")]
        return {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None, "links": [],
            "properties": {"datetime": when, "gsd": 10, "platform": "test-1"} | properties,
            "assets": {
                "data": {
                    "href": href, "type": "image/tiff; application=geotiff", "roles": ["data"], "eo:bands": bands,
                    "raster:bands": [{"scale": 0.0001, "offset": 0, "nodata": 0}] * 4,
                }
            },
        }  # fmt: skip

    return make


@pytest.fixture
def catalog(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of static catalogs: ``catalog(item, item, ...)`` gives the path of ``catalog.json``."""

    def write(*items: Any) -> Path:
        links = []
        for number, document in enumerate(items):
            (tmp_path / f"item{number}.json").write_text(
                document if isinstance(document, str) else json.dumps(document)
            )
            links.append({"rel": "item", "href": f"./item{number}.json"})
        top = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d", "links": links}
        (tmp_path / "catalog.json").write_text(json.dumps(top))
        return tmp_path / "catalog.json"

    return write
