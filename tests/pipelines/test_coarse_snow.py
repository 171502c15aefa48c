"""Snow that a mask calls clear hides coarse pixels as it hides fine ones."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from pipelines.analysis import Site
from pipelines.site import analyse

N = 400
CORNER = (500_000.0, 5_000_000.0)
TO_DEGREES = Transformer.from_crs("EPSG:32636", "EPSG:4326", always_xy=True).transform


def write(folder: Path, index: int, image: NDArray[np.float64]) -> None:
    """Write a four-band scene of 10 m pixels and a mask that says clear everywhere."""
    when = datetime(2023, 9, 1, 10, tzinfo=UTC) + timedelta(days=20 * index)
    stem = folder / f"s{index}_{when:%Y%m%dT%H0000}"
    shape = {"driver": "GTiff", "width": N, "height": N, "crs": "EPSG:32636"}
    shape["transform"] = Affine(10.0, 0.0, CORNER[0], 0.0, -10.0, CORNER[1])
    with rasterio.open(f"{stem}.tif", "w", count=4, dtype="uint16", nodata=0, **shape) as file:
        file.write(np.clip(np.round(image * 1e4), 1, 60_000).astype(np.uint16))
    with rasterio.open(f"{stem}_mask.tif", "w", count=1, dtype="uint8", nodata=255, **shape) as file:
        file.write(np.zeros((1, N, N), np.uint8))
    sidecar = {
        "datetime": when.isoformat(),
        "gsd": 10.0,
        "bands": ["blue", "green", "red", "nir"],
        "scale": 1e-4,
    }
    angles = {"sun_azimuth": 150.0, "sun_elevation": 45.0, "off_nadir": 0.0, "view_azimuth": 0.0}
    Path(f"{stem}.json").write_text(json.dumps(sidecar | angles))


def test_looks_under_snow_that_their_masks_call_clear_observed_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    texture = np.kron(rng.uniform(0.6, 1.5, (N // 8, N // 8)), np.ones((8, 8)))
    ground = np.array([0.06, 0.09, 0.12, 0.25])[:, None, None] * ndimage.gaussian_filter(texture, 0.6)
    snow = 0.62 + 0.1 * (ground - ground.mean(axis=(1, 2), keepdims=True))
    folder = tmp_path / "archive"
    folder.mkdir()
    for index, image in enumerate([ground, ground, snow, snow]):
        write(folder, index, image + rng.normal(scale=0.004, size=image.shape))
    corners = shapely.box(CORNER[0] + 1500, CORNER[1] - 2500, CORNER[0] + 2500, CORNER[1] - 1500)
    site = Site("white", shapely.transform(corners, TO_DEGREES, interleaved=False))
    analysis = analyse(catalog=str(folder), site=site, out=tmp_path / "out")
    clear, white = analysis.looks[:2], analysis.looks[2:]
    assert [look.usable_fraction for look in clear] == [1.0, 1.0]
    assert [look.usable_fraction for look in white] == [0.0, 0.0]
    assert all(dict(look.fractions)["snow"] == 1.0 for look in white)
    assert [row.usable_fraction for row in analysis.detection.standing] == [1.0, 1.0, 0.0, 0.0]
