"""Real image pairs as a static STAC catalog, so that ``depotwatch analyse`` can be run on them as on any archive.

``python -m benchmarks.real_catalog --source DIR --out DIR [--set oscd|pairs|all]`` writes ``catalog.json``, one
collection per site and ``aoi/SITE.geojson``. Files that are GeoTIFFs already are linked where they lie; PNG pairs, which
nobody georeferenced, are put at their true pixel size on a made-up place, and say so. Nothing is copied into the repository.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.warp import transform_bounds
from skimage.io import imread

# How much of each side of the common footprint the AOI leaves out.
MARGIN = 0.02
# Made-up places: one every 20 km along a parallel of UTM zone 31 N.
FAKE_EPSG = 32631
FAKE_ORIGIN = (200_000.0, 5_000_000.0)
FAKE_STEP_M = 20_000.0


@dataclass(frozen=True, slots=True)
class Picture:
    """One date of one site; ``bands`` are common names in file order; ``scale`` None where the numbers are only 8 bit."""

    path: Path
    when: str
    bands: tuple[str, ...]
    scale: float | None
    platform: str | None
    gsd_m: float


@dataclass(frozen=True, slots=True)
class Place:
    """One site with its dates."""

    name: str
    title: str
    licence: str
    pictures: tuple[Picture, ...]


def oscd_places(folder: Path) -> Iterator[Place]:
    """Yield the Sentinel-2 L1C pairs of OSCD: numbers / 10000 is reflectance, before baseline 04.00, no offset."""
    for city in sorted(p for p in folder.iterdir() if (p / "dates.txt").is_file()):
        dates = [
            line.split(":")[1].strip()
            for line in (city / "dates.txt").read_text().splitlines()
            if ":" in line
        ]
        pictures = tuple(
            Picture(
                (city / f"t{n}_B02_B03_B04_B08.tif").resolve(),
                datetime.strptime(date, "%Y%m%d").strftime("%Y-%m-%dT12:00:00Z"),
                ("blue", "green", "red", "nir"),
                1e-4,
                "sentinel-2",
                10.0,
            )
            for n, date in enumerate(dates, 1)
        )
        yield Place(city.name, f"OSCD {city.name}", "Copernicus Sentinel data", pictures)


# folder, before, after, pixel size, what is written as licence. Dates of these are not known and are made up.
_PAIRS = (
    ("levir_cd_samples", "A/{}.png", "B/{}.png", 0.5, "research only"),
    ("dsifn_samples", "A/{}.png", "B/{}.png", 2.0, "research only"),
    ("sztaki_airchange_szada", "{}/im1.png", "{}/im2.png", 1.5, "research only"),
    ("xbd_hurricane_matthew", "{}_pre_disaster.png", "{}_post_disaster.png", 0.5, "CC BY-NC-SA 4.0"),
    ("pytorch_change_models_demo", "{}1_img.png", "{}2_img.png", 0.5, "unclear"),
)


def pair_places(real: Path, out: Path) -> Iterator[Place]:
    """Yield PNG pairs as GeoTIFFs on made-up places and dates; they are written under ``out``."""
    number = 0
    for folder, before, after, gsd_m, licence in _PAIRS:
        for name, first in _matches(real / folder, before):
            second = real / folder / after.format(name)
            if not second.is_file():
                continue
            label = f"{folder.split('_')[0]}_{name.replace('-', '_')}"
            pictures = []
            for path, when in ((first, "2015-06-01T12:00:00Z"), (second, "2018-06-01T12:00:00Z")):
                target = out / "pictures" / f"{label}_{when[:4]}.tif"
                _georeference(path, target, gsd_m, number)
                pictures.append(Picture(target.resolve(), when, ("red", "green", "blue"), None, None, gsd_m))
            number += 1
            yield Place(label, f"{folder} {name}; place and dates are made up", licence, tuple(pictures))


def _matches(folder: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    """Yield (what ``{}`` stands for, path) of every file that fits a pattern."""
    head, tail = pattern.split("{}")
    for path in sorted(folder.glob(pattern.replace("{}", "*"))):
        yield path.relative_to(folder).as_posix()[len(head) : -len(tail)], path


def _georeference(png: Path, target: Path, gsd_m: float, number: int) -> None:
    """Write an eight-bit picture as a tiled GeoTIFF at its pixel size on made-up place ``number``."""
    picture = np.asarray(imread(png))
    bands = picture[..., :3] if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    target.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "height": bands.shape[0], "width": bands.shape[1], "count": 3, "dtype": "uint8",
        "crs": f"EPSG:{FAKE_EPSG}", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate",
        "transform": Affine(gsd_m, 0.0, FAKE_ORIGIN[0] + number * FAKE_STEP_M, 0.0, -gsd_m, FAKE_ORIGIN[1]),
    }  # fmt: skip
    with rasterio.open(target, "w", **profile) as file:
        file.write(np.moveaxis(bands, -1, 0))


def write_catalog(places: list[Place], out: Path) -> None:
    """Write a catalog, one collection and one AOI per place."""
    _dump(
        out / "catalog.json",
        {
            "type": "Catalog", "stac_version": "1.0.0", "id": "real-pairs",
            "description": "Real image pairs, linked where they lie",
            "links": [{"rel": "child", "href": f"./{p.name}/collection.json"} for p in places],
        },
    )  # fmt: skip
    for place in places:
        items = {f"{place.name}_{picture.when[:10].replace('-', '')}": picture for picture in place.pictures}
        _dump(
            out / place.name / "collection.json",
            {
                "type": "Collection", "stac_version": "1.0.0", "id": place.name, "description": place.title,
                "license": place.licence,
                "extent": {"spatial": {"bbox": [list(_bounds(place.pictures[0].path))]},
                           "temporal": {"interval": [[place.pictures[0].when, place.pictures[-1].when]]}},
                "links": [{"rel": "item", "href": f"./{name}.json"} for name in items],
            },
        )  # fmt: skip
        for name, picture in items.items():
            _dump(out / place.name / f"{name}.json", _item(name, picture))
        _dump(out / "aoi" / f"{place.name}.geojson", _aoi(place))


def _item(name: str, picture: Picture) -> dict[str, object]:
    bounds = _bounds(picture.path)
    asset: dict[str, object] = {
        "href": str(picture.path),
        "type": "image/tiff; application=geotiff",
        "roles": ["data"],
        "eo:bands": [{"name": b, "common_name": b} for b in picture.bands],
    }
    if picture.scale is not None:
        asset["raster:bands"] = [{"scale": picture.scale, "offset": 0, "nodata": 0} for _ in picture.bands]
    properties = {"datetime": picture.when, "gsd": picture.gsd_m}
    if picture.platform:
        properties["platform"] = picture.platform
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "bbox": list(bounds), "geometry": _rectangle(bounds),
        "properties": properties, "links": [], "assets": {"data": asset},
    }  # fmt: skip


def _bounds(path: Path) -> tuple[float, float, float, float]:
    with rasterio.open(path) as file:
        west, south, east, north = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    return west, south, east, north


def _aoi(place: Place) -> dict[str, object]:
    """Return the common footprint of a place's pictures, shrunk a little, as a feature."""
    every = [_bounds(p.path) for p in place.pictures]
    west, south = (max(b[i] for b in every) for i in (0, 1))
    east, north = (min(b[i] for b in every) for i in (2, 3))
    dx, dy = MARGIN * (east - west), MARGIN * (north - south)
    return {
        "type": "Feature",
        "properties": {"name": place.name},
        "geometry": _rectangle((west + dx, south + dy, east - dx, north - dy)),
    }


