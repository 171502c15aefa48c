"""What a difference of two dates looks like where nothing happened, learned from the site itself.

Season, haze, wetness and sensor make every pixel differ; almost all pixels of a site did not change. So a difference is
first predicted from what the pixel is (its mean reflectance and how much it varies), then measured against the
spread of the other pixels of its kind. A change of the whole site raises that spread and silences itself.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv

from imagery.order_statistics import median, medians, quantile

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

KINDS = 4
MIN_SAMPLE = 40


@dataclass(frozen=True, slots=True)
class SpatialNull:
    """A fitted null: ``slopes`` (covariate, band), ``whiten`` (band, band), spread per kind of ground.

    ``kind_at`` are values of the first covariate, ascending, and ``kind_spread`` the spread there (>= 1 where tails are
    heavy); between them it is interpolated.
    """

    slopes: Float32
    whiten: Float32
    kind_at: Float32
    kind_spread: Float32

    @property
    def bands(self) -> int:
        """Number of bands compared."""
        return int(self.whiten.shape[0])


def fit_null(difference: Float64, covariates: Float64, floor: float) -> SpatialNull | None:
    """Fit the null to ``(n, band)`` differences with ``(n, covariate)`` ground descriptions, both finite.

    ``floor`` is the smallest believable standard deviation of a difference, in the units of the bands.
    None where fewer than ``MIN_SAMPLE`` places were seen.
    """
    if len(difference) < MIN_SAMPLE:
        return None
    terms = 1 + covariates.shape[1]
    joint = np.concatenate([np.ones((len(covariates), 1)), covariates, difference], axis=1)
    keep = np.ones(len(difference), bool)
    for _ in range(4):
        kept = joint[keep]
        slopes = _ridge(kept.T @ kept, terms)
        residual = joint @ np.concatenate([-slopes, np.eye(difference.shape[1])])
        covariance = _trimmed_covariance(residual, keep, floor)
        distance = np.sqrt(np.einsum("ni,ni->n", residual @ np.linalg.inv(covariance), residual))
        keep = distance <= quantile(distance, 0.8)
    whiten = np.linalg.cholesky(np.linalg.inv(covariance))
    kind_at, kind_spread = _spread_by_kind(distance, covariates[:, 0], difference.shape[1])
    return SpatialNull(
        slopes.astype(np.float32),
        whiten.astype(np.float32),
        kind_at.astype(np.float32),
        kind_spread.astype(np.float32),
    )


def _ridge(sums: Float64, terms: int) -> Float64:
    """Least squares with a touch of ridge on everything but the constant, columns scaled first.

    ``sums`` are the sums of products of all columns, ``terms`` ground descriptions (ones first), then what they explain.
    """
    count = sums[0, 0]
    square = np.diag(sums)[:terms] / count - (sums[0, :terms] / count) ** 2
    scale = np.maximum(np.sqrt(np.maximum(square, 0.0)), 1e-9)
    scale[0] = 1.0
    normal = sums[:terms, :terms] / np.outer(scale, scale)
    normal += np.diag([0.0] + [1e-3 * count] * (terms - 1))
    fit: Float64 = np.linalg.solve(normal, sums[:terms, terms:] / scale[:, None]) / scale[:, None]
    return fit


def _trimmed_covariance(residual: Float64, keep: NDArray[np.bool_], floor: float) -> Float64:
    """Covariance of the kept residuals, brought back to the scale it would have untrimmed (normal tails)."""
    kept = residual[keep]
    bands = residual.shape[1]
    covariance = kept.T @ kept / len(kept)
    share = len(kept) / len(residual)
    if share < 1.0:
        # Share of the chi-square variance that lies below its quantile (truncated normal, both in closed form).
        half_cut = gammaincinv(bands / 2, share)
        covariance /= gammainc(bands / 2 + 1, half_cut) / share
    else:  # first round: nothing is trimmed yet, so start from robust spreads alone
        spread = 1.4826 * medians(np.ascontiguousarray(np.abs(residual).T))
        covariance = np.diag(spread**2)
    return covariance + floor**2 * np.eye(bands)


def _spread_by_kind(distance: Float64, kind: Float64, bands: int) -> tuple[Float64, Float64]:
    """Spread of distances against their chi distribution, per quantile bin of ``kind``; never below 0.7."""
    edges = [quantile(kind, share) for share in np.linspace(0, 1, KINDS + 1).tolist()]
    at, spread = [], []
    for low, high in pairwise(edges):
        inside = (kind >= low) & (kind <= high)
        if np.count_nonzero(inside) < MIN_SAMPLE // KINDS:
            continue
        ratios = np.array([quantile(distance[inside], share) for share in (0.5, 0.9)]) / np.sqrt(
            2.0 * gammaincinv(bands / 2, np.array([0.5, 0.9]))
        )
        at.append(float(median(kind[inside])))
        spread.append(max(float(ratios.max()), 0.7))
    order = np.argsort(np.array(at), kind="stable")
    return np.array(at)[order], np.array(spread)[order]


def deviation(null: SpatialNull, difference: Float32, covariates: Float32) -> Float32:
    """Return ``(band, n)`` whitened differences beyond what the null predicts; ``covariates`` (covariate, n)."""
    surprise = difference - null.slopes[1:].T @ covariates
    surprise -= null.slopes[0][:, None]
    whitened: Float32 = null.whiten.T @ surprise
    return whitened


def equivalent_z(distance: Float32, bands: int) -> Float32:
    """Turn a chi distance of so many bands into a normal deviate (Fisher's root approximation)."""
    z: Float32 = np.sqrt(np.float32(2.0)) * distance - np.float32(np.sqrt(2.0 * bands - 1.0))
    return z
