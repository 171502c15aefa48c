"""A rendered series as users would receive a real one: a static STAC catalog with its truth beside it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.shutil import copy as copy_raster
from shapely.geometry import box, mapping
from shapely.geometry.base import BaseGeometry

from imagery.grid import SiteGrid, transformer, utm_epsg
from imagery.simulation import (
    RenderedLook,
    Sensor,
    Series,
    SeriesOptions,
    Truth,
    other_truths,
    simulate_series,
)
from imagery.simulation.series import Masks, clear_share
from pipelines.report import check_out

AOI_INSET_M = 12.0
BLOCK_PX = 256
# Sentinel-2 Level-2A scene classification: 3 cloud shadow, 5 not vegetated, 9 cloud (high probability), 11 snow.
SHADOW_CLASS, BARE_CLASS, CLOUD_CLASS, SNOW_CLASS = 3, 5, 9, 11
SCENE_CLASSES_FROM_M = 10.0
README = """RENDERED scenes, not real: made by `depotwatch simulate` (imagery/simulation). No real place is shown.

catalog.json    static STAC catalog, one Item per look
aoi.geojson     the site
truth.geojson   what truly stood when (class, appeared, removed, count, height, looks in which its place was clear): containers,
                berms, and as `other` what else stands up and can be taken for them; `scenes` says what must be added to each
                scene's coordinates to bring it onto the truth

