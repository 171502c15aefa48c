"""Archives as strangers make them, through the whole analysis: pictures painted here, by no simulator of ours."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage
from shapely import box

from pipelines.analysis import Analysis, Site
from pipelines.parameters import Parameters
from pipelines.site import analyse
from pipelines.steps import project

EAST, NORTH, SIZE = 400_000.0, 5_400_000.0, 440
AOI = project(box(EAST + 80.0, NORTH - 140.0, EAST + 140.0, NORTH - 80.0), "EPSG:32637", "EPSG:4326")
Picture = NDArray[np.float64]


def ground() -> Picture:
    """Return reflectance of ground with fields, paths and clutter (3, row, col), 0.5 m, the same each time."""
    rng = np.random.default_rng(3)
    waves = [
        ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), s) * s * w
        for s, w in ((1, 1), (4, 2), (25, 3))
    ]
    fields = ndimage.zoom(rng.uniform(-1, 1, (9, 9)), SIZE / 9, order=0)[:SIZE, :SIZE]
    shade = 0.2 * (1.0 + 0.1 * sum(waves) + 0.3 * fields)
    return np.asarray(np.clip(np.stack([shade * c for c in (1.0, 0.9, 0.7)]), 0.02, 0.6))


def with_noise(picture: Picture, seed: int) -> Picture:
    return picture + np.random.default_rng(seed).normal(0.0, 0.004, picture.shape)


@dataclass(frozen=True)
class Shelf:
    """A folder that pictures are put into and analysed from."""

    folder: Path

    def put(self, name: str, when: str, picture: Picture, *, dtype: str = "uint16") -> None:
        full = 255.0 / 0.7 if dtype == "uint8" else 10_000.0
        numbers = np.clip(np.rint(picture * full), 1, 255 if dtype == "uint8" else 65_000).astype(dtype)
        path = self.folder / "scenes" / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        transform = Affine(0.5, 0.0, EAST, 0.0, -0.5, NORTH)
        with rasterio.open(
            path, "w", driver="GTiff", height=SIZE, width=SIZE, count=3, dtype=dtype, crs="EPSG:32637",
            transform=transform, nodata=0, photometric="RGB",
        ) as file:  # fmt: skip
            file.write(numbers)
        said = {"datetime": when, "gsd": 0.5, "bands": ["red", "green", "blue"], "off_nadir": 0.0,
                "sun_azimuth": 150.0, "sun_elevation": 45.0}  # fmt: skip
        said |= {} if dtype == "uint8" else {"scale": 1e-4, "offset": 0.0}
        path.with_suffix(".json").write_text(json.dumps(said))

    def analysed(self, out: str) -> Analysis:
        return analyse(
            catalog=str(self.folder / "scenes"),
            site=Site("painted", AOI),
            out=self.folder / out,
            parameters=Parameters(network=False),
        )


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def flat_cloud() -> Picture:
    return with_noise(np.full((3, SIZE, SIZE), 0.55), 99)


def rough_cloud() -> Picture:
    """Return a cloud with structure at every size, and so the sharpest picture of all."""
    rng = np.random.default_rng(7)
    waves = sum(ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), s) * s for s in (0.6, 1.2, 2.5))
    return np.stack([0.5 + 0.05 * waves] * 3)


@pytest.mark.parametrize("cloud", [flat_cloud, rough_cloud])
def test_a_cloud_that_no_mask_tells_of_never_becomes_what_all_looks_are_placed_on(
    shelf: Shelf, cloud: Callable[[], Picture]
) -> None:
    shelf.put("a_cloud", "2024-02-01T10:00:00Z", cloud())
    for month in range(3, 7):
        shelf.put(f"look{month}", f"2024-0{month}-01T10:00:00Z", with_noise(ground(), month))
    found = shelf.analysed("out")
    seen = {look.scene.id: look.usable_fraction for look in found.looks}
    assert [seen[f"look{month}"] for month in range(3, 7)] == [1.0] * 4
    assert next(look.scene.id for look in found.looks if look.reference) != "a_cloud"
    assert seen["a_cloud"] == 0.0


def test_another_stretch_of_eight_bit_pictures_hides_nothing(shelf: Shelf) -> None:
    for month, (gain, lift) in enumerate([(0.6, 0.0), (0.6, 0.0), (1.5, 0.05), (1.6, 0.04)], 3):
        picture = with_noise(ground(), month) * gain + lift
        shelf.put(f"look{month}", f"2024-0{month}-01T10:00:00Z", picture, dtype="uint8")
    assert [look.usable_fraction for look in shelf.analysed("out").looks] == [1.0] * 4


def test_dates_that_only_say_when_a_file_was_written_are_warned_of(shelf: Shelf) -> None:
    for month in (3, 4):
        shelf.put(f"look{month}", "2024-01-01T10:00:00Z", with_noise(ground(), month))
        path = shelf.folder / "scenes" / f"look{month}.tif"
        said = json.loads(path.with_suffix(".json").read_text())
        del said["datetime"]
        path.with_suffix(".json").write_text(json.dumps(said))
        with rasterio.open(path, "r+") as file:
            file.update_tags(TIFFTAG_DATETIME=f"2024:0{month}:01 10:00:00")
    found = shelf.analysed("out")
    assert any("2 of 2 looks are dated by a tag" in warning for warning in found.warnings)
