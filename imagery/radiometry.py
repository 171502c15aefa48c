"""One look's numbers onto another's scale, fitted on what did not change; and whether the whole site changed.

Rain, frost, snow, dust and harvest change every pixel. A fit over all pixels would take part of a real change with it,
so invariant pixels are found first (IR-MAD), edges and named places left out, and gain and offset are capped. What the
fit cannot explain over most of the site is named, so that it silences object claims instead of flooding them.

Source: A. Nielsen (2007), The regularized iteratively reweighted MAD method, IEEE TIP 16(2), 463-478; M. Canty and
A. Nielsen (2008), Automatic radiometric normalization, RSE 112(3), 1025-1036.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage, special

from imagery.look import Float32Image, Look
from imagery.order_statistics import median, medians, quantile

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


class WholeSiteKind(StrEnum):
    """What can change a whole site at once."""

    SNOW = "snow"
    FROST = "frost_or_dust"
    WET = "wet_ground"
    DRY = "dry_ground"
    GREEN = "green_up"
    BARE = "harvest_or_leaf_fall"
    HAZE = "haze"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WholeSiteChange:
    """A change of the site as a whole; ``share`` of its pixels moved the same way, ``strength`` as a log ratio or NDVI.

    ``hides_objects`` tells whether small objects can no longer be compared through it.
    """

    kind: WholeSiteKind
    share: float
    strength: float
    hides_objects: bool


@dataclass(frozen=True, slots=True)
class NormalisationOptions:
    """``relative`` numbers have no absolute scale: brightness names no whole-site change where the pattern is still there."""

    relative: bool = False
    gain_limits: tuple[float, float] = (0.5, 2.0)
    offset_limit: float = 0.15
    iterations: int = 15
    max_samples: int = 20_000
    min_samples: int = 200


@dataclass(frozen=True, slots=True)
class Normalisation:
    """``reference = target * gain + offset`` per band of ``bands``; ``invariant_fraction`` of the common pixels carried it."""

    bands: tuple[str, ...]
    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    invariant_fraction: float
    whole_site_change: WholeSiteChange | None
    reasons: tuple[str, ...] = ()

    @property
    def by_band(self) -> tuple[tuple[str, float, float], ...]:
        """``(band, gain, offset)`` as ``LookSummary.gains`` holds it."""
        return tuple(zip(self.bands, self.gains, self.offsets, strict=True))


class Yardstick:
    """A look that many others are brought to the scale of: what its pixels alone decide is kept from one to the next.

    It depends on where both looks see the ground too, so that it is worked out again for a target that sees other places.
    """

    def __init__(self, look: Look) -> None:
        self.look = look
        self._kept: dict[str, tuple[tuple[str, ...], Mask, NDArray[Any]]] = {}

    def flat(self, names: tuple[str, ...], common: Mask) -> Mask:
        """Return where no strong edge lies, see ``_flat``."""
        return self._once("flat", names, common, _flat)

    def fine(self, names: tuple[str, ...], seen: Mask) -> Float32Image:
        """Return the fine pattern, see ``_fine``."""
        return self._once("fine", names, seen, _fine)

    def _once(
        self,
        what: str,
        names: tuple[str, ...],
        seen: Mask,
        make: Callable[[Float32Image, Mask], NDArray[Any]],
    ) -> NDArray[Any]:
        kept = self._kept.get(what)
        if kept is None or kept[0] != names or not np.array_equal(kept[1], seen):
            kept = self._kept[what] = (names, seen.copy(), make(_mean(self.look, names), seen))
        return kept[2]


def normalise(
    reference: Look | Yardstick,
    target: Look,
    options: NormalisationOptions | None = None,
    *,
    exclude: Mask | None = None,
) -> Normalisation:
    """Fit gain and offset per common band on invariant pixels.

    Parameters
    ----------
    reference, target : registered looks on one grid; a ``Yardstick`` spares time where several targets follow each
        other, and changes no answer
    exclude : (row, col) bool, True where objects or candidates lie: never part of the fit

    Returns
    -------
    normalisation : identity with a reason where too little is in common; capped values carry ``capped_gain`` or
        ``capped_offset``
    """
    options = options or NormalisationOptions()
    known = reference if isinstance(reference, Yardstick) else Yardstick(reference)
    names = tuple(b for b in target.bands if b in known.look.bands)
    if not names:
        return Normalisation((), (), (), 0.0, None, ("no_common_band",))
    pick = _samples(known, target, names, exclude, options)
    if pick is None:
        n = len(names)
        return Normalisation(names, (1.0,) * n, (0.0,) * n, 0.0, None, ("too_few_common_pixels",))
    first, second = pick
    if max(float(median(first)), float(median(second))) > BEYOND_REFLECTANCE:
        options = replace(options, relative=True)
    invariant = _invariance(first, second, options.iterations)
    chosen = invariant > 0.5
    if chosen.sum() < options.min_samples:
        chosen = invariant >= np.sort(invariant)[-min(options.min_samples, invariant.size)]
    fits = [_band_fit(first[k][chosen], second[k][chosen], options) for k in range(len(names))]
    change = _whole_site(names, first, second, _structure(known, target, names), options)
    if change is not None and change.hides_objects:
        # Snow on one side and ground on the other have no common scale: a fit would only invent one.
        fits = [(1.0, 0.0, ()) for _ in names]
    reasons = tuple(dict.fromkeys(r for _, _, why in fits for r in why))
    return Normalisation(
        names,
        tuple(g for g, _, _ in fits),
        tuple(o for _, o, _ in fits),
        float(np.mean(invariant > 0.01)),
        change,
        reasons + ((f"whole_site_{change.kind.value}",) if change else ()),
    )


def apply_normalisation(look: Look, normalisation: Normalisation) -> Look:
    """Return the look on the reference's scale; bands without a fit stay as they are."""
    gains = dict(zip(normalisation.bands, normalisation.gains, strict=True))
    offsets = dict(zip(normalisation.bands, normalisation.offsets, strict=True))
    gain = np.array([gains.get(b, 1.0) for b in look.bands], np.float32)[:, None, None]
    offset = np.array([offsets.get(b, 0.0) for b in look.bands], np.float32)[:, None, None]
    return replace(look, reflectance=look.reflectance * gain + offset)


