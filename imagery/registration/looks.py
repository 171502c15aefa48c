"""Registration of one look against another on one site grid, in metres."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.displacement import Displacement, DisplacementField, RegistrationState
from imagery.grid import SiteGrid
from imagery.illumination import View
from imagery.look import Float32Image, Look
from imagery.registration.estimator import (
    MIN_SIDE_PX,
    ArrayRegistration,
    Options,
    Prepared,
    prepare,
    register_prepared,
)
from imagery.registration.motion import Float64

# What a panchromatic band sees, in order of preference; equal weights of what both looks have.
_VISIBLE = ("pan", "green", "red", "blue", "nir", "nir08")
PARALLAX_DEG = 15.0


class Reference:
    """A look that many others are registered to: what its pixels alone decide is worked out once, for as long as it fits."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self._kept: tuple[object, Prepared] | None = None

    def prepared(self, key: object, make: Callable[[], Prepared]) -> Prepared:
        """Return what was made for a key, made now where the last one was made for another."""
        kept = self._kept
        if kept is None or kept[0] != key:
            kept = self._kept = (key, make())
        return kept[1]


def estimate_displacement(
    reference: Look | Reference,
    target: Look,
    *,
    max_shift_m: float,
    reference_weight: Float32Image | None = None,
    options: Options | None = None,
) -> Displacement:
    """Measure what must be added to the target's coordinates to bring it onto the reference.

    Parameters
    ----------
    reference, target : looks on the same ``SiteGrid``, the target read as it claims to lie; a ``Reference`` spares
        time where several targets follow each other, and changes no answer
    max_shift_m : largest shift looked for on either axis, metres
    reference_weight : (row, col) in [0, 1], 0 where the ground is known to change (candidates); None means everywhere

    Raises
    ------
    ValueError : the looks lie on different grids
    """
    known = reference if isinstance(reference, Reference) else Reference(reference)
    reference = known.look
    if reference.grid != target.grid:
        raise ValueError("both looks must lie on one grid; read the target onto the reference's first")
    gsd_m = reference.grid.gsd_m
    names = common_luminance(reference, target)
    own_px = reference.gsd_m / gsd_m, target.gsd_m / gsd_m
    coarse_px = max(*own_px, 1.0)
    seen = reference.observed if reference_weight is None else reference.observed & (reference_weight > 0.5)
    part = common_part(seen, target.observed, max_shift_m / gsd_m)

    def made(look: Look, which: int, where: NDArray[np.bool_]) -> Prepared:
        image = blurred(_mean(look, names[which]), own_px[which], coarse_px)
        return prepare(image[part], where[part], options)

    # Candidates differ from target to target.
    key = object() if reference_weight is not None else (names[0], coarse_px, part, options)
    first = known.prepared(key, lambda: made(reference, 0, seen))
    # A reference is held against itself too, to tell how well its pattern can be placed: all of it is there already.
    itself = target is reference and reference_weight is None
    second = first if itself else made(target, 1, target.observed)
    result = register_prepared(first, second, max_shift_px=max_shift_m / gsd_m, options=options)
    if common_side(seen, target.observed, result.shift_px) < MIN_SIDE_PX:
        result = replace(result, state=RegistrationState.NOT_REGISTERED, quality=0.0, reasons=("too_small",))
    rows, cols = part
    grid = reference.grid.window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
    return _in_metres(result, grid, _parallax_reasons(reference.view, target.view))


def common_part(
    reference_observed: NDArray[np.bool_], target_observed: NDArray[np.bool_], reach_px: float
) -> tuple[slice, slice]:
    """Return the rows and columns where both looks may show the same ground: what one shows, within reach of the other.

    A small scene on a large chip would otherwise be judged by windows that are mostly empty.
    """
    reach = int(np.ceil(reach_px)) + 8

    def span(axis: int) -> slice:
        size = reference_observed.shape[1 - axis]
        shown = [np.flatnonzero(mask.any(axis=axis)) for mask in (reference_observed, target_observed)]
        if not all(len(line) for line in shown):
            return slice(0, size)
        first = max(int(shown[0][0]), int(shown[1][0])) - reach
        last = min(int(shown[0][-1]), int(shown[1][-1])) + reach
        low = max(first, min(int(line[0]) for line in shown), 0)
        high = min(last, max(int(line[-1]) for line in shown), size - 1)
        return slice(low, high + 1) if high - low >= 1 else slice(0, size)

    return span(1), span(0)


