"""Measure a network: real scenes (what fires where nothing stands) and held-out rendered looks.

``python -m training.measure presence.onnx --real ../shared/data/real --pool POOL --out FOLDER`` prints two tables and
writes ``measure.json`` and overlay pictures. Real scenes carry no labels of our classes, but for the
containers listed in ``PORT_CONTAINERS``, marked by eye: everything else that fires counts as a false alarm.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from imagery.evidence.network import CLASSES, PresenceNetwork
from imagery.grid import SiteGrid
from imagery.illumination import Sun, View
from imagery.look import Look
from training.real_ground import VEGAS_TRAINING_COLUMNS, resampled
from training.samples import BANDS, pool_files

Array = NDArray[np.float32]
PEAKS = (0.5, 0.7, 0.9, 0.95, 0.98)
LEAST_AREA_M2 = {"container": 8.0, "berm": 60.0, "other": 8.0}
SIZES = ((0.3, 0.45), (0.45, 0.6), (0.6, 1.0), (1.0, 1.6), (1.6, 3.3))

# Row and column in metres from the corner of osm_way_243466917_rows0-631: containers on trailers, by eye.
PORT_CONTAINERS = (
    (92.0, 68.2), (100.0, 64.6), (110.6, 62.0), (122.6, 59.2), (128.6, 53.2), (132.6, 50.6),
    (137.0, 48.0), (142.2, 45.0), (144.8, 41.8), (150.4, 60.6), (113.4, 76.2), (121.0, 116.0),
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A real image on square pixels; NaN outside it."""

    group: str
    name: str
    image: Array
    gsd_m: float


def look_of(image: Array, gsd_m: float, sun: Sun | None = None, view: View | None = None) -> Look:
    """Return a look around bare numbers: blue green red (infrared), or panchromatic."""
    grid = SiteGrid(32631, 500_000.0, 5_700_000.0, gsd_m, *image.shape[1:])
    state = np.where(np.isfinite(image).all(0), 0, 2).astype(np.uint8)
    time = datetime(2020, 6, 1, tzinfo=UTC)
    return Look("real", time, grid, BANDS[len(image)], image, state, gsd_m, sun, view)


def _picture(path: Path) -> Array:
    return np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1)[::-1].copy()


def real_scenes(folder: Path) -> Iterator[Scene]:
    """Yield the scenes never trained on (licences NC and U), Las Vegas' eastern part, and the port chip."""
    with rasterio.open(folder / "spacenet_samples/road_mask_input.tif") as source:
        vegas = source.read().astype(np.float32)[:, :, VEGAS_TRAINING_COLUMNS:]
    yield Scene("vegas", "east", vegas, 0.3)
    yield Scene("vegas-1m", "east", resampled(vegas, (0.3, 0.3), 1.0), 1.0)
    pictures = [
        ("levir", "levir_cd_samples/[AB]/*.png", 0.5),
        ("dsifn", "dsifn_samples/[AB]/*.png", 2.0),
        ("xbd", "xbd_hurricane_matthew/*.png", 0.5),
        ("demo", "pytorch_change_models_demo/*.png", 0.5),
        ("sztaki", "sztaki_airchange_szada/*/im*.png", 1.5),
        ("dota-bus", "dota_samples/dota_demo.png", 0.27),
        ("dota-trailers", "dota_samples/P*.png", 0.27),
    ]
    for group, pattern, gsd_m in pictures:
        for path in sorted(folder.glob(pattern)):
            image = _picture(path)
            image[:, (image < 3).all(0)] = np.nan  # beyond the frame
            yield Scene(group, f"{path.parent.name}-{path.stem}", image, gsd_m)
    port = _picture(folder / "pdok_maasvlakte/osm_way_243466917_rows0-631.png")
    for gsd_m in (0.3, 0.5, 0.8):
        yield Scene(f"port-{gsd_m}", "243466917", resampled(port, (0.25, 0.154), gsd_m), gsd_m)


def objects(log_odds: Array, gsd_m: float, least_m2: float) -> tuple[NDArray[np.int32], Array]:
    """Return labels of the connected places above even odds and of some size, and the peak probability of each."""
    p = 1 / (1 + np.exp(-np.nan_to_num(log_odds, nan=-20.0)))
    labels, n = ndimage.label(p > 0.5)
    if n == 0:
        return labels, np.zeros(0, np.float32)
    index = np.arange(1, n + 1)
    area = ndimage.sum_labels(np.ones_like(p), labels, index) * gsd_m**2
    peak = np.where(area >= least_m2, ndimage.maximum(p, labels, index), 0.0)
    return labels, peak.astype(np.float32)


def measure_real(
    network: PresenceNetwork, folder: Path, out: Path, groups: list[str] | None
) -> dict[str, Any]:
    """Return per group: km2 and, per class, how many objects fire per km2 above each peak."""
    found: dict[str, Any] = {}
    for scene in real_scenes(folder):
        if groups and scene.group not in groups:
            continue
        log_odds = network.log_odds(look_of(scene.image, scene.gsd_m))
        entry = found.setdefault(scene.group, {"km2": 0.0, **{c: [0] * len(PEAKS) for c in CLASSES}})
        entry["km2"] += float(np.isfinite(log_odds[0]).sum()) * scene.gsd_m**2 / 1e6
        for k, name in enumerate(CLASSES):
            _, peak = objects(log_odds[k], scene.gsd_m, LEAST_AREA_M2[name])
            entry[name] = [n + int((peak > t).sum()) for n, t in zip(entry[name], PEAKS, strict=True)]
        if scene.group.startswith("port"):
            entry["recall"] = port_recall(log_odds[0], scene.gsd_m)
        overlay(scene.image, log_odds, out / f"{scene.group}-{scene.name}.png")
    return found