# No site reflects more than falls on it: numbers as large as these are on some other scale, whatever was said of them.
BEYOND_REFLECTANCE = 1.5
# Canonical correlations that move less than this between two rounds of IR-MAD no longer move the weights.
STEADY = 1e-4
# Enough values for a median, few enough to try a ladder of gains on.
MAJORITY_SAMPLES = 2000


# --- invariant pixels ----------------------------------------------------------------------------------------------


def _samples(
    reference: Yardstick,
    target: Look,
    names: tuple[str, ...],
    exclude: Mask | None,
    options: NormalisationOptions,
) -> tuple[Float64, Float64] | None:
    """Return (band, n) values of common flat places, at most ``max_samples``, on a fixed raster."""
    common = reference.look.observed & target.observed
    if exclude is not None:
        common &= ~ndimage.binary_dilation(exclude, iterations=2)
    first = np.stack([reference.look.band(b) for b in names])
    second = np.stack([target.band(b) for b in names])
    common &= np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0)
    stride = max(1, int(np.sqrt(common.sum() / options.max_samples)))
    common = common & reference.flat(names, common) & _flat(second.mean(axis=0), common)
    taken = np.zeros_like(common)
    taken[stride // 2 :: stride, stride // 2 :: stride] = True
    taken &= common
    if taken.sum() < options.min_samples:
        taken = common
    if taken.sum() < options.min_samples:
        return None
    return first[:, taken].astype(np.float64), second[:, taken].astype(np.float64)


def _flat(image: Float32Image, valid: Mask) -> Mask:
    """Return where no strong edge lies: half a pixel of misregistration would turn it into a gain."""
    safe = np.where(valid, image, np.float32(np.mean(image, where=valid) if valid.any() else 0.0))
    steep = ndimage.gaussian_gradient_magnitude(safe, 1.0)
    if not valid.any():
        return valid
    quiet: Mask = steep <= quantile(steep[valid], 0.8)
    return quiet


def _invariance(first: Float64, second: Float64, iterations: int) -> Float64:
    """Return the (n,) probability of no change by IR-MAD; stops when the correlations stand still."""
    count = first.shape[0]
    both = np.concatenate([first, second])
    # Centred once, so that what the weights' means still take off is small and no square swallows a variance.
    both -= both.mean(axis=1, keepdims=True)
    weights = np.prod([_majority(a, b) for a, b in zip(first, second, strict=True)], axis=0)
    probability, before = weights, np.full(count, np.inf)
    # Written over in every round: fresh memory of this size costs as much as the sums.
    weighted, variates = np.empty_like(both), np.empty((count, both.shape[1]))
    for _ in range(iterations):
        mean = (both @ weights) / weights.sum()
        np.multiply(both, weights, out=weighted)
        covariance = weighted @ both.T / weights.sum() - np.outer(mean, mean)
        covariance += np.eye(2 * count) * 1e-9 * max(float(np.trace(covariance)), 1e-12)
        mix, rho = _mad_mix(covariance, count)
        np.matmul(mix, both, out=variates)
        variates -= (mix @ mean)[:, None]
        variates *= variates
        probability = chance_beyond((1.0 / np.maximum(2.0 * (1.0 - rho), 1e-6)) @ variates, count)
        weights = np.maximum(probability, 1e-6)
        if np.abs(rho - before).max() < STEADY:
            break
        before = rho
    return np.asarray(probability)


def chance_beyond(chi: Float64, freedom: int) -> Float64:
    """Return the chance of a larger chi square, in closed form: the incomplete gamma function takes thirty times as long."""
    half = 0.5 * chi
    low = np.exp(-half)
    if freedom % 2:
        root = np.sqrt(half)
        chance, term, at = special.erfc(root), low * root / special.gamma(1.5), 1.5
    else:
        chance, term, at = low, low * half, 2.0
    for _ in range((freedom - 1) // 2):
        chance = chance + term
        term = term * half / at
        at += 1.0
    return np.asarray(chance)


def _majority_line(first: Float64, second: Float64) -> tuple[float, float, float]:
    """Return gain, offset and median misfit of the line most values lie on: least median over a ladder of gains.

    The ladder is climbed in wide steps first and in narrow ones around the best of them.
    """
    few = slice(None, None, max(1, first.size // MAJORITY_SAMPLES))
    x, y = second[few], first[few]
    gain, _, _ = _best_line(x, y, np.geomspace(0.25, 4.0, 21))
    step = 16.0 ** (1 / 20)
    return _best_line(x, y, np.geomspace(gain / step, gain * step, 13))


def _best_line(x: Float64, y: Float64, gains: Float64) -> tuple[float, float, float]:
    """Return the gain of ``gains`` with the least median misfit, its offset and that misfit."""
    left = y - gains[:, None] * x
    middle = medians(left)
    off = medians(np.abs(left - middle[:, None]))
    # In units of both looks together, or the flattest line would always win.
    best = int(np.argmin(off / np.sqrt(1.0 + gains**2)))
    return float(gains[best]), float(middle[best]), float(off[best])


def _majority(first: Float64, second: Float64) -> Float64:
    """Return (n,) weights around the line that most values lie on.

    IR-MAD alone starts from everything at once and takes a filled yard for the common scale.
    """
    gain, offset, spread = _majority_line(first, second)
    residual = first - gain * second - offset
    return np.asarray(np.maximum(np.exp(-0.5 * (residual / max(2.0 * spread, 1e-9)) ** 2), 1e-6))


def _explained(first: Float64, second: Float64) -> float:
    """Return the share of the first look's median spread that the majority line takes away."""
    spread = float(np.median(np.abs(first - np.median(first))))
    return 1.0 - _majority_line(first, second)[2] / spread if spread > 0 else 0.0


def _mad_mix(covariance: Float64, count: int) -> tuple[Float64, Float64]:
    """Return the (count, 2 * count) mix of both looks' bands that makes the MAD variates, and their correlations."""
    s11, s12 = covariance[:count, :count], covariance[:count, count:]
    s22 = covariance[count:, count:]
    inner = s12 @ linalg.solve(s22, s12.T, assume_a="pos")
    squared, left = linalg.eigh((inner + inner.T) / 2.0, s11)
    rho = np.sqrt(np.clip(squared, 0.0, 0.999999))
    right = linalg.solve(s22, s12.T @ left, assume_a="pos")
    scale = np.sqrt(np.maximum(np.sum(right * (s22 @ right), axis=0), 1e-30))
    return np.concatenate([left.T, -(right / scale).T], axis=1), rho


def _band_fit(
    first: Float64, second: Float64, options: NormalisationOptions
) -> tuple[float, float, tuple[str, ...]]:
    """Return gain and offset by orthogonal regression (both looks carry noise), within the caps, and what was capped."""
    covariance = np.cov(second, first)
    spread = covariance[0, 0]
    # Reflectance stays below one; numbers of any other size carry their caps with them.
    scale = max(1.0, float(quantile(np.abs(first), 0.99)))
    if not (spread > 1e-12 and covariance[1, 1] > 1e-12):
        return (
            1.0,
            _capped_offset(float(median(first) - median(second)), scale, options)[0],
            ("no_contrast",),
        )
    difference = covariance[1, 1] - covariance[0, 0]
    cross = covariance[0, 1]
    if cross <= 0.2 * np.sqrt(covariance[0, 0] * covariance[1, 1]):
        gain, why = 1.0, ["unrelated_values"]
    else:
        gain = float((difference + np.hypot(difference, 2.0 * cross)) / (2.0 * cross))
        why = []
    low, high = options.gain_limits
    if not low <= gain <= high:
        gain, why = float(np.clip(gain, low, high)), [*why, "capped_gain"]
    offset, capped = _capped_offset(float(median(first) - gain * median(second)), scale, options)
    return gain, offset, (*why, *(("capped_offset",) if capped else ()))


def _capped_offset(offset: float, scale: float, options: NormalisationOptions) -> tuple[float, bool]:
    limit = options.offset_limit * scale
    return float(np.clip(offset, -limit, limit)), abs(offset) > limit


# --- the site as a whole -------------------------------------------------------------------------------------------

_VISIBLE = ("blue", "green", "red", "pan")
_INFRARED = ("nir", "nir08")
SNOW_REFLECTANCE = 0.40
MOVED_LOG = 0.12
MOST = 0.60
NDVI_MOVED = 0.12
SIMILAR_STRUCTURE = 0.35
TILES = 6


def _structure(reference: Yardstick, target: Look, names: tuple[str, ...]) -> float:
    """Return how well the fine pattern of both looks goes together, -1 to 1: the median over tiles of the site.

    A median, so that one filled yard does not speak for the whole site.
    """
    before, after = _mean(reference.look, names), _mean(target, names)
    seen = reference.look.observed & target.observed & np.isfinite(before) & np.isfinite(after)
    if not seen.any():
        return 0.0
    fine = (reference.fine(names, seen), _fine(after, seen))
    rows, cols = (_parts(n) for n in seen.shape)
    found = [_correlation(*(f[r, c][seen[r, c]] for f in fine)) for r in rows for c in cols]
    known = [value for value in found if value is not None]
    return float(np.median(known)) if known else 0.0


def _mean(look: Look, names: tuple[str, ...]) -> Float32Image:
    return np.asarray(np.stack([look.band(b) for b in names]).mean(axis=0))


def _fine(image: Float32Image, seen: Mask) -> Float32Image:
    """Return the pattern of some pixels, without shading and noise."""
    safe = np.where(seen, image, np.float32(np.mean(image, where=seen)))
    return np.asarray(ndimage.gaussian_filter(safe, 1.5) - ndimage.gaussian_filter(safe, 8.0))


def _parts(size: int) -> list[slice]:
    """Divide a side of the site into ``TILES``, the first ones a pixel longer where it does not divide."""
    edges = [k * (size // TILES) + min(k, size % TILES) for k in range(TILES + 1)]
    return [slice(low, high) for low, high in pairwise(edges)]


def _correlation(first: Float32Image, second: Float32Image) -> float | None:
    if first.size < 16:
        return None
    a, b = (values - values.mean(dtype=np.float64) for values in (first, second))
    power_a, power_b = float(a @ a), float(b @ b)
    if min(power_a, power_b) < 1e-18 * first.size:
        return None
    return float(a @ b) / float(np.sqrt(power_a * power_b))


def _whole_site(
    names: tuple[str, ...], first: Float64, second: Float64, structure: float, options: NormalisationOptions
) -> WholeSiteChange | None:
    """Name what moved most of the site the same way, or nothing."""
    green = _greenness(names, first, second)
    hidden = structure < SIMILAR_STRUCTURE
    if green is not None and green[1] > MOST and abs(green[0]) > NDVI_MOVED:
        kind = WholeSiteKind.GREEN if green[0] > 0 else WholeSiteKind.BARE
        found = WholeSiteChange(kind, green[1], abs(green[0]), hidden)
    else:
        found = None
    if options.relative and not hidden:
        # Another stretch brightens or darkens everything; only snow or haze also takes the pattern away.
        return found
    visible = [k for k, b in enumerate(names) if b in _VISIBLE] or list(range(len(names)))
    before, after = first[visible].mean(axis=0), second[visible].mean(axis=0)
    ratio = np.log(np.maximum(after, 0.01) / np.maximum(before, 0.01))
    middle = float(median(ratio))
    share = float(np.mean(ratio * np.sign(middle) > MOVED_LOG))
    snow = float(median(after)) > SNOW_REFLECTANCE and float(median(before)) < 0.8 * SNOW_REFLECTANCE
    if snow and share > MOST:
        return WholeSiteChange(WholeSiteKind.SNOW, share, middle, True)
    if found is not None:
        return found
    if share > MOST and abs(middle) > MOVED_LOG:
        return WholeSiteChange(_brightness_kind(before, after, middle), share, abs(middle), hidden)
    return _unknown(first, second, hidden)


def _brightness_kind(before: Float64, after: Float64, middle: float) -> WholeSiteKind:
    """Tell haze (dark places lifted, contrast lost) from frost or dust, and wet from dry."""
    if middle < 0:
        return WholeSiteKind.WET
    contrast = np.subtract(*np.percentile(after, [90, 10])) / max(
        np.subtract(*np.percentile(before, [90, 10])), 1e-6
    )
    lift = float(np.percentile(after, 5) - np.percentile(before, 5))
    if contrast < 0.85 and lift > 0.02:
        return WholeSiteKind.HAZE
    return WholeSiteKind.FROST if contrast < 1.15 else WholeSiteKind.DRY


def _greenness(names: tuple[str, ...], first: Float64, second: Float64) -> tuple[float, float] | None:
    """Return the median change of NDVI and the share of pixels that moved that way; None without both bands."""
    infrared = next((k for k, b in enumerate(names) if b in _INFRARED), None)
    if infrared is None or "red" not in names:
        return None
    red = names.index("red")

    def ndvi(values: Float64) -> Float64:
        total = np.maximum(values[infrared] + values[red], 1e-3)
        return np.asarray(np.clip((values[infrared] - values[red]) / total, -1.0, 1.0))

    moved = ndvi(second) - ndvi(first)
    middle = float(median(moved))
    return middle, float(np.mean(moved * np.sign(middle) > 0.5 * NDVI_MOVED))


def _unknown(first: Float64, second: Float64, hidden: bool) -> WholeSiteChange | None:
    """Report a site whose pattern no longer matches and whose values no longer go together."""
    if not hidden:
        return None
    related = [_explained(a, b) for a, b in zip(first, second, strict=True)]
    if max(related) > 0.5:
        return None
    return WholeSiteChange(WholeSiteKind.UNKNOWN, 1.0, 1.0 - max(related), True)
