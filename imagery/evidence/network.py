"""The learned one-look presence map: per class and pixel, how sure one look alone makes us.

A small convolutional network (``weights/presence.onnx``, trained by ``training/``, described in ``docs/model-card.md``)
sees one look at its own resolution, with the sun and the view as conditions, and answers log-odds of *a container*,
*a berm* and *another raised thing* in every pixel. It knows nothing of other dates; change, physics and time are
judged behind it.

What a sensor or a product does to brightness (gain, offset, stretch) is removed before the network sees it: every band
is centred on its local median and divided by its local spread, so a constant added to a band changes nothing.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagery.blocks import block_mean
from imagery.errors import DepotwatchError
from imagery.illumination import Sun, View
from imagery.look import Float32Image, Look
from imagery.order_statistics import percentiles_in_order

CLASSES = ("container", "berm", "other")
WEIGHTS = Path(__file__).parent / "weights" / "presence.onnx"
CARD = "presence.json"

# The range the network was trained for; finer looks are averaged down to it, coarser ones are not answered.
FINEST_GSD_M = 0.3
COARSEST_GSD_M = 4.0

# Depth of the network: sides of its input are multiples of this, and tile corners lie on it so that no
# pooling cell depends on where a tile began.
_ALIGN = 32
_MARGIN = 64
_CORE = 1280  # a tile without its margins; a whole number of _ALIGN

# Brightness statistics come from blocks of three by three cells of so many pixels: about what one training
# patch covers, so that a dark field beside a bright pad is stretched as it was in training.
_CELL = 128
_STRIDE = 5
_STRIP_ROWS = 32
_MIN_SAMPLES = 200
_LEAST_SPREAD = 0.25  # of the whole look's: calm water is not stretched into waves
_FIVE_TO_NINETY_FIVE = 3.29  # standard deviations between those percentiles of a normal distribution

# Padding next to missing ground looked like objects on real scenes; holes below three pixels are no border.
BORDER_M = 8.0
_SLOTS = ("blue", "green", "red", "nir")
_NEAR_INFRARED = ("nir", "nir08", "nir09")


class NetworkWeightsMissing(DepotwatchError):
    """The file with the network's weights is not where it should be."""

    code = "network-weights-missing"


class NetworkWeightsDamaged(DepotwatchError):
    """The file with the network's weights is not the one its card describes, or no network at all."""

    code = "network-weights-damaged"


@dataclass(frozen=True, slots=True)
class PresenceNetwork:
    """The loaded network; build it with ``load``, share it freely within one process."""

    weights_sha256: str
    _session: Any

    @classmethod
    def load(cls, path: Path | None = None) -> "PresenceNetwork":
        """Load weights from a file, or those of the package.

        Raises
        ------
        NetworkWeightsMissing : there is no such file
        NetworkWeightsDamaged : its hash is not the one in the card beside it, or it is no network of ours
        """
        source = WEIGHTS if path is None else path
        content, digest = _checked(source)
        return cls(digest, open_session(content, source.name, ["image", "condition"]))

    def log_odds(self, look: Look) -> Float32Image:
        """Return the presence of each class, look alone.

        The network runs at the look's own pixel size where the grid is finer, never finer than 0.3 m.

        Returns
        -------
        log_odds : (3, row, col) float32 in the order of ``CLASSES``, natural logarithm, on the look's grid; NaN
            where the ground was not seen, within 8 m of missing ground, and everywhere if the look is coarser than 4 m

        The same look gives the same bytes for any number of threads or workers of the caller.
        """
        shape = look.grid.shape
        factor = _averaging(look)
        gsd_m = look.grid.gsd_m * factor
        if max(gsd_m, look.gsd_m) > COARSEST_GSD_M or not look.observed.any():
            return np.full((len(CLASSES), *shape), np.nan, np.float32)
        seen = _away_from_missing(look.observed, look.grid.gsd_m)
        image = slots(look.bands, normalised(block_mean(look.reflectance, factor)))
        condition = condition_vector(look.bands, look.sun, look.view, gsd_m)
        coarse = self._run(image, condition)
        answer = coarse if factor == 1 else np.stack([_enlarged(plane, factor, shape) for plane in coarse])
        answer[:, ~seen] = np.nan
        return answer

    def _run(self, image: Float32Image, condition: NDArray[np.float32]) -> Float32Image:
        """Answer for a normalised (4, row, col) image of any size, tile by tile."""
        rows, cols = image.shape[1:]
        whole = np.pad(image, ((0, 0), (0, -rows % _ALIGN), (0, -cols % _ALIGN)), mode="reflect")
        result = np.empty((len(CLASSES), *whole.shape[1:]), np.float32)
        for top, bottom, above, below in _tiles(whole.shape[1]):
            for left, right, before, after in _tiles(whole.shape[2]):
                patch = whole[None, :, top - above : bottom + below, left - before : right + after]
                feed = {"image": np.ascontiguousarray(patch), "condition": condition[None]}
                (found,) = self._session.run(["log_odds"], feed)
                result[:, top:bottom, left:right] = found[
                    0, :, above : above + bottom - top, before : before + right - left
                ]
        return result[:, :rows, :cols]


