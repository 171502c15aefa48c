"""From reflectance to a picture a person can compare: one stretch for a whole site, and never black for 'not seen'.

Two pictures may only be compared by eye where equal numbers have equal colours, so the stretch is measured once per
site over several looks together and used for every chip and the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagery.blocks import block_mean
from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.observability import ObservationState
from pipelines.analysis import Analysis, LookSummary, WindowReader
from pipelines.report.summary import usable_looks

Picture = NDArray[np.uint8]
Float32Stack = NDArray[np.float32]

RGB = ("red", "green", "blue")
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.0
GAMMA = 1.25  # lifts the middle: soil is dark beside roofs
SAMPLE_PX = 128  # side of one stretch sample; nine per look
HATCH_LIGHT, HATCH_DARK = 238, 186
HATCH_PERIODS_PX = (6, 18)  # wider in larger pictures, which are shown smaller


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which reflectance becomes black and which white, per displayed channel; ``grey`` for one-band pictures."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    grey: tuple[float, float]

    def limits(self, channels: int) -> NDArray[np.float32]:
        """Return (channel, 2) low and high."""
        pairs = [self.red, self.green, self.blue] if channels == 3 else [self.grey]
        return np.asarray(pairs, np.float32)

    def as_json(self) -> dict[str, list[float]]:
        """Return it for provenance, six digits."""
        named = {"red": self.red, "green": self.green, "blue": self.blue, "grey": self.grey}
        return {name: [round(low, 6), round(high, 6)] for name, (low, high) in named.items()}


def has_colour(bands: Sequence[str]) -> bool:
    """Tell whether red, green and blue are all there."""
    return set(RGB) <= set(bands)


def shown_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Return the bands that a picture of a look is drawn from, see ``displayed``."""
    if has_colour(bands):
        return RGB
    if "pan" in bands:
        return ("pan",)
    return tuple(name for name in RGB if name in bands) or tuple(bands[:1])


def displayed(look: Look, colour: bool) -> Float32Stack:
    """Return (3, row, col) red, green, blue or (1, row, col) grey; NaN where not observed.

    Grey is the panchromatic band, else the mean of the visible ones, else the first band.
    """
    if colour:
        return np.stack([look.band(name) for name in RGB])
    if "pan" in look.bands:
        return look.band("pan")[None]
    visible = [look.band(name) for name in RGB if name in look.bands]
    grey = np.mean(visible, axis=0, dtype=np.float32) if visible else look.reflectance[0]
    return np.asarray(grey, np.float32)[None]


def _sample_windows(grid: SiteGrid) -> list[SiteGrid]:
    rows, cols = min(SAMPLE_PX, grid.rows), min(SAMPLE_PX, grid.cols)
    steps = (0.0, 0.5, 1.0)
    return [
        grid.window(round(i * (grid.rows - rows)), round(j * (grid.cols - cols)), rows, cols)
        for i in (steps if grid.rows > rows else (0.0,))
        for j in (steps if grid.cols > cols else (0.0,))
    ]


def _first_and_last(looks: Sequence[LookSummary]) -> list[LookSummary]:
    return list(looks[:1]) + list(looks[-1:] if len(looks) > 1 else [])


def _samples(
    coloured: Sequence[str], anyhow: Sequence[str], analysis: Analysis, read: WindowReader
) -> tuple[Float32Stack, Float32Stack]:
    """Return sampled values of some looks in colour and of some in grey, (channel, sample); each is read once."""
    parts: dict[bool, list[Float32Stack]] = {True: [], False: []}
    for scene_id in dict.fromkeys((*coloured, *anyhow)):
        for window in _sample_windows(analysis.grid):
            look = read(scene_id, window)
            for colour, chosen in ((True, coloured), (False, anyhow)):
                if scene_id in chosen:
                    parts[colour].append(displayed(look, colour).reshape(3 if colour else 1, -1))
    empty = {colour: np.full((3 if colour else 1, 1), np.nan, np.float32) for colour in parts}
    colours, greys = (np.concatenate(parts[c] or [empty[c]], axis=1) for c in (True, False))
    return colours, greys


