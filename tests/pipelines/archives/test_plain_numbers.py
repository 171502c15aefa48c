"""Numbers that stand for no reflectance are told from reflectance by the note that their scene carries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagery.timeseries.comparable import PLAIN_NUMBERS
from pipelines.archives import open_archive

Tiff = Callable[..., Path]
Item = Callable[..., dict[str, Any]]
Catalog = Callable[..., Path]


@pytest.mark.parametrize(
    ("dtype", "properties"),
    [("uint8", {}), ("uint16", {}), ("float32", {}), ("uint16", {"platform": "Sentinel-2A"})],
)
def test_the_scenes_that_say_so_are_those_of_relative_units(
    tiff: Tiff, item: Item, catalog: Catalog, dtype: str, properties: dict[str, Any]
) -> None:
    tiff("a.tif", dtype=dtype)
    document = item("a", "a.tif", **properties)
    del document["assets"]["data"]["raster:bands"]
    (scene,) = open_archive(str(catalog(document))).search().scenes
    assert any(note.endswith(PLAIN_NUMBERS) for note in scene.notes) is (scene.units == "relative")