def _rectangle(bounds: tuple[float, float, float, float]) -> dict[str, object]:
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _dump(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One site that can be analysed: where its catalog and its AOI were written."""

    name: str
    catalog: Path
    aoi: Path


def write_catalogs(source: Path, out: Path, which: str) -> list[CatalogEntry]:
    """Write the catalog and AOIs of a set of real pairs (``oscd``, ``pairs``, ``all``) and return its sites."""
    oscd = source / "oscd_train_cities" if (source / "oscd_train_cities").is_dir() else source
    places: list[Place] = []
    if which in ("oscd", "all"):
        places.extend(oscd_places(oscd))
    if which in ("pairs", "all"):
        places.extend(pair_places(oscd.parent, out))
    write_catalog(places, out)
    return [CatalogEntry(p.name, out / "catalog.json", out / "aoi" / f"{p.name}.geojson") for p in places]


def main(arguments: list[str] | None = None) -> int:
    """Write the catalog and print ``SITE<TAB>AOI`` per site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--source", type=Path, required=True, help="the folder of real imagery, or its oscd_train_cities"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="an empty or new folder outside the repository"
    )
    parser.add_argument("--set", dest="which", choices=("oscd", "pairs", "all"), default="oscd")
    options = parser.parse_args(arguments)
    if not options.source.is_dir():
        print(f"{options.source}: there is no such folder of real imagery", file=sys.stderr)
        return 2
    for entry in write_catalogs(options.source, options.out, options.which):
        print(f"{entry.name}\t{entry.aoi}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
