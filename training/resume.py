"""Turn an exported network back into a checkpoint to train on from: ``python -m training.resume presence.onnx --pool POOL --real REAL --out START.pt``.

An export folds batch normalisation into its convolutions. The folded weights are taken as they are, and each
normalisation is measured on crops and set so that it changes nothing: the checkpoint answers as the export did, before its calibration.
"""

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.utils.data import DataLoader

from training.half import HALVED
from training.model import Presence
from training.samples import Crops

BATCH = 40


def unfold(network: nn.Module, exported: Path) -> None:
    """Fill a network with an export's weights; every normalisation does nothing then but add the folded offset.

    The export's network lies under ``network``; each normalisation comes right after its convolution.
    """
    graph = onnx.load(exported).graph
    held = {
        tensor.name.removesuffix(HALVED): torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in graph.initializer
    }
    norms = dict(_pairs(network))
    state = network.state_dict()
    state |= {name: held[f"network.{name}"] for name in state if f"network.{name}" in held}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1].startswith("onnx::"):
            conv = _module_of(node.output[0])
            state[f"{conv}.weight"] = held[node.input[1]]
            state[f"{norms[conv]}.bias"] = held[node.input[2]]
    network.load_state_dict(state)
    network.eval()


def normalise(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Set every normalisation by what its convolution gives on some batches, without changing any answer."""
    pairs = [(network.get_submodule(conv), network.get_submodule(norm)) for conv, norm in _pairs(network)]
    totals = [torch.zeros(3, conv.out_channels, dtype=torch.float64) for conv, _ in pairs]
    hooks = [
        conv.register_forward_hook(lambda _m, _i, out, total=total: _add(total, out))
        for (conv, _), total in zip(pairs, totals, strict=True)
    ]
    with torch.no_grad():
        for inputs in batches:
            network(*inputs)
        for hook in hooks:
            hook.remove()
        for (conv, norm), (count, first, second) in zip(pairs, totals, strict=True):
            mean = (first / count).float()
            spread = (second / count - (first / count) ** 2).clamp_min(1e-8).sqrt().float()
            conv.weight /= spread[:, None, None, None]
            norm.running_mean.copy_(mean / spread)
            norm.running_var.fill_(1.0 - norm.eps)
            norm.bias += mean
            norm.weight.copy_(spread)


def _pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of each convolution that is normalised and of its normalisation."""
    for (before, _), (name, module) in pairwise(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            yield before, name


def _module_of(output: str) -> str:
    """Return whose output this is: ``/network/e0/a/Conv_output_0`` is of ``e0.a``, ``/network/fine/fine.0/Conv_output_0`` of ``fine.0``."""
    inside = output.removeprefix("/network/").split("/")[:-1]
    return inside[-1] if "." in inside[-1] else ".".join(inside)


def _add(total: Tensor, out: Tensor) -> None:
    """Add an output's count, sum and sum of squares per channel."""
    values = out.double().transpose(0, 1).flatten(1)
    total += torch.stack([torch.full_like(values[:, 0], values.shape[1]), values.sum(1), (values**2).sum(1)])


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exported", type=Path)
    parser.add_argument("--pool", type=Path, nargs="+", required=True)
    parser.add_argument("--real", type=Path, required=True, help="the folder ../shared/data/real")
    parser.add_argument("--real-share", type=float, default=0.15)
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--seed", type=int, default=778)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    network = Presence()
    unfold(network, args.exported)
    image, condition = torch.randn(1, 4, 160, 160), torch.randn(1, 8)
    crops = DataLoader(Crops(args.pool, args.real, args.real_share, args.seed), BATCH)
    with torch.no_grad():
        before = network(image, condition)
        normalise(network, ((image, condition) for image, condition, *_ in islice(crops, args.batches)))
        difference = float((network(image, condition) - before).abs().max())
    if difference > 1e-2:
        raise SystemExit(f"the checkpoint answers differently: {difference:.4f}")
    torch.save(network.state_dict(), args.out)


if __name__ == "__main__":
    main()
