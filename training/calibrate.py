"""Fit one scale and offset per class so that log-odds mean what they say on held-out rendered looks.

``python -m training.calibrate presence.onnx --pool POOL --out calibration.json``; the network must be exported without
calibration. Prints the reliability before and after.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from imagery.evidence.network import CLASSES, PresenceNetwork
from imagery.illumination import Sun, View
from training.measure import look_of
from training.samples import pool_files

EVERY = 5  # pixels a side: neighbours say the same
BINS = np.array([0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0])


def held_out(
    network: PresenceNetwork, pool: Path, most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (3, n) log-odds and coverage of pixels of the held-out looks."""
    said, true = [], []
    for number, path in enumerate(pool_files(pool, held_out=True)[:most]):
        with np.load(path) as data:
            image, truth = data["im"][: int(data["nb"])].astype(np.float32), data["fr"] / 255.0
            sun, view, gsd_m = Sun(*data["sun"]), View(*data["view"]), float(data["g"])
        known = number % 3 != 0
        log_odds = network.log_odds(look_of(image, gsd_m, sun if known else None, view if known else None))
        said.append(log_odds[:, ::EVERY, ::EVERY].reshape(3, -1))
        true.append(truth[:, ::EVERY, ::EVERY].reshape(3, -1))
    return np.concatenate(said, 1).astype(np.float64), np.concatenate(true, 1)


def fit(log_odds: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    """Return (scale, offset) of the least cross-entropy; truth is coverage, 0 to 1."""

    def entropy(x: NDArray[np.float64]) -> float:
        z = x[0] * log_odds + x[1]
        return float(np.mean(np.logaddexp(0, z) - truth * z))

    scale, offset = minimize(entropy, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return float(scale), float(offset)


def reliability(log_odds: NDArray[np.float64], truth: NDArray[np.float64]) -> str:
    """Return a line: what was said against what was true, per bin, and the expected calibration error."""
    p = 1 / (1 + np.exp(-log_odds))
    bins = np.clip(np.digitize(p, BINS) - 1, 0, len(BINS) - 2)
    cells, error = [], 0.0
    for b in range(len(BINS) - 1):
        part = bins == b
        if part.any():
            cells.append(f"{p[part].mean():.3f}:{truth[part].mean():.3f}")
            error += part.mean() * abs(p[part].mean() - truth[part].mean())
    return f"ECE {error:.4f}  " + " ".join(cells)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--most", type=int, default=240)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    log_odds, truth = held_out(PresenceNetwork.load(args.weights), args.pool, args.most)
    scales, offsets = [], []
    for name, said, true in zip(CLASSES, log_odds, truth, strict=True):
        scale, offset = fit(said, true)
        scales.append(round(scale, 4))
        offsets.append(round(offset, 4))
        print(f"{name}: scale {scale:.3f} offset {offset:.3f}")
        print("  before", reliability(said, true))
        print("  after ", reliability(scale * said + offset, true))
    args.out.write_text(json.dumps({"scale": scales, "offset": offsets, "looks": args.most}))


if __name__ == "__main__":
    main()
