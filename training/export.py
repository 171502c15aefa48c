"""Turn a checkpoint into ``presence.onnx`` and its card: ``python -m training.export CHECKPOINT --out FOLDER``."""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

from imagery.evidence.network import CARD, CLASSES
from training.half import halved
from training.model import Calibrated, Presence

UNCALIBRATED = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def export(checkpoint: Path, out: Path, calibration: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    """Write ``out/presence.onnx`` and ``out/presence.json``; batch normalisation is folded into the weights, which
    are stored in half precision.
    """
    network = Presence.of(torch.load(checkpoint, weights_only=True))
    whole = Calibrated(network, *calibration).eval()
    out.mkdir(parents=True, exist_ok=True)
    target = out / "presence.onnx"
    example = (torch.zeros(1, 4, 160, 192), torch.zeros(1, 8))
    torch.onnx.export(
        whole, example, str(target), input_names=["image", "condition"], output_names=["log_odds"], opset_version=17,
        dynamic_axes={"image": {2: "row", 3: "col"}, "log_odds": {2: "row", 3: "col"}}, dynamo=False,
    )  # fmt: skip
    onnx.checker.check_model(onnx.load(target))
    _same_answer(whole, target)
    onnx.save(halved(onnx.load(target)), target)
    card = _card(target, network, calibration)
    (out / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")


def _same_answer(whole: torch.nn.Module, target: Path) -> None:
    image, condition = torch.randn(1, 4, 256, 320), torch.randn(1, 8)
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy(), "condition": condition.numpy()})
    with torch.no_grad():
        difference = float((whole(image, condition) - torch.from_numpy(found)).abs().max())
    if difference > 1e-2:
        raise SystemExit(f"the exported network answers differently: {difference:.4f}")


def _card(
    target: Path, network: Presence, calibration: tuple[tuple[float, ...], tuple[float, ...]]
) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "bytes": target.stat().st_size,
        "classes": list(CLASSES),
        "parameters": sum(p.numel() for p in network.parameters()),
        "calibration": {"scale": list(calibration[0]), "offset": list(calibration[1])},
        "described_in": "docs/model-card.md",
    }


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, help="JSON written by training.calibrate")
    args = parser.parse_args()
    calibration = UNCALIBRATED
    if args.calibration:
        found = json.loads(args.calibration.read_text())
        calibration = (tuple(found["scale"]), tuple(found["offset"]))
    export(args.checkpoint, args.out, calibration)


if __name__ == "__main__":
    main()