def port_recall(log_odds: Array, gsd_m: float) -> list[float]:
    """Return the share of the port's containers with a peak above each threshold within 2.5 m of their middle."""
    p = ndimage.maximum_filter(1 / (1 + np.exp(-np.nan_to_num(log_odds, nan=-20.0))), round(5 / gsd_m))
    best = np.array([p[int(r / gsd_m), int(c / gsd_m)] for r, c in PORT_CONTAINERS])
    return [float((best > t).mean()) for t in PEAKS]


def measure_rendered(network: PresenceNetwork, pool: Path, most: int) -> dict[str, Any]:
    """Return per pixel size: pixel F1, object recall and precision (IoU 0.3) of each class on held-out looks."""
    counts: dict[str, NDArray[np.float64]] = {}
    for path in pool_files(pool, held_out=True)[:most]:
        with np.load(path) as data:
            image, truth = data["im"][: int(data["nb"])].astype(np.float32), data["fr"] > 127
            sun, view, gsd_m = Sun(*data["sun"]), View(*data["view"]), float(data["g"])
        log_odds = network.log_odds(look_of(image, gsd_m, sun, view))
        size = next(f"{a}-{b}" for a, b in SIZES if gsd_m <= b)
        for k, name in enumerate(CLASSES):
            row = np.array(
                [
                    *_pixels(log_odds[k], truth[k]),
                    *_matches(log_odds[k], truth[k], gsd_m, name, 0.5),
                    *_matches(log_odds[k], truth[k], gsd_m, name, 0.9),
                ],
                np.float64,
            )
            counts[f"{size} {name}"] = counts.get(f"{size} {name}", 0) + row
    result = {}
    for key, (hit, said, true, good, fired, stood, sure, fired_sure, _) in sorted(counts.items()):
        result[key] = {
            "pixel_f1": 2 * hit / max(said + true, 1), "object_recall": good / max(stood, 1),
            "object_precision": good / max(fired, 1), "objects": int(stood),
            "object_recall_sure": sure / max(stood, 1), "object_precision_sure": sure / max(fired_sure, 1),
        }  # fmt: skip
    return result


def _pixels(log_odds: Array, truth: NDArray[np.bool_]) -> tuple[int, int, int]:
    said = log_odds > 0
    return int((said & truth).sum()), int(said.sum()), int(truth.sum())


def _matches(
    log_odds: Array, truth: NDArray[np.bool_], gsd_m: float, name: str, least_peak: float
) -> tuple[int, int, int]:
    """Return (matched at IoU 0.3, fired with that peak, stood); touching objects are one."""
    labels, peak = objects(log_odds, gsd_m, LEAST_AREA_M2[name])
    standing, n = ndimage.label(truth)
    sizes = np.bincount(standing.ravel(), minlength=n + 1)
    large = sizes * gsd_m**2 >= LEAST_AREA_M2[name]
    large[0] = False
    said = np.bincount(labels.ravel(), minlength=len(peak) + 1)
    pairs, overlap = np.unique(labels.ravel() * np.int64(n + 1) + standing.ravel(), return_counts=True)
    good = 0
    for pair, both in zip(pairs, overlap, strict=True):
        i, j = divmod(int(pair), n + 1)
        good += bool(i and large[j] and peak[i - 1] > least_peak and both / (said[i] + sizes[j] - both) > 0.3)
    return good, int((peak > least_peak).sum()), int(large.sum())


def overlay(image: Array, log_odds: Array, path: Path) -> None:
    """Write the scene beside what fired on it: container red, berm green, other blue."""
    grey = image[::-1][-3:] if len(image) >= 3 else np.repeat(image[:1], 3, 0)
    low, high = np.nanpercentile(grey, (1, 99))
    shown = np.clip((np.nan_to_num(grey) - low) / (high - low + 1e-6), 0, 1)
    p = 1 / (1 + np.exp(-np.nan_to_num(log_odds, nan=-20.0)))
    marked = shown * 0.5 * (1 - p.max(0)) + p
    both = np.concatenate([shown, marked], 2).transpose(1, 2, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.clip(both, 0, 1) * 255).astype(np.uint8)).save(path)


def print_tables(real: dict[str, Any], rendered: dict[str, Any]) -> None:
    """Print both tables."""
    print("real: objects per km2 at peak >", *PEAKS)
    for group, entry in real.items():
        cells = [" ".join(f"{n / entry['km2']:7.1f}" for n in entry[c]) for c in CLASSES]
        extra = " port recall " + " ".join(f"{r:.2f}" for r in entry["recall"]) if "recall" in entry else ""
        print(f"{group:14s} {entry['km2']:.3f} km2 | c {cells[0]} | b {cells[1]} | o {cells[2]}{extra}")
    print("rendered, held out: pixel F1, object recall and precision at peak > 0.5, at peak > 0.9, number")
    for key, row in rendered.items():
        print(
            f"{key:20s} {row['pixel_f1']:.2f}  {row['object_recall']:.2f} {row['object_precision']:.2f}  "
            f"{row['object_recall_sure']:.2f} {row['object_precision_sure']:.2f}  {row['objects']}"
        )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--most", type=int, default=300, help="held-out looks to use")
    parser.add_argument("--groups", nargs="*", help="only these real scenes")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    network = PresenceNetwork.load(args.weights)
    real = measure_real(network, args.real, args.out, args.groups)
    rendered = measure_rendered(network, args.pool, args.most)
    print_tables(real, rendered)
    (args.out / "measure.json").write_text(json.dumps({"real": real, "rendered": rendered}, indent=1))


if __name__ == "__main__":
    main()
