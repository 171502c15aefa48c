"""Translation or affine between two images in pixels, fitted robustly to window shifts.

A motion maps reference positions to target positions: the content at ``p`` of the reference lies at ``p + v(p)`` of
the target, ``v(p) = shift + slope @ (p - centre)``, everything (row, col), pixel centres at whole numbers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagery.order_statistics import median

Float64 = NDArray[np.float64]

# Slopes are expected to stay within a pixel over 256: stops affine extrapolation where most of a scene is cloud.
SLOPE_PRIOR = 1.0 / 256.0
SCALE_FLOOR_PX = 0.05
SCALE_START_PX = 0.6
# Chi squared from which an affine is believed: shadows and change bias neighbouring windows alike, so far above chance.
AFFINE_EVIDENCE = 4.0
# Under another sun what is left of the shadows leans one way on one side of every object: more is asked.
SUN_EVIDENCE = 8.0
# What a window may be off through change and shadow even where its residual is small.
BIAS_PX = 0.03
# Two halves of the windows may differ on an affine by this share of what it does.
SPLIT_SHARE = 0.6
# Windows of 3 x 3 cells at every cell share pixels: of nine only two are worth counting (A2 step 6).
INDEPENDENT_SHARE = 2.0 / 9.0


@dataclass(frozen=True)
class Motion:
    """``v(p) = shift + slope @ (p - centre)``, pixels."""

    shift: Float64
    slope: Float64
    centre: Float64

    def at(self, positions: Float64) -> Float64:
        """Return (n, 2) shifts at (n, 2) positions."""
        return self.shift + (positions - self.centre) @ self.slope.T

    def scaled(self, factor: float) -> "Motion":
        """Return the same motion on a lattice ``factor`` times finer (pixel (i, j) becomes (factor i, factor j))."""
        return Motion(self.shift * factor, self.slope, self.centre * factor)

    def moved(self, centre: Float64) -> "Motion":
        """Return the same motion about another centre."""
        return Motion(self.at(centre[None])[0], self.slope, centre)


def translation(row: float, col: float, centre: Float64) -> Motion:
    """Return a pure shift."""
    return Motion(np.array([row, col], np.float64), np.zeros((2, 2)), centre)


@dataclass(frozen=True)
class MotionFit:
    """A fitted motion, the (n,) weights that carried it, its residuals, and its predicted error, pixels."""

    motion: Motion
    weights: Float64
    residuals: Float64
    residual_px: float
    predicted_px: float


def _solve(design: Float64, observed: Float64, weights: Float64, prior: Float64) -> tuple[Float64, Float64]:
    normal = design.T @ (design * weights[:, None]) + np.diag(prior)
    inverse = np.linalg.inv(normal)
    return np.asarray(inverse @ (design.T @ (observed * weights[:, None]))), np.asarray(inverse)


def fit_motion(
    positions: Float64, shifts: Float64, variances: Float64, centre: Float64, *, affine: bool
) -> MotionFit:
    """Fit shifts at positions by iteratively reweighted least squares (Geman-McClure, annealed).

    Parameters
    ----------
    positions, shifts : (n, 2) row/col pixels
    variances : (n,) predicted variance of one component of each shift, px^2
    centre : (2,) where the translation part is given
    affine : False fits the translation alone
    """
    reach = positions - centre
    columns = [np.ones(len(positions))] + ([reach[:, 0], reach[:, 1]] if affine else [])
    design = np.stack(columns, axis=1)
    prior = np.array([1e-9] + ([SLOPE_PRIOR**-2] * 2 if affine else []))
    base = 1.0 / variances
    start = _weighted_median(shifts, base)
    residual = np.hypot(*(shifts - start).T)
    scale = max(SCALE_START_PX, 1.5 * float(median(residual)))
    weights = base * _down_weight(residual, scale)
    solution = np.zeros((design.shape[1], 2))
    inverse = np.eye(design.shape[1])
    for _ in range(12):
        solution, inverse = _solve(design, shifts, np.maximum(weights, 1e-12), prior)
        residual = np.hypot(*(shifts - design @ solution).T)
        spread = _robust_scale(residual, base)
        scale = float(np.max([SCALE_FLOOR_PX, 2.5 * spread, 0.6 * scale]))
        weights = base * _down_weight(residual, scale)
    slope = solution[1:].T if affine else np.zeros((2, 2))
    motion = Motion(solution[0], np.ascontiguousarray(slope), centre)
    share = weights / base
    carried = share > 0.1
    spread = float(np.sqrt(np.average(residual**2, weights=weights) / 2)) if carried.any() else np.inf
    return MotionFit(motion, share, residual, spread, _predicted_error(design, weights, residual, inverse))


def _predicted_error(design: Float64, weights: Float64, residual: Float64, inverse: Float64) -> float:
    """Return the RMS error of the fitted field over the windows, from the fit's covariance."""
    total = float(weights.sum())
    if not total > 0:
        return np.inf
    # Predicted variances are only relative: rescale by what the residuals say, never below them.
    carrying = max(int(np.count_nonzero(weights > 0)), 1)
    chi = float(np.sum(weights * residual**2)) / (2.0 * carrying)
    field = np.einsum("ij,jk,ik->i", design, inverse, design)
    effective = 1.0 / INDEPENDENT_SHARE
    return float(np.sqrt(2.0 * max(chi, 1.0) * effective * field.mean()))


