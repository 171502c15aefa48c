"""Looks as one small cube: independent dates, common bands, lightly smoothed in space, the season taken out.

Looks a few days apart share haze, wetness and snow, so they are averaged into one *date* before anything is
compared: persistence counts dates, never frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagery.errors import DepotwatchError
from imagery.look import Look

Float32 = NDArray[np.float32]
DAY_S = 86_400.0
YEAR_DAYS = 365.2425

VISIBLE = ("blue", "green", "red", "pan")


class NoCommonGrid(DepotwatchError):
    """Looks of one series that do not lie on one grid."""

    code = "no-common-grid"


@dataclass(frozen=True, slots=True)
class Dates:
    """The independent dates of a series: ``members`` are look indices per date, ``days`` their mean day number."""

    members: tuple[tuple[int, ...], ...]
    days: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of independent dates."""
        return len(self.members)


def independent_dates(times: Sequence[datetime], apart_days: float) -> Dates:
    """Group looks, in time order, so that each group spans less than ``apart_days``; indices into ``times``."""
    order = sorted(range(len(times)), key=lambda i: (times[i], i))
    groups: list[list[int]] = []
    for i in order:
        if groups and (times[i] - times[groups[-1][0]]).total_seconds() < apart_days * DAY_S:
            groups[-1].append(i)
        else:
            groups.append([i])
    days = [float(np.mean([times[i].timestamp() for i in g])) / DAY_S for g in groups]
    return Dates(tuple(tuple(g) for g in groups), np.array(days, np.float64))


def common_bands(looks: Sequence[Look]) -> tuple[str, ...]:
    """Return the band names that every look has, in the first look's order; empty where there are none."""
    return tuple(b for b in looks[0].bands if all(b in look.bands for look in looks))


def band_values(look: Look, bands: tuple[str, ...], rows: slice) -> Float32:
    """Return ``(band, row, col)`` of one look, NaN unseen; without common bands the mean of what is visible."""
    seen = look.observed[rows]
    if bands:
        values = np.stack([look.band(b)[rows] for b in bands])
    else:
        chosen = [look.band(b)[rows] for b in look.bands if b in VISIBLE] or list(look.reflectance[:, rows])
        values = np.mean(np.stack(chosen), axis=0, keepdims=True, dtype=np.float32)
    values = values.astype(np.float32, copy=True)
    values[:, ~(seen & np.all(np.isfinite(values), axis=0))] = np.nan
    return values


def smooth_seen(values: Float32, sigma_px: float) -> Float32:
    """Blur ``(band, row, col)`` over seen pixels only; unseen pixels stay NaN."""
    if sigma_px <= 0:
        return values
    unseen = np.isnan(values[0])
    blurred = np.empty_like(values)
    if not unseen.any():
        for b, band in enumerate(values):
            ndimage.gaussian_filter(band, sigma_px, output=blurred[b], truncate=2.5)
        return blurred
    weight = ndimage.gaussian_filter((~unseen).astype(np.float32), sigma_px, truncate=2.5)
    weight[unseen] = 1.0
    for b, band in enumerate(values):
        ndimage.gaussian_filter(
            np.where(unseen, np.float32(0), band), sigma_px, output=blurred[b], truncate=2.5
        )
    blurred /= weight
    blurred[:, unseen] = np.nan
    return blurred


def mean_seen(stack: Sequence[Float32]) -> Float32:
    """Average arrays of one shape over their finite places; NaN where none is finite."""
    if len(stack) == 1:
        return stack[0]
    total = np.zeros_like(stack[0])
    count = np.zeros(stack[0].shape, np.float32)
    for values in stack:
        seen = np.isfinite(values)
        total[seen] += values[seen]
        count += seen
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan))


def date_cube(
    looks: Sequence[Look], dates: Dates, bands: tuple[str, ...], rows: slice, sigma_px: float
) -> Float32:
    """Return ``(date, band, row, col)`` float32 of some rows, smoothed, NaN where a date did not see the ground."""
    return np.stack(
        [
            mean_seen([smooth_seen(band_values(looks[i], bands, rows), sigma_px) for i in group])
            for group in dates.members
        ]
    )


def median_of_three(cube: Float32) -> Float32:
    """Replace every inner date by the median of itself and its two neighbours where all three are seen.

    One odd look (thin cloud, a shadow the mask missed) goes; a step stays where it is. First and last date are kept:
    what happens there is pending until a later look.
    """
    if len(cube) < 3:
        return cube
    out = np.empty_like(cube)
    out[0], out[-1] = cube[0], cube[-1]
    low, high = np.empty_like(cube[0]), np.empty_like(cube[0])
    for before, here, after, middle in zip(cube[:-2], cube[1:-1], cube[2:], out[1:-1], strict=True):
        np.minimum(before, after, out=low)
        np.maximum(before, after, out=high)
        np.minimum(np.maximum(here, low, out=low), high, out=middle)  # NaN where any of the three is
        np.copyto(middle, here, where=np.isnan(middle))
    return out


def season_basis(days: NDArray[np.float64], harmonics: int) -> NDArray[np.float64]:
    """Return ``(date, 2 * harmonics)`` cosines and sines of the year."""
    phase = 2.0 * np.pi * days[:, None] / YEAR_DAYS * np.arange(1, harmonics + 1)
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=1)


def season_harmonics(days: NDArray[np.float64]) -> int:
    """Say how many harmonics of the year a series carries: none below about two years or 14 dates."""
    if len(days) < 14 or days[-1] - days[0] < 1.8 * YEAR_DAYS:
        return 0
    return 2 if len(days) >= 30 else 1


def without_season(cube: Float32, days: NDArray[np.float64]) -> Float32:
    """Take each pixel's own yearly course out of ``(date, band, row, col)``; unchanged where the series is short.

    Fitted beside a level and a trend, so that a lasting change is taken for season as little as may be, and reweighted
    twice (Huber), so that odd looks do not bend it.
    """
    harmonics = season_harmonics(days)
    if harmonics == 0:
        return cube
    basis = season_basis(days, harmonics)
    time = (days - days.mean()) / max(float(np.ptp(days)), 1.0)
    design = np.concatenate([np.ones((len(days), 1)), time[:, None], basis], axis=1).astype(np.float32)
    flat = cube.reshape(len(days), -1)
    out = np.empty_like(flat)
    step = 200_000
    for start in range(0, flat.shape[1], step):
        part = flat[:, start : start + step]
        out[:, start : start + step] = part - _season_part(part, design)
    return out.reshape(cube.shape)


def _season_part(values: Float32, design: Float32) -> Float32:
    """Fit ``(date, n)`` by ridge regression with Huber weights; return the yearly part alone."""
    seen = np.isfinite(values)
    filled = np.where(seen, values, np.float32(0))
    weight = seen.astype(np.float32)
    terms = design.shape[1]
    ridge = np.diag([1e-4, 0.1] + [0.3] * (terms - 2)).astype(np.float32)
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    for _ in range(3):
        normal = (weight.T @ outer).reshape(-1, terms, terms) + ridge
        right = (weight * filled).T @ design
        fit = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
        residual = np.abs(filled - design @ fit.T)
        scale = np.sum(weight * residual, axis=0) / np.maximum(np.sum(weight, axis=0), 1.0) * 1.25
        weight = seen * np.minimum(1.0, 1.5 * scale / np.maximum(residual, 1e-6)).astype(np.float32)
    season: Float32 = design[:, 2:] @ fit[:, 2:].T
    return season.astype(np.float32, copy=False)