def _percentiles(values: NDArray[np.float32]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if finite.size < 2:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, [LOW_PERCENTILE, HIGH_PERCENTILE]))
    return (low, high) if high > low else (low, low + 1.0)


def site_stretch(analysis: Analysis, read: WindowReader) -> Stretch:
    """Measure the site's one stretch over its first and last usable looks together.

    Black is set per channel (haze is blue), the span is one for all three, so that hues stay what they are.
    """
    looks = usable_looks(analysis)
    coloured = [
        look.scene.id for look in _first_and_last([k for k in looks if has_colour(k.scene.band_names)])
    ]
    anyhow = [look.scene.id for look in _first_and_last(looks)]
    colours, greys = _samples(coloured, anyhow, analysis, read)
    channels = [_percentiles(band) for band in colours]
    widest = max(high - low for low, high in channels)
    red, green, blue = ((low, low + widest) for low, _ in channels)
    return Stretch(red, green, blue, _percentiles(greys[0]))


def picture(image: Float32Stack, stretch: Stretch) -> Picture:
    """Return (row, col, 3) uint8; pixels not observed are hatched in grey."""
    limits = stretch.limits(len(image))[:, :, None, None]
    scaled = np.clip((image - limits[:, 0]) / (limits[:, 1] - limits[:, 0]), 0.0, 1.0)
    unseen = ~np.isfinite(image).all(axis=0)
    shown = (np.where(unseen, 0.0, scaled) ** np.float32(1 / GAMMA) * 255.0 + 0.5).astype(np.uint8)
    rgb = np.moveaxis(np.broadcast_to(shown, (3, *image.shape[1:])), 0, -1).copy()
    rgb[unseen] = _hatch(*unseen.shape)[unseen][:, None]
    return rgb


def tile_picture(look: Look, stretch: Stretch) -> Picture:
    """Return (row, col, 4) uint8, in colour where the look has it: transparent where the scene holds nothing.

    What could not be measured because it was too bright is white.
    """
    colour = has_colour(look.bands)
    limits = stretch.limits(3 if colour else 1)[:, :, None, None]
    scaled = (displayed(look, colour) - limits[:, 0]) / (limits[:, 1] - limits[:, 0])
    scaled = np.where(look.state == ObservationState.SATURATED, 1.0, np.nan_to_num(np.clip(scaled, 0.0, 1.0)))
    shown = (scaled ** np.float32(1 / GAMMA) * 255.0 + 0.5).astype(np.uint8)
    rgba = np.empty((*look.grid.shape, 4), np.uint8)
    rgba[..., :3] = np.moveaxis(np.broadcast_to(shown, (3, *look.grid.shape)), 0, -1)
    there = ~np.isin(look.state, (ObservationState.OUTSIDE_FOOTPRINT, ObservationState.NODATA))
    rgba[..., 3] = there * np.uint8(255)
    rgba[~there] = 0
    return rgba


def _hatch(rows: int, cols: int) -> Picture:
    period = int(np.clip(max(rows, cols) // 20, *HATCH_PERIODS_PX))
    row, col = np.indices((rows, cols))
    dark = (row + col) % period < period // 3
    return np.where(dark, HATCH_DARK, HATCH_LIGHT).astype(np.uint8)


def overview(
    scene_id: str, grid: SiteGrid, read: WindowReader, colour: bool, longest_px: int
) -> Float32Stack:
    """Return a whole look averaged down to at most ``longest_px`` a side, read strip by strip."""
    factor = -(-max(grid.shape) // longest_px)
    height = factor * max(1, 1024 // factor)
    strips = [
        block_mean(
            displayed(read(scene_id, grid.window(row, 0, min(height, grid.rows - row), grid.cols)), colour),
            factor,
        )
        for row in range(0, grid.rows, height)
    ]
    return np.concatenate(strips, axis=1)


def map_look(analysis: Analysis, withheld: frozenset[str]) -> LookSummary | None:
    """Return the look for the map: the latest of those that show nearly as much as the best; None without any."""
    shown = [look for look in usable_looks(analysis) if look.scene.id not in withheld]
    if not shown:
        return None
    best = max(look.usable_fraction for look in shown)
    return [look for look in shown if look.usable_fraction >= 0.9 * best][-1]
