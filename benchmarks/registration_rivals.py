"""The other tools, in a process of their own: ``.bench-venv/bin/python benchmarks/registration_rivals.py``.

Reads pairs from stdin and writes answers to stdout, one JSON line each. It runs in its own environment because AROSICS
needs GDAL's Python bindings and an older numpy. Each tool gets its best configuration found so far (ALGORITHMS A4):
AROSICS gets clouds as bad-data mask alone, ECC starts from phase correlation, keypoints go through RANSAC to an affine.

Every answer is ``{"map": [[a, b, c], [d, e, f]] | null, "quality": q, "seconds": s}``, CPU seconds; the map sends reference
(row, col) to target (row, col).
"""

import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

Answer = tuple[Any, float]
WEST, NORTH = 500_000.0, 5_000_000.0


def _map_of_shift(row: float, col: float) -> Any:
    """Return the map for 'add (row, col) to the target's coordinates'."""
    return np.array([[1.0, 0.0, -row], [0.0, 1.0, -col]])


def _filled(image: Any, seen: Any) -> Any:
    return np.where(seen, image, image[seen].mean()) if not seen.all() else image


def _bytes(image: Any, seen: Any) -> Any:
    low, high = np.percentile(image[seen], [0.5, 99.5])
    return (np.clip((image - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)


def skimage_pcc(pair: dict[str, Any]) -> Answer:
    """Phase cross correlation, Hann window, 1/100 px."""
    from skimage.registration import phase_cross_correlation

    a, b = _filled(pair["reference"], pair["seen_r"]), _filled(pair["target"], pair["seen_t"])
    window = np.hanning(a.shape[0])[:, None] * np.hanning(a.shape[1])[None, :]
    shift, error, _ = phase_cross_correlation(
        (a - a.mean()) * window, (b - b.mean()) * window, upsample_factor=100, normalization=None
    )
    return _map_of_shift(*shift), 1.0 - float(error)


def _ecc(pair: dict[str, Any], motion: int) -> Answer:
    import cv2

    a, b = (
        _filled(pair[k], pair[s]).astype(np.float32)
        for k, s in (("reference", "seen_r"), ("target", "seen_t"))
    )
    window = cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(a - a.mean(), b - b.mean(), window)
    warp = np.array([[1, 0, x], [0, 1, y]], np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-6)
    try:
        score, warp = cv2.findTransformECC(a, b, warp, motion, stop, pair["seen_t"].astype(np.uint8), 5)
    except cv2.error:
        return None, 0.0
    return _swapped(warp), float(score)


def _swapped(warp: Any) -> Any:
    """Turn an (x, y) map into a (row, col) map."""
    (a, b, c), (d, e, f) = np.asarray(warp, float)
    return np.array([[e, d, f], [b, a, c]])


def ecc_translation(pair: dict[str, Any]) -> Answer:
    """OpenCV ECC, translation."""
    import cv2

    return _ecc(pair, cv2.MOTION_TRANSLATION)


def ecc_affine(pair: dict[str, Any]) -> Answer:
    """OpenCV ECC, affine."""
    import cv2

    return _ecc(pair, cv2.MOTION_AFFINE)


def _keypoints(pair: dict[str, Any], detector: Any, norm: int) -> Answer:
    import cv2

    cv2.setRNGSeed(1)
    found = []
    for image, seen in (("reference", "seen_r"), ("target", "seen_t")):
        mask = pair[seen].astype(np.uint8) * 255
        found.append(detector.detectAndCompute(_bytes(pair[image], pair[seen]), mask))
    (points_r, words_r), (points_t, words_t) = found
    if words_r is None or words_t is None or len(points_r) < 4 or len(points_t) < 4:
        return None, 0.0
    pairs = cv2.BFMatcher(norm).knnMatch(words_r, words_t, k=2)
    good = [p[0] for p in pairs if len(p) == 2 and p[0].distance < 0.8 * p[1].distance]
    if len(good) < 4:
        return None, 0.0
    source = np.float32([points_r[m.queryIdx].pt for m in good])
    sink = np.float32([points_t[m.trainIdx].pt for m in good])
    warp, inliers = cv2.estimateAffine2D(
        source, sink, ransacReprojThreshold=1.5, maxIters=5000, confidence=0.999
    )
    if warp is None or inliers.sum() < 4:
        return None, 0.0
    return _swapped(warp), float(inliers.sum())


def sift(pair: dict[str, Any]) -> Answer:
    """OpenCV SIFT, ratio test, RANSAC affine."""
    import cv2

    return _keypoints(pair, cv2.SIFT_create(4000), cv2.NORM_L2)


def akaze(pair: dict[str, Any]) -> Answer:
    """OpenCV AKAZE, ratio test, RANSAC affine."""
    import cv2

    return _keypoints(pair, cv2.AKAZE_create(threshold=3e-4), cv2.NORM_HAMMING)


def _geo(array: Any, nodata: float | None = None) -> Any:
    from geoarray import GeoArray
    from pyproj import CRS

    return GeoArray(
        np.ascontiguousarray(array),
        (WEST, 1.0, 0.0, NORTH, 0.0, -1.0),
        CRS.from_epsg(32636).to_wkt(),
        nodata=nodata,
    )


def _arosics_options(pair: dict[str, Any]) -> dict[str, Any]:
    options = {"max_shift": int(pair["max_shift"]), "CPUs": 1, "q": True, "ignore_errors": True}
    for key, seen in (("mask_baddata_ref", "seen_r"), ("mask_baddata_tgt", "seen_t")):
        if not pair[seen].all():
            options[key] = _geo(~pair[seen])
    return options


def arosics_global(pair: dict[str, Any]) -> Answer:
    """AROSICS, one window of 256 px."""
    from arosics import COREG

    reference, target = _geo(pair["reference"]), _geo(pair["target"])
    job = COREG(reference, target, ws=(256, 256), progress=False, **_arosics_options(pair))
    job.calculate_spatial_shifts()
    if not job.success or job.x_shift_px is None:
        return None, 0.0
    return _map_of_shift(float(job.y_shift_px), float(job.x_shift_px)), float(job.shift_reliability or 0.0)


def _robust_affine(design: Any, targets: Any) -> Any:
    """Return the affine of least absolute residuals; kinder to AROSICS than least squares over its inliers."""
    weights = np.ones(len(design))
    for _ in range(20):
        solution = np.linalg.lstsq(design * weights[:, None], targets * weights[:, None], rcond=None)[0]
        residual = np.hypot(*(targets - design @ solution).T)
        weights = 1.0 / np.sqrt(np.maximum(residual, 0.01))
    return solution.T


def arosics_local(pair: dict[str, Any]) -> Answer:
    """AROSICS, a grid of tie points, affine through its inliers."""
    from arosics import COREG_LOCAL

    reference, target = _geo(pair["reference"]), _geo(pair["target"])
    side = 256 if min(pair["reference"].shape) >= 200 else 64
    job = COREG_LOCAL(
        reference,
        target,
        grid_res=side // 4,
        window_size=(side, side),
        progress=False,
        **_arosics_options(pair),
    )
    table = job.CoRegPoints_table
    good = table[(table.ABS_SHIFT > 0) & (table.OUTLIER == False)] if "OUTLIER" in table else table[:0]  # noqa: E712
    if len(good) < 4:
        return None, 0.0
    at = good[["Y_IM", "X_IM"]].to_numpy(float)
    shift = good[["Y_SHIFT_PX", "X_SHIFT_PX"]].to_numpy(float)
    design = np.column_stack([at, np.ones(len(at))])
    # AROSICS tells shifts to be added to the target at reference positions: q = p - shift.
    solution = _robust_affine(design, at - shift)
    quality = float(good.RELIABILITY.median()) * len(good) / max(len(table), 1) * len(good)
    return solution, quality


METHODS: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "arosics_global": arosics_global,
    "arosics_local": arosics_local,
    "skimage_pcc": skimage_pcc,
    "ecc_translation": ecc_translation,
    "ecc_affine": ecc_affine,
    "sift": sift,
    "akaze": akaze,
}


def _complete_gdal() -> None:
    """Give GDAL before 3.7 the context manager that AROSICS' reader asks for."""
    try:
        from osgeo import gdal
    except ImportError:
        return
    if hasattr(gdal, "config_options"):
        return

    @contextmanager
    def config_options(options: dict[str, str], thread_local: bool = True) -> Iterator[None]:
        before = {key: gdal.GetConfigOption(key) for key in options}
        for key, value in options.items():
            gdal.SetConfigOption(key, value)
        try:
            yield
        finally:
            for key, value in before.items():
                gdal.SetConfigOption(key, value)

    gdal.config_options = config_options


def _installed() -> dict[str, str]:
    """Return versions of what is there."""
    versions = {}
    for name in ("arosics", "cv2", "skimage"):
        try:
            versions[name] = __import__(name).__version__
        except ImportError:
            continue
    return versions


def _answer(method: str, pair: dict[str, Any]) -> dict[str, Any]:
    start = time.process_time()
    try:
        found, quality = METHODS[method](pair)
    except Exception as error:  # a rival that raises has no answer; the benchmark goes on
        return {
            "map": None,
            "quality": 0.0,
            "seconds": time.process_time() - start,
            "error": str(error)[:200],
        }
    seconds = time.process_time() - start
    sound = found is not None and np.all(np.isfinite(found))
    return {
        "map": found.tolist() if sound else None,
        "quality": quality if sound else 0.0,
        "seconds": seconds,
    }


def main() -> None:
    """Answer pairs until stdin ends: 8 bytes of length, then an npz."""
    warnings.simplefilter("ignore")
    _complete_gdal()
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # tools that print must not disturb the answers
    print(json.dumps(_installed()), file=channel, flush=True)
    while head := sys.stdin.buffer.read(8):
        data = np.load(io.BytesIO(sys.stdin.buffer.read(int.from_bytes(head, "little"))))
        pair = {k: data[k] for k in ("reference", "target", "seen_r", "seen_t", "max_shift")}
        print(json.dumps(_answer(str(data["method"]), pair)), file=channel, flush=True)


if __name__ == "__main__":
    main()