def weights_sha256() -> str:
    """Return the hash of the package's weights without loading the network, which takes a hundred times as long.

    Raises
    ------
    NetworkWeightsMissing, NetworkWeightsDamaged : see ``PresenceNetwork.load``
    """
    return _checked(WEIGHTS)[1]


def _checked(source: Path) -> tuple[bytes, str]:
    """Return a weights file's content and hash, which must be the one in the card beside it."""
    try:
        content = source.read_bytes()
    except OSError as error:
        raise NetworkWeightsMissing(
            f"{source.name} cannot be read from {source.parent}; reinstall depotwatch or name the file"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    card = source.with_name(CARD)
    if card.exists() and json.loads(card.read_text())["sha256"] != digest:
        raise NetworkWeightsDamaged(f"{source.name} is not the file {CARD} describes; reinstall depotwatch")
    return content, digest


def open_described(source: Path, card: str, inputs: Sequence[str], part: str | None = None) -> Any:
    """Open a stored model whose hash its card tells, under ``part`` where the card tells several.

    Raises
    ------
    NetworkWeightsDamaged : it is not the file that the card describes, or no model that takes ``inputs``
    """
    content = source.read_bytes()
    told = json.loads(source.with_name(card).read_text())["sha256"]
    if (told if part is None else told[part]) != hashlib.sha256(content).hexdigest():
        raise NetworkWeightsDamaged(f"{source.name} is not the file {card} describes; reinstall depotwatch")
    return open_session(content, source.name, inputs)


def open_session(content: bytes, name: str, inputs: Sequence[str]) -> Any:
    """Open a stored model that takes ``inputs`` on one thread, so that the same numbers come out of it in any process.

    Raises
    ------
    NetworkWeightsDamaged : it is no model, or one of something else
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen private classes for "not a model"
        raise NetworkWeightsDamaged(f"{name} is no network that onnxruntime can read: {error}") from error
    if [i.name for i in session.get_inputs()] != list(inputs):
        raise NetworkWeightsDamaged(f"{name} is a network, but not one of depotwatch's: wrong inputs")
    return session


def _averaging(look: Look) -> int:
    """Return how many grid pixels a side make one pixel of the network's input."""
    return max(1, round(max(look.gsd_m, FINEST_GSD_M) / look.grid.gsd_m))


def _tiles(length: int) -> Iterator[tuple[int, int, int, int]]:
    """Return (start, stop, margin before, margin after) of the pieces of one side.

    There is no margin at the image's own edges, as there was none at the edges of the crops in training: what was
    invented beyond them made the answers there no better (cross-entropy 0.0879 without, 0.0895 with mirrored ground).
    """
    for start in range(0, length, _CORE):
        stop = min(start + _CORE, length)
        yield start, stop, min(start, _MARGIN), min(length - stop, _MARGIN)


def _away_from_missing(observed: NDArray[np.bool_], gsd_m: float) -> NDArray[np.bool_]:
    """Return the seen pixels that lie at least ``BORDER_M`` from missing ground (specks do not count)."""
    if observed.all():
        return observed
    missing = _opened(~observed)
    if not missing.any():
        return observed
    return observed & ~_near(missing, BORDER_M / gsd_m)


def _opened(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a region without what is narrower than three pixels; beyond the edges it is taken to go on.

    Shifted copies in place of ``ndimage.binary_opening``, which takes fifty times as long.
    """
    padded = np.pad(region, 1, constant_values=True)
    rows = padded[:-2] & padded[1:-1] & padded[2:]
    kept = np.pad(rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:], 1, constant_values=True)
    rows = kept[:-2] | kept[1:-1] | kept[2:]
    return (rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]) & region


def _near(region: NDArray[np.bool_], reach_px: float) -> NDArray[np.bool_]:
    """Return where the nearest pixel of a region is no further than ``reach_px``, centre to centre.

    The distance along the row is found once, then looked up a few rows up and down: a full distance transform, which
    also tells how far everything else is, takes ten times as long.
    """
    most = math.floor(reach_px)
    cols = np.arange(region.shape[1], dtype=np.int32)
    far = np.int32(region.shape[1] + most + 1)
    before = np.maximum.accumulate(np.where(region, cols, -far), axis=1)
    after = np.minimum.accumulate(np.where(region, cols, 2 * far)[:, ::-1], axis=1)[:, ::-1]
    along = np.minimum(np.minimum(cols - before, after - cols), most + 1).astype(np.min_scalar_type(most + 1))
    near = np.zeros_like(region)
    for down in range(min(most, region.shape[0] - 1) + 1):
        here = along <= math.floor(math.sqrt(reach_px**2 - down**2))
        near[down:] |= here[: len(here) - down]
        near[: len(here) - down] |= here[down:]
    return near


def normalised(image: Float32Image) -> Float32Image:
    """Return the bands free of gain and offset: inverse hyperbolic sine of (value - local median) / local spread.

    Parameters
    ----------
    image : (band, row, col) float32, any unit, NaN where missing

    Returns
    -------
    image : (band, row, col) float32, about -3 to 3, 0 where missing
    """
    result = np.empty_like(image)
    for plane, score in zip(image, result, strict=True):
        centre, spread = (_enlarged_along(0, cells, _CELL, len(plane)) for cells in _cell_statistics(plane))
        for top in range(0, len(plane), _STRIP_ROWS):  # few enough to stay in the processor's cache
            rows = slice(top, top + _STRIP_ROWS)
            strip = np.subtract(plane[rows], _between_cells(centre[rows], plane.shape[1]), out=score[rows])
            strip /= _between_cells(spread[rows], plane.shape[1])
            _take_arsinh(strip)
            strip[~np.isfinite(strip)] = 0.0
    return result


def _take_arsinh(values: NDArray[np.float32]) -> None:
    """Replace values by their inverse hyperbolic sine; its logarithm is several times as fast as numpy's ``arcsinh``."""
    size = np.abs(values)
    root = size * size
    root += 1.0
    np.sqrt(root, out=root)
    root += size
    np.copysign(np.log(root, out=root), values, out=values)


def _between_cells(lines: NDArray[np.float32], cols: int) -> NDArray[np.float32]:
    """Return (row, cell) values on ``cols`` pixels, linear between the cells' centres.

    As ``_enlarged_along`` does it, which must look up the cells of every pixel; here they are few and wide.
    """
    low, high, weight = _neighbours(cols, _CELL, lines.shape[1])
    result = np.empty((len(lines), cols), np.float32)
    for cell in range(low[-1] + 1):
        part = slice(*np.searchsorted(low, (cell, cell + 1)))
        result[:, part] = lines[:, cell, None] * (1 - weight[part])
        result[:, part] += lines[:, high[part.start], None] * weight[part]
    return result


def _cell_statistics(plane: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the median and spread around every cell, each (row, col) of cells."""
    whole = _median_and_spread(plane[::_STRIDE, ::_STRIDE]) or (0.0, 1.0)
    # A band without any contrast keeps a spread of one: all its scores are zero anyway.
    whole = whole if whole[1] > 0 else (whole[0], 1.0)
    down, across = (max(1, -(-side // _CELL)) for side in plane.shape)
    centre, spread = np.empty((2, down, across), np.float32)
    for i in range(down):
        for j in range(across):
            part = plane[
                max(i - 1, 0) * _CELL : (i + 2) * _CELL : _STRIDE,
                max(j - 1, 0) * _CELL : (j + 2) * _CELL : _STRIDE,
            ]
            middle, width = _median_and_spread(part) or whole
            centre[i, j], spread[i, j] = middle, max(width, _LEAST_SPREAD * whole[1])
    return centre, spread


def _median_and_spread(values: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return the median and the robust standard deviation; None if too few values are seen."""
    seen = values[np.isfinite(values)]
    if seen.size < min(_MIN_SAMPLES, values.size):
        return None
    if seen.size == 0:
        return 0.0, 0.0
    low, middle, high = percentiles_in_order(np.sort(seen), (5, 50, 95))
    return middle, (high - low) / _FIVE_TO_NINETY_FIVE


def _enlarged(plane: NDArray[np.float32], factor: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a coarse (row, col) plane on ``factor`` times smaller pixels, linear between pixel centres."""
    return _enlarged_along(1, _enlarged_along(0, plane, factor, shape[0]), factor, shape[1])


def _enlarged_along(axis: int, plane: NDArray[np.float32], factor: int, length: int) -> NDArray[np.float32]:
    low, high, weight = _neighbours(length, factor, plane.shape[axis])
    weight = weight[:, None] if axis == 0 else weight
    enlarged: NDArray[np.float32] = (
        np.take(plane, low, axis) * (1 - weight) + np.take(plane, high, axis) * weight
    )
    return enlarged


def _neighbours(
    length: int, factor: int, coarse: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the two of ``coarse`` pixels between whose centres each pixel of a side lies, and how far along."""
    at = np.clip((np.arange(length) + 0.5) / factor - 0.5, 0, coarse - 1)
    low = np.minimum(at.astype(np.intp), max(coarse - 2, 0))
    return low, np.minimum(low + 1, coarse - 1), (at - low).astype(np.float32)


def slots(bands: tuple[str, ...], image: Float32Image) -> Float32Image:
    """Return the (4, row, col) input, blue green red near-infrared; a missing band is filled with the mean of the others."""
    named = {
        ("nir" if name in _NEAR_INFRARED else name): plane for name, plane in zip(bands, image, strict=True)
    }
    visible = [named[name] for name in ("blue", "green", "red") if name in named]
    stand_in = visible or [named[name] for name in ("pan", "nir") if name in named][:1] or list(image)
    luminance = np.mean(stand_in, axis=0, dtype=np.float32)
    filled: Float32Image = np.stack([named.get(name, luminance) for name in _SLOTS]).astype(
        np.float32, copy=False
    )
    return filled


def condition_vector(
    bands: tuple[str, ...], sun: Sun | None, view: View | None, gsd_m: float
) -> NDArray[np.float32]:
    """Return the (8,) condition: shadow per metre of height, sun known, lean per metre, pixel size, colour, infrared."""
    shadow, lean = (0.0, 0.0), (0.0, 0.0)
    if sun is not None:
        away, length = (
            math.radians(sun.azimuth_deg + 180),
            1 / math.tan(math.radians(max(sun.elevation_deg, 11.3))),
        )
        shadow = (length * math.sin(away), length * math.cos(away))
    if view is not None:
        away, length = (
            math.radians(view.azimuth_deg + 180),
            math.tan(math.radians(min(view.off_nadir_deg, 60))),
        )
        lean = (length * math.sin(away), length * math.cos(away))
    size = math.log2(min(max(gsd_m, FINEST_GSD_M), COARSEST_GSD_M) / 0.8)
    colour = {"blue", "green", "red"} <= set(bands)
    infrared = any(name in bands for name in _NEAR_INFRARED)
    return np.array(
        [shadow[0] / 2, shadow[1] / 2, sun is not None, lean[0] * 2, lean[1] * 2, size, colour, infrared],
        np.float32,
    )