def _down_weight(residual: Float64, scale: float) -> Float64:
    return 1.0 / (1.0 + (residual / scale) ** 2) ** 2


def _robust_scale(residual: Float64, base: Float64) -> float:
    """Return the Rayleigh scale of 2-D residuals from their weighted median."""
    order = np.argsort(residual, kind="stable")
    cumulative = np.cumsum(base[order])
    middle = residual[order][np.searchsorted(cumulative, 0.5 * cumulative[-1])]
    return float(middle / 1.1774)


def _weighted_median(values: Float64, weights: Float64) -> Float64:
    out = np.empty(values.shape[1])
    for k in range(values.shape[1]):
        order = np.argsort(values[:, k], kind="stable")
        cumulative = np.cumsum(weights[order])
        out[k] = values[order[np.searchsorted(cumulative, 0.5 * cumulative[-1])], k]
    return out


def better_motion(
    positions: Float64,
    shifts: Float64,
    variances: Float64,
    centre: Float64,
    window_px: float,
    evidence: float = AFFINE_EVIDENCE,
) -> MotionFit:
    """Return the affine fit where the windows prove it and two halves of them agree on it, else the translation."""
    plain = fit_motion(positions, shifts, variances, centre, affine=False)
    if len(positions) < 6:
        return plain
    full = fit_motion(positions, shifts, variances, centre, affine=True)
    if _affine_gain(plain, full, variances) < evidence:
        return plain
    bent = full.motion.at(positions) - plain.motion.at(positions)
    split = split_difference(positions, shifts, variances, centre, window_px, affine=True)
    return full if split < SPLIT_SHARE * float(np.sqrt(np.mean(np.sum(bent**2, axis=1)))) else plain


def split_difference(
    positions: Float64,
    shifts: Float64,
    variances: Float64,
    centre: Float64,
    window_px: float,
    *,
    affine: bool,
) -> float:
    """Return the RMS difference, pixels, of two fits on a checkerboard of windows; 1 where either side has under four."""
    tile = np.floor(positions / window_px).astype(int).sum(axis=1) % 2
    fields = []
    for side in (0, 1):
        chosen = tile == side
        if chosen.sum() < 4:
            return 1.0
        fit = fit_motion(
            positions[chosen], shifts[chosen], variances[chosen], centre, affine=affine and chosen.sum() >= 6
        )
        fields.append(fit.motion.at(positions))
    return float(np.sqrt(np.mean(np.sum((fields[0] - fields[1]) ** 2, axis=1))))


def _affine_gain(plain: MotionFit, full: MotionFit, variances: Float64) -> float:
    """Return the misfit (chi squared) that four slopes remove, robust, at the affine fit's own scale."""
    base = 1.0 / variances
    scale = max(SCALE_FLOOR_PX, 2.5 * _robust_scale(full.residuals, base))

    def misfit(residual: Float64) -> float:
        squared = residual**2
        return float(np.sum(base * squared / (1.0 + squared / scale**2)))

    weights = base * full.weights
    total = float(weights.sum())
    effective = INDEPENDENT_SHARE * total**2 / max(float(np.sum(weights**2)), 1e-30)
    noise = max(full.residual_px, BIAS_PX) ** 2
    return effective * (misfit(plain.residuals) - misfit(full.residuals)) / max(total * noise, 1e-30)
