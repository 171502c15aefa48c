"""Two arrays in, one motion with its quality out.

The way through is ALGORITHMS A2: a masked correlation of gradient orientations finds candidates, windows vote on
them, Gauss-Newton refines them, a robust fit decides between translation and affine, and the gate judges.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from imagery.displacement import RegistrationState
from imagery.order_statistics import median
from imagery.registration import prefilter
from imagery.registration.correlation import Complex64Image, Peak, best_peaks, masked_correlation
from imagery.registration.field import LocalField, local_field, target_nodes
from imagery.registration.gate import Evidence, state_of
from imagery.registration.motion import (
    AFFINE_EVIDENCE,
    SUN_EVIDENCE,
    Float64,
    Motion,
    MotionFit,
    better_motion,
    split_difference,
)
from imagery.registration.prefilter import Float32Image, Mask
from imagery.registration.refinement import (
    LOOSE,
    TIGHT,
    Bands,
    WindowShifts,
    shared_information,
    window_shifts,
)
from imagery.registration.shadows import shadow_mask
from imagery.registration.voting import Vote, vote
from imagery.registration.windows import Lattice, lattice

MIN_SIDE_PX = 40
# Votes need larger windows than refinement: a third of a changed place must still find its peak.
VOTE_CELL_PX = 32
# Votes that differ by less tie.
TIE = 0.98
CARRYING = 0.5
FLAT_SHARE = 1e-3
# Windows that disagree by more than this may be pulled by shadows; leaving those out must cut the decorrelation to 0.8.
SHADOW_DOUBT_PX = 0.045
SHADOW_GAIN = 0.8
# Median window residual from which a local field is tried.
FIELD_DOUBT_PX = 0.06


@dataclass(frozen=True, slots=True)
class Options:
    """How hard to look; the defaults are what the benchmark measures.

    ``search_px`` of the coarsest level is bounded by half the image; levels are halvings down to ``coarse_px``.
    """

    coarse_px: int = 320
    finest_pixels: int = 1_500_000
    rounds: int = 4
    settled_px: float = 0.003
    erosion_px: int = 4
    affine: bool = True
    local_field: bool = True


@dataclass(frozen=True)
class ArrayRegistration:
    """How the target lies against the reference, pixels, (row, col).

    ``motion`` maps reference positions to target positions (see ``motion.Motion``); ``shift_px`` and ``slope`` are the
    inverse, what must be *added* to the target's coordinates: ``d(q) = shift_px + slope @ (q - centre)`` (+ ``field``).
    """

    motion: Motion
    shift_px: tuple[float, float]
    slope: tuple[tuple[float, float], tuple[float, float]]
    centre: tuple[float, float]
    state: RegistrationState
    quality: float
    residual_px: float
    windows_used: int
    evidence: Evidence | None
    reasons: tuple[str, ...]
    contrast_inverted: bool = False
    field: LocalField | None = None

    def target_position(self, positions: Float64) -> Float64:
        """Return (n, 2) target positions, as claimed, of what lies at (n, 2) reference positions."""
        q = positions + self.motion.at(positions)
        if self.field is None:
            return q
        plain = q
        inverse = np.eye(2) + self.motion.slope
        for _ in range(3):
            q = plain - self.field.at(q) @ inverse.T
        return np.asarray(q)

    def displacement_at(self, positions: Float64) -> Float64:
        """Return (n, 2) pixels to add to (n, 2) target positions, field included."""
        affine = np.array(self.shift_px) + (positions - np.array(self.centre)) @ np.array(self.slope).T
        return np.asarray(affine if self.field is None else affine + self.field.at(positions))


@dataclass(frozen=True)
class Side:
    """One image of a pair on one level: filled, where it counts, and what else is worked out of it alone, once."""

    image: Float32Image
    valid: Mask

    @cached_property
    def feature(self) -> Complex64Image:
        """Orientation of the gradient."""
        return prefilter.orientation(self.image, self.valid, 1.5)

    @cached_property
    def band(self) -> Float32Image | None:
        """The image band-passed and normalised; None where there is nothing but ramps and rounding."""
        band = prefilter.band_passed(self.image)
        sample = np.abs(band[::4, ::4][self.valid[::4, ::4]])
        if sample.size == 0 or float(median(sample)) < FLAT_SHARE * float(self.image.std()):
            return None
        return prefilter.normalised(band, self.valid)

    def halved(self) -> "Side":
        """Return the next coarser level."""
        return Side(*prefilter.halved(self.image, self.valid))

    def without_shadows(self) -> "Side":
        """Return the image with its shadows filled."""
        seen = self.valid & ~shadow_mask(self.image, self.valid)
        return Side(prefilter.filled(self.image, seen), seen)


Prepared = tuple[Side, ...]
"""The levels of one image, finest first, each half the one before."""


@dataclass(frozen=True)
class _Level:
    """One level of the pyramid."""

    reference: Side
    target: Side

    @property
    def shape(self) -> tuple[int, int]:
        return self.reference.image.shape[0], self.reference.image.shape[1]

    @property
    def centre(self) -> Float64:
        return (np.array(self.shape, np.float64) - 1.0) / 2.0


@dataclass(frozen=True)
class _Refined:
    fit: MotionFit
    windows: WindowShifts
    totals: Float64
    cells: Lattice
    bands: Bands
    shadows_masked: bool = False


def register_arrays(
    reference: Float32Image,
    target: Float32Image,
    reference_observed: Mask,
    target_observed: Mask,
    *,
    max_shift_px: float,
    options: Options | None = None,
) -> ArrayRegistration:
    """Measure how the target lies against the reference.

    Parameters
    ----------
    reference, target : (row, col) float32 of one shape on one lattice, any units; NaN where not observed
    reference_observed, target_observed : (row, col) bool, False where a pixel must not count
    max_shift_px : largest shift looked for on either axis
    """
    options = options or Options()
    return register_prepared(
        prepare(reference, reference_observed, options),
        prepare(target, target_observed, options),
        max_shift_px=max_shift_px,
        options=options,
    )


def prepare(image: Float32Image, observed: Mask, options: Options | None = None) -> Prepared:
    """Work out of one image what does not depend on the other; see ``register_arrays`` for the arrays."""
    options = options or Options()
    valid = prefilter.usable_pixels(image, observed, options.erosion_px)
    sides = [Side(prefilter.filled(image, valid), valid)]
    while max(sides[-1].valid.shape) > options.coarse_px and min(sides[-1].valid.shape) >= 128:
        sides.append(sides[-1].halved())
    return tuple(sides)


def register_prepared(
    reference: Prepared, target: Prepared, *, max_shift_px: float, options: Options | None = None
) -> ArrayRegistration:
    """Measure how the target lies against the reference, both prepared with the same options."""
    options = options or Options()
    levels = [_Level(*sides) for sides in zip(reference, target, strict=True)]
    refusal = _refusal(levels[0], max_shift_px)
    if refusal:
        return _nothing(levels[0], refusal)
    top = len(levels) - 1
    found = _search(levels[top], max_shift_px / 2**top)
    if found is None:
        return _nothing(levels[0], "too_little_texture")
    best, peak, ambiguity = found
    motion = best.motion
    refined = None
    for step in range(top, -1, -1):
        level = levels[step]
        if level.reference.image.size > options.finest_pixels and refined is not None:
            break
        coarser = step > 0 and levels[step - 1].reference.image.size <= options.finest_pixels
        answer = _refine(level, motion, 1 if coarser else options.rounds, options)
        if answer is not None and not coarser and float(median(answer.fit.residuals)) > SHADOW_DOUBT_PX:
            answer = _without_shadows(level, answer, motion, options)
        if answer is not None:
            refined = (answer, step)
            motion = answer.fit.motion
        if step > 0:
            motion = motion.scaled(2.0).moved(levels[step - 1].centre)
    if refined is None:
        return _nothing(levels[0], "disagreeing_windows")
    return _judge(refined[0], refined[1], best, peak, ambiguity, levels[0], max_shift_px, options)


def _refusal(level: _Level, max_shift_px: float) -> str | None:
    """Return why there is nothing to measure, before measuring."""
    if min(level.shape) < MIN_SIDE_PX:
        return "too_small"
    if not (max_shift_px >= 0 and np.isfinite(max_shift_px)):
        return "no_search_range"
    sides = (level.reference, level.target)
    if min(int(side.valid.sum()) for side in sides) < 0.02 * level.reference.image.size:
        return "no_overlap"
    if not all(float(side.image[side.valid].std()) > 0.0 for side in sides):
        return "too_little_texture"
    return None


def _search(level: _Level, reach_px: float) -> tuple[Vote, Peak, float] | None:
    """Return the peak that windows support most, its vote, and how good the runner-up is."""
    feature_r, feature_t = level.reference.feature, level.target.feature
    valid_r, valid_t = level.reference.valid, level.target.valid
    reach = tuple(int(min(np.ceil(reach_px) + 8, n - 8)) for n in level.shape)
    surface = masked_correlation(feature_r, feature_t, valid_r, valid_t, (reach[0], reach[1]))
    cells = lattice(level.shape, VOTE_CELL_PX)
    peaks = best_peaks(surface)
    if not peaks or cells is None:
        return None
    votes = [vote(feature_r, feature_t, valid_r, valid_t, cells, p) for p in peaks]
    order = sorted(range(len(votes)), key=lambda k: -votes[k].support)
    # Peaks a lattice period apart can tie; then the one the scene's own geolocation is nearest to goes first.
    level_best = TIE * votes[order[0]].support
    order.sort(key=lambda k: (votes[k].support < level_best, np.hypot(peaks[k].row, peaks[k].col)))
    best = votes[order[0]]
    others = [votes[k].support for k in order[1:]]
    ambiguity = min(max(others) / best.support, 1.0) if others and best.support > 0 else 0.0
    return best, peaks[order[0]], ambiguity


def _without_shadows(level: _Level, plain: _Refined, start: Motion, options: Options) -> _Refined:
    """Leave shadows out of both images and keep that answer where what remains matches clearly better."""
    level = _Level(level.reference.without_shadows(), level.target.without_shadows())
    lit = _refine(level, start, options.rounds, options, SUN_EVIDENCE)
    if lit is None:
        return plain
    doubt_plain, doubt_lit = (1.0 - float(median(np.abs(a.windows.correlation))) for a in (plain, lit))
    return replace(lit, shadows_masked=True) if doubt_lit < SHADOW_GAIN * doubt_plain else plain


def _refine(
    level: _Level, motion: Motion, rounds: int, options: Options, evidence: float = AFFINE_EVIDENCE
) -> _Refined | None:
    """Iterate warp and window shifts until the motion settles."""
    cells, bands = lattice(level.shape), _bands(level)
    if cells is None or bands is None:
        return None
    answer: _Refined | None = None
    for turn in range(rounds):
        windows = window_shifts(bands.reference, bands.warped(motion), cells, LOOSE if turn == 0 else TIGHT)
        if len(windows.index) < 1:
            return answer
        totals = windows.shifts + motion.at(windows.positions)
        fit = better_motion(
            windows.positions, totals, windows.variances, level.centre, 3.0 * cells.cell_px, evidence
        )
        answer = _Refined(fit, windows, totals, cells, bands)
        step = fit.motion.at(windows.positions) - motion.at(windows.positions)
        motion = fit.motion
        if float(np.abs(step).max()) < options.settled_px:
            break
    return answer


def _bands(level: _Level) -> Bands | None:
    """Return both images band-passed and normalised; None where there is nothing but ramps and rounding."""
    reference, target = level.reference.band, level.target.band
    if reference is None or target is None:
        return None
    coefficients = ndimage.spline_filter(target, order=3, output=np.float32, mode="mirror")
    return Bands(reference, coefficients, level.reference.valid, level.target.valid)


def _judge(
    refined: _Refined,
    step: int,
    best: Vote,
    peak: Peak,
    ambiguity: float,
    level: _Level,
    max_shift_px: float,
    options: Options,
) -> ArrayRegistration:
    scale = 2.0**step
    fit, windows = refined.fit, refined.windows
    affine = bool(fit.motion.slope.any())
    split = split_difference(
        windows.positions,
        refined.totals,
        windows.variances,
        fit.motion.centre,
        3.0 * refined.cells.cell_px,
        affine=affine,
    )
    shared = shared_information(
        refined.bands, refined.bands.warped(fit.motion), refined.cells, windows.index[fit.weights > CARRYING]
    )
    evidence = Evidence(best.agree, peak.z, ambiguity, fit.predicted_px * scale, split * scale, shared)
    quality = evidence.quality
    reasons = list(_reasons(evidence))
    motion = fit.motion.scaled(scale).moved(level.centre)
    field = None
    if options.local_field and float(median(fit.residuals)) > FIELD_DOUBT_PX:
        field = local_field(refined.bands, fit.motion, refined.cells)
    if float(np.abs(motion.shift).max()) > max_shift_px + 1.5:
        quality, reasons = 0.0, ["beyond_search_range", *reasons]
    used = int(np.count_nonzero(fit.weights > 0.25))
    inverted = bool(median(windows.correlation) < 0)
    return _answer(
        motion,
        quality,
        fit.residual_px * scale,
        used,
        evidence,
        tuple(reasons),
        inverted,
        field and field.scaled(scale),
    )


def _reasons(evidence: Evidence) -> tuple[str, ...]:
    """Name what pulls the quality down."""
    found = []
    if evidence.z < 6.0:
        found.append("too_little_texture")
    if evidence.ambiguity > 0.8:
        found.append("ambiguous_lattice")
    if evidence.agree < 0.3:
        found.append("disagreeing_windows")
    if np.hypot(evidence.predicted_px, evidence.split_px) > 0.3:
        found.append("uncertain_fit")
    return tuple(found)


def _answer(
    motion: Motion,
    quality: float,
    residual: float,
    used: int,
    evidence: Evidence | None,
    reasons: tuple[str, ...],
    inverted: bool = False,
    field: LocalField | None = None,
) -> ArrayRegistration:
    slope = np.linalg.inv(np.eye(2) + motion.slope) - np.eye(2)
    shift = -(slope + np.eye(2)) @ motion.shift
    return ArrayRegistration(
        motion=motion,
        shift_px=(float(shift[0]), float(shift[1])),
        slope=(
            (float(slope[0, 0]), float(slope[0, 1])),
            (float(slope[1, 0]), float(slope[1, 1])),
        ),
        centre=(float(motion.centre[0]), float(motion.centre[1])),
        state=state_of(quality),
        quality=quality,
        residual_px=residual,
        windows_used=used,
        evidence=evidence,
        reasons=reasons,
        contrast_inverted=inverted,
        field=field and LocalField(target_nodes(field, motion), field.first, field.step),
    )


def _nothing(level: _Level, reason: str) -> ArrayRegistration:
    still = Motion(np.zeros(2), np.zeros((2, 2)), level.centre)
    return _answer(still, 0.0, float("nan"), 0, None, (reason,))