Made with: depotwatch simulate {how}
"""


def write_series(seed: int, options: SeriesOptions, out: Path, how: str) -> Series:
    """Render a series and write catalog, scenes, masks, AOI and truth into ``out``.

    Raises
    ------
    OutputNotEmpty : there is something in ``out`` already
    """
    check_out(out)
    out.mkdir(parents=True, exist_ok=True)
    series = simulate_series(seed, options)
    grid = place(options)
    footprint = _lonlat(box(*grid.bounds), grid)
    ids = [scene_id(seed, look) for look in series.looks]
    for name, look in zip(ids, series.looks, strict=True):
        _write_raster(out / f"{name}.tif", look.image, grid, 0)
        if options.masks != "none":
            _write_raster(out / f"{name}-mask.tif", _mask_codes(look, grid)[None], grid, 255)
        _write_json(out / f"{name}.json", _item(name, look, grid, footprint, options.masks))
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    links += [{"rel": "item", "href": f"./{name}.json", "type": "application/geo+json"} for name in ids]
    catalog = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": f"rendered-{seed}",
        "description": "RENDERED scenes, not real.",
        "links": links,
    }
    _write_json(out / "catalog.json", catalog)
    west, south, east, north = grid.bounds
    inset = max(AOI_INSET_M, 3 * grid.gsd_m)
    area = _lonlat(box(west + inset, south + inset, east - inset, north - inset), grid)
    site = {"type": "Feature", "properties": {"name": f"rendered site {seed}"}, "geometry": mapping(area)}
    _write_json(out / "aoi.geojson", site)
    truths = (*series.truths, *other_truths(seed, options))
    _write_json(out / "truth.geojson", _truth(truths, series, grid, ids))
    (out / "README.md").write_text(README.format(how=how))
    return series


def _mask_codes(look: RenderedLook, grid: SiteGrid) -> NDArray[np.uint8]:
    """Return the mask as its kind of product has it: cloud-mask codes, or Sentinel-2 scene classes at 10 m and coarser."""
    if grid.gsd_m < SCENE_CLASSES_FROM_M:
        return look.mask
    classes: NDArray[np.uint8] = np.array([BARE_CLASS, CLOUD_CLASS, SHADOW_CLASS, SNOW_CLASS], np.uint8)[
        look.mask
    ]
    return classes


def place(options: SeriesOptions) -> SiteGrid:
    """Return where the rendered site pretends to lie."""
    epsg = utm_epsg(options.longitude, options.latitude)
    east, north = transformer("EPSG:4326", f"EPSG:{epsg}").transform(options.longitude, options.latitude)
    side = round(options.extent_m / options.sensor.gsd_m)
    snap = 10.0
    return SiteGrid(
        epsg, round(east / snap) * snap, round(north / snap) * snap, options.sensor.gsd_m, side, side
    )


def scene_id(seed: int, look: RenderedLook) -> str:
    """Name a rendered scene."""
    return f"rendered-{seed}-{look.t_utc:%Y%m%dT%H%M%S}"


def _lonlat(geometry: BaseGeometry, grid: SiteGrid) -> BaseGeometry:
    back = transformer(grid.crs, "EPSG:4326")
    moved: BaseGeometry = shapely.transform(
        geometry, lambda xy: np.round(np.column_stack(back.transform(xy[:, 0], xy[:, 1])), 8)
    )
    return moved


def _write_raster(path: Path, image: NDArray[Any], grid: SiteGrid, nodata: int) -> None:
    """Write a COG."""
    profile = {
        "driver": "GTiff",
        "count": len(image),
        "height": grid.rows,
        "width": grid.cols,
        "dtype": image.dtype,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": nodata,
    }
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as sheet:
            sheet.write(image)
        with memory.open() as sheet:
            copy_raster(
                sheet, path, driver="COG", compress="DEFLATE", predictor="2", level="9", blocksize=BLOCK_PX,
                overviews="NONE",
            )  # fmt: skip


def _item(
    name: str, look: RenderedLook, grid: SiteGrid, footprint: BaseGeometry, masks: Masks
) -> dict[str, Any]:
    coarse = grid.gsd_m >= SCENE_CLASSES_FROM_M
    mask_key, mask_role = ("scl", "data-mask") if coarse else ("cloud-mask", "cloud")
    common = {"type": "image/tiff; application=geotiff; profile=cloud-optimized"}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            "https://stac-extensions.github.io/view/v1.0.0/schema.json",
        ],
        "id": name,
        "geometry": mapping(footprint),
        "bbox": list(footprint.bounds),
        "properties": {
            "datetime": _stamp(look.t_utc),
            "gsd": grid.gsd_m,
            "platform": "rendered",
            "license": "Apache-2.0",
            "proj:epsg": grid.epsg,
            "proj:shape": list(grid.shape),
            "view:sun_azimuth": round((look.sun.azimuth_deg + grid.convergence_deg) % 360, 4),
            "view:sun_elevation": round(look.sun.elevation_deg, 4),
            "view:azimuth": round((look.view.azimuth_deg + grid.convergence_deg) % 360, 4),
            "view:off_nadir": round(look.view.off_nadir_deg, 4),
        },
        "assets": {
            "data": {
                **common,
                "href": f"./{name}.tif",
                "roles": ["data"],
                "eo:bands": [{"name": band, "common_name": band} for band in look.bands],
                "raster:bands": [{"scale": 0.0001, "offset": 0.0, "nodata": 0, "data_type": "uint16"}]
                * len(look.bands),
            },
            **(
                {}
                if masks == "none"
                else {mask_key: {**common, "href": f"./{name}-mask.tif", "roles": [mask_role]}}
            ),
        },
        "links": [{"rel": "root", "href": "./catalog.json", "type": "application/json"}],
    }


def _truth(truths: Sequence[Truth], series: Series, grid: SiteGrid, ids: list[str]) -> dict[str, Any]:
    """One feature per stay of each thing: class, appeared and removed (null where outside the period)."""
    west, south, _, _ = grid.bounds
    features = []
    for truth in truths:
        moved = shapely.transform(truth.footprint, lambda xy: xy + np.array([west, south]))
        for start, end in truth.thing.spans:
            features.append(
                {
                    "type": "Feature",
                    "geometry": mapping(_lonlat(moved, grid)),
                    "properties": {
                        "object": truth.thing.number,
                        "class": truth.thing.kind,
                        "appeared": _stamp(start),
                        "removed": _stamp(end),
                        "count": truth.count,
                        "height_m": round(truth.height_m, 2),
                        "visible_in": [
                            name
                            for name, look in zip(ids, series.looks, strict=True)
                            if clear_share(look, truth, series.options) > 0.7
                        ],
                    },
                }
            )
    scenes = {
        name: {"east_m": round(look.shift_m[0], 4), "north_m": round(look.shift_m[1], 4)}
        for name, look in zip(ids, series.looks, strict=True)
    }
    return {"type": "FeatureCollection", "rendered": True, "scenes": scenes, "features": features}


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def sample_options() -> dict[str, SeriesOptions]:
    """Return what ``sample_tiles/`` holds: a depot at 0.5 m, and the same place from further up at 10 m."""
    depot = SeriesOptions(extent_m=240.0, traffic=0.0)
    above = SeriesOptions(
        extent_m=1500.0,
        sensor=Sensor(10.0, blur_px=0.35),
        looks=36,
        start=datetime(2022, 4, 1, tzinfo=UTC),
        end=datetime(2024, 9, 30, tzinfo=UTC),
        geolocation_m=4.0,
        off_nadir_deg=4.0,
        inset=depot,
    )
    return {"depot-0.5m": depot, "depot-10m": above}


SAMPLE_SEED = 22


def write_samples(out: Path) -> None:
    """Write the sample site, as ``depotwatch simulate --sample --out sample_tiles`` does."""
    for name, options in sample_options().items():
        write_series(SAMPLE_SEED, options, out / name, f"--sample ({name}, seed {SAMPLE_SEED})")
