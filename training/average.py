"""Average the weights of checkpoints of one ancestry: ``python -m training.average A.pt B.pt --pool POOL --real REAL --out C.pt``.

Batch normalisation's statistics belong to one set of weights, so they are measured again on crops of the pools.

Source: M. Wortsman et al. (2022), Model soups: averaging weights of multiple fine-tuned models, ICML, arXiv:2203.05482.
"""

import argparse
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from training.model import Presence
from training.samples import Crops

BATCH = 40


def mean_of(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of every floating point tensor; the first's of all others."""
    first, *others = states
    return {
        name: torch.stack([value, *(state[name] for state in others)]).mean(0)
        if value.dtype.is_floating_point
        else value
        for name, value in first.items()
    }


def measure_statistics(network: Presence, crops: Crops, batches: int) -> None:
    """Replace the running statistics of batch normalisation by their mean over some batches."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the batches
    network.train()
    with torch.no_grad():
        for image, condition, *_ in islice(DataLoader(crops, BATCH), batches):
            network(image, condition)
    network.eval()


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--pool", type=Path, nargs="+", required=True)
    parser.add_argument("--real", type=Path, required=True, help="the folder ../shared/data/real")
    parser.add_argument("--real-share", type=float, default=0.15)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--seed", type=int, default=777)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    network = Presence.of(mean_of([torch.load(path, weights_only=True) for path in args.checkpoints]))
    measure_statistics(network, Crops(args.pool, args.real, args.real_share, args.seed), args.batches)
    torch.save(network.state_dict(), args.out)


if __name__ == "__main__":
    main()