def common_side(
    reference_observed: NDArray[np.bool_], target_observed: NDArray[np.bool_], shift_px: tuple[float, float]
) -> int:
    """Return the shorter side, pixels, of what both looks show once the target is moved by ``shift_px`` (row, col).

    The part that is compared reaches beyond it, so that its size does not tell: 24 common pixels were placed 0.3 to
    0.6 pixels wrongly, and with confidence.
    """
    (row, col), (rows, cols) = (round(step) for step in shift_px), reference_observed.shape
    here = reference_observed[max(row, 0) : rows + min(row, 0), max(col, 0) : cols + min(col, 0)]
    there = target_observed[max(-row, 0) : rows + min(-row, 0), max(-col, 0) : cols + min(-col, 0)]
    common = here & there
    lines = [np.flatnonzero(common.any(axis=axis)) for axis in (1, 0)]
    return min(int(line[-1] - line[0]) + 1 if len(line) else 0 for line in lines)


def common_luminance(reference: Look, target: Look) -> tuple[list[str], list[str]]:
    """Return the bands of each look whose mean is compared: what both have, else each look's own best guess."""
    shared = [b for b in reference.bands if b in target.bands]
    visible = [b for b in _VISIBLE if b in shared] or shared
    return (visible, visible) if visible else (_own(reference), _own(target))


def _own(look: Look) -> list[str]:
    return [b for b in _VISIBLE if b in look.bands] or list(look.bands)


def _mean(look: Look, names: list[str]) -> Float32Image:
    chosen = look.reflectance[[look.bands.index(n) for n in names]]
    # A band without contrast must neither dilute nor, being all NaN, erase the others.
    image: Float32Image = chosen[0].copy() if len(names) == 1 else np.mean(chosen, axis=0, dtype=np.float32)
    return image


def equal_sharpness(
    first: Float32Image, second: Float32Image, first_px: float, second_px: float
) -> tuple[Float32Image, Float32Image]:
    """Blur the sharper image to the coarser one's pixel; sizes are the scenes' own pixels in grid pixels."""
    coarse = max(first_px, second_px, 1.0)
    return blurred(first, first_px, coarse), blurred(second, second_px, coarse)


def blurred(image: Float32Image, own_px: float, coarse_px: float) -> Float32Image:
    """Return an image of pixels ``own_px`` as sharp as one of ``coarse_px``, both in grid pixels; NaN stays where it is."""
    # An optical PSF is about as wide as its pixel: sigma 0.45 of it on either side.
    variance = 0.45**2 * (coarse_px**2 - max(own_px, 1.0) ** 2)
    if variance < 0.05:
        return image
    finite = np.isfinite(image)
    sigma = float(np.sqrt(variance))
    weight = ndimage.gaussian_filter(finite.astype(np.float32), sigma, mode="nearest", truncate=3.0)
    total = ndimage.gaussian_filter(
        np.where(finite, image, np.float32(0)), sigma, mode="nearest", truncate=3.0
    )
    return np.where(finite, total / np.maximum(weight, 1e-6), np.float32(np.nan)).astype(np.float32)


def _parallax_reasons(reference: View | None, target: View | None) -> tuple[str, ...]:
    """Flag pairs whose view directions differ so much that raised things move against the ground."""
    if reference is None or target is None:
        return ()

    def lean(view: View) -> Float64:
        azimuth = np.radians(view.azimuth_deg)
        return np.asarray(
            np.tan(np.radians(view.off_nadir_deg)) * np.array([np.sin(azimuth), np.cos(azimuth)])
        )

    apart = float(np.hypot(*(lean(reference) - lean(target))))
    return ("parallax",) if apart > np.tan(np.radians(PARALLAX_DEG)) else ()


def _in_metres(result: ArrayRegistration, grid: SiteGrid, extra: tuple[str, ...]) -> Displacement:
    """Turn (row, col) pixels into (east, north) metres about the grid's centre."""
    gsd = grid.gsd_m
    (rr, rc), (cr, cc) = result.slope
    reasons = tuple(dict.fromkeys((*result.reasons, *extra)))
    registered = result.state is not RegistrationState.NOT_REGISTERED
    return Displacement(
        centre=grid.centre,
        east_m=result.shift_px[1] * gsd if registered else 0.0,
        north_m=-result.shift_px[0] * gsd if registered else 0.0,
        # east = +col, north = -row: the mixed terms change sign, the straight ones do not.
        linear=((cc, -cr), (-rc, rr)) if registered else ((0.0, 0.0), (0.0, 0.0)),
        field=_field_in_metres(result, grid) if registered else None,
        state=result.state,
        quality=result.quality,
        residual_m=result.residual_px * gsd,
        windows_used=result.windows_used,
        reasons=reasons,
    )


def _field_in_metres(result: ArrayRegistration, grid: SiteGrid) -> DisplacementField | None:
    if result.field is None:
        return None
    field, gsd = result.field, grid.gsd_m
    corner = (field.first + 0.5) * gsd
    return DisplacementField(
        origin=(grid.east_m + corner, grid.north_m - corner),
        step_m=field.step * gsd,
        east_m=(field.nodes[1] * gsd).astype(np.float32),
        north_m=(-field.nodes[0] * gsd).astype(np.float32),
    )
