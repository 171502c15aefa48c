"""Fill the pool that training draws from: ``python -m training.generate --pool POOL --real REAL --first 0 --step 2``.

Every place has its own seed (its number), so several processes with the same ``--step`` and different ``--first`` make
the same pool as one. A third of the places (``--on-real``) are real ground with painted objects; the rest is painted altogether.
"""

import argparse
from pathlib import Path

import numpy as np

from imagery.simulation.training import training_site
from training import painter
from training.real_ground import RealGround

LOOKS = 2


def pixel_size(rng: np.random.Generator) -> float:
    """Return metres per pixel: six in ten 0.3-0.8 m, the rest up to 3.2 m."""
    draw = rng.random()
    low, high = (0.3, 0.8) if draw < 0.6 else (0.8, 1.6) if draw < 0.85 else (1.6, 3.2)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def place(number: int, real: RealGround, pool: Path, country: bool, on_real_share: float) -> None:
    """Paint one place and write its looks; a look that is there already stays."""
    if (pool / f"s_{number:06d}_{LOOKS - 1}.npz").exists():
        return
    rng = np.random.default_rng([number, 5])
    gsd_m = pixel_size(rng)
    pixels = 256 if gsd_m < 1.6 else 160
    step_m = max(0.25, min(gsd_m / 2, 1.0)) if gsd_m < 2 else gsd_m / 3
    canvas = painter.blank(rng, pixels * gsd_m + 4, step_m)
    on_real = not country and rng.random() < on_real_share
    if country:
        _furnish_country(canvas)
    elif on_real:
        _furnish_real(canvas, real)
    else:
        painter.furnish(canvas)
    for number_of_look in range(LOOKS):
        _write(
            painter.photograph(canvas, gsd_m, pixels), pool / f"s_{number:06d}_{number_of_look}.npz", on_real
        )


def rendered(number: int, pool: Path) -> None:
    """Render one place with the project's own simulator, the second generator; keep looks whose geometry is known."""
    rng = np.random.default_rng([number, 5])
    gsd_m = pixel_size(rng)
    for number_of_look, look in enumerate(training_site(number, gsd_m, 256 if gsd_m < 1.6 else 160, LOOKS)):
        path = pool / f"s_{number:06d}_{number_of_look}.npz"
        if look.sun is not None and look.view is not None and look.observed.all() and not path.exists():
            painted = painter.PaintedLook(
                look.bands,
                look.image,
                look.fractions,
                look.observed,
                look.sun,
                look.view,
                look.gsd_m,
                look.season,
            )
            _write(painted, path, False)


def _furnish_real(canvas: painter.Canvas, real: RealGround) -> None:
    """Lay real ground and stand a few objects on it: its own houses and roads are clutter enough."""
    rng = canvas.rng
    canvas.albedo = np.ascontiguousarray(real.ground(rng, canvas.size, canvas.step_m))
    if rng.random() < 0.7:
        canvas.height *= 0.3
    spots = rng.uniform(0.1, 0.9, (12, 2)) * canvas.extent
    for k in range(rng.integers(0, 4)):
        painter.berm(canvas, *spots[k])
    for k in range(rng.integers(0, 5)):
        painter.containers(canvas, *spots[4 + k])
    for k in range(rng.integers(0, 3)):
        painter.decoy_box(canvas, *spots[9 + k])


def _furnish_country(canvas: painter.Canvas) -> None:
    """Lay countryside and stand little or nothing on it."""
    rng = canvas.rng
    painter.countryside(canvas)
    spots = rng.uniform(0.1, 0.9, (8, 2)) * canvas.extent
    for k in range(max(0, rng.integers(-1, 3))):
        painter.berm(canvas, *spots[k])
    for k in range(max(0, rng.integers(-2, 3))):
        painter.containers(canvas, *spots[2 + k])
    for k in range(rng.integers(0, 4)):
        painter.decoy_box(canvas, *spots[4 + k])
    for _ in range(rng.integers(0, 3)):
        painter.trees(canvas)


def _write(look: painter.PaintedLook, path: Path, on_real: bool) -> None:
    image = np.zeros((4, *look.image.shape[1:]), np.float16)
    low, high = np.percentile(look.image, (1, 99))
    image[: len(look.bands)] = np.clip((look.image - low) / (high - low + 1e-6), -3, 6)
    unfinished = path.with_name("tmp_" + path.name)
    np.savez(
        unfinished, im=image, nb=len(look.bands), fr=(look.fractions * 255).astype(np.uint8),
        sun=np.array(look.sun), view=np.array(look.view), g=look.gsd_m, rb=on_real,
    )  # fmt: skip
    unfinished.rename(path)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--real", type=Path, required=True, help="the folder ../shared/data/real")
    parser.add_argument("--country", action="store_true", help="fields, tracks and streams with few objects")
    parser.add_argument("--on-real", type=float, default=0.35, help="share of places on real ground")
    parser.add_argument(
        "--rendered", action="store_true", help="places of imagery.simulation instead of painted ones"
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--places", type=int, default=3000, help="the number after the last")
    args = parser.parse_args()
    args.pool.mkdir(parents=True, exist_ok=True)
    real = RealGround(args.real)
    for number in range(args.first, args.places, args.step):
        if args.rendered:
            rendered(number, args.pool)
        else:
            place(number, real, args.pool, args.country, args.on_real)


if __name__ == "__main__":
    main()
