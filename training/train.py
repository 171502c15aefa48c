"""Train the presence network: ``python -m training.train --pool POOL --real REAL --out FOLDER``.

On a CPU several processes of one thread each go eight steps on their own and then share the mean of their weights:
threads inside one convolution this small wait more than they work, and so do processes that meet at every step. The checkpoint is the running average of the weights. ``learning.csv`` in the output folder holds
the learning curve.
"""

import argparse
import copy
import csv
import math
import time
from pathlib import Path

import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from training.model import Presence
from training.samples import Crops

# Pixels of our classes are rare: they weigh more, which calibration takes back afterwards.
POSITIVE_WEIGHT = (3.0, 2.0, 1.0)
CLASS_WEIGHT = (1.0, 1.0, 0.4)
SHARE_EVERY = 8  # steps


def loss(log_odds: Tensor, fractions: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return (loss, dice error per class): cross-entropy on hard pixels plus dice over the batch, coverage as target."""
    positive = log_odds.new_tensor(POSITIVE_WEIGHT)[None, :, None, None]
    importance = log_odds.new_tensor(CLASS_WEIGHT)
    entropy = functional.binary_cross_entropy_with_logits(
        log_odds, fractions, pos_weight=positive, reduction="none"
    )
    p = torch.sigmoid(log_odds)
    hard = ((p - fractions).abs() + 1e-4).sqrt()
    pixels = (entropy * hard * weight * importance[None, :, None, None]).sum() / (weight.sum() + 1) * 18
    overlap = (p * fractions * weight).sum((0, 2, 3))
    total = ((p * p + fractions * fractions) * weight).sum((0, 2, 3))
    dice = 1 - (2 * overlap + 20) / (total + 20)
    return pixels + (dice * importance).mean(), dice.detach()


def average(running: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the running average towards the network, counters and statistics too."""
    with torch.no_grad():
        for mean, now in zip(running.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.mul_(keep).add_(now, alpha=1 - keep)
            else:
                mean.copy_(now)


def rate(share: float, step: int, peak: float) -> float:
    """Return the learning rate: warm-up, then a cosine down to a fiftieth."""
    return peak * min(1.0, step / 60) * (0.5 * (1 + math.cos(math.pi * min(share, 1.0))) * 0.98 + 0.02)


def share_weights(network: Presence, processes: int) -> None:
    """Replace each process's weights and statistics by the mean over all."""
    planes = [t for t in network.state_dict().values() if t.dtype.is_floating_point]
    flat = torch.cat([t.reshape(-1) for t in planes])
    distributed.all_reduce(flat)
    flat /= processes
    start = 0
    for plane in planes:
        plane.copy_(flat[start : start + plane.numel()].view(plane.shape))
        start += plane.numel()


def train(process: int, args: argparse.Namespace) -> None:
    """Run the training loop of one process; the first writes."""
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Processors that must imitate half precision take ten times as long with it.
    half = device.type == "cuda" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    if device.type == "cpu":
        torch.set_num_threads(1)
    if args.processes > 1:
        meeting = (args.out / "meeting").absolute()
        distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=process, world_size=args.processes
        )
    # A GPU computes faster with the channels last, a CPU with 256-bit registers a fifth slower.
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    network = Presence()
    if args.start:
        network = Presence.of(torch.load(args.start, weights_only=True))
    network = network.to(device, memory_format=layout)
    running = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=args.rate, weight_decay=1e-3)
    crops = Crops(args.pool, args.real, args.real_share, args.seed * 1000 + process)
    loader = iter(
        DataLoader(crops, args.batch // args.processes, num_workers=args.workers, prefetch_factor=4)
    )
    began, saved, share, smooth = time.monotonic(), 0.0, 0.0, None
    with (args.out / f"learning{process or ''}.csv").open("w", newline="") as file:
        curve = csv.writer(file)
        curve.writerow(["step", "minutes", "loss", "dice_container", "dice_berm", "dice_other"])
        for step in range(1, args.steps + 1):
            minutes = (time.monotonic() - began) / 60
            if step % SHARE_EVERY == 1:
                share = agreed(
                    max(minutes / args.minutes if args.minutes else 0.0, step / args.steps), args.processes
                )
            if share > 1:
                break
            for group in optimiser.param_groups:
                group["lr"] = rate(share, step, args.rate)
            image, condition, fractions, weight = (t.to(device) for t in next(loader))
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                log_odds = network(image.to(memory_format=layout), condition)
            value, dice = loss(log_odds.float(), fractions, weight)
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            if step % SHARE_EVERY == 0:
                if args.processes > 1:
                    share_weights(network, args.processes)
                average(running, network, min(0.97, step / (step + 50)))
            now = torch.cat([value.detach()[None], dice]).cpu()
            smooth = now if smooth is None else 0.98 * smooth + 0.02 * now
            if step % 50 == 0:
                row = [step, f"{minutes:.2f}", *(f"{v:.4f}" for v in smooth.tolist())]
                curve.writerow(row)
                file.flush()
                if process == 0:
                    print(*row, flush=True)
            if process == 0 and minutes - saved > 2:
                torch.save(running.state_dict(), args.out / "running.pt")
                saved = minutes
    if process == 0:
        torch.save(running.state_dict(), args.out / "running.pt")


def agreed(share: float, processes: int) -> float:
    """Return the first process's view of how much is done, so that all stop at the same step."""
    if processes == 1:
        return share
    said = torch.tensor([share], dtype=torch.float64)
    distributed.broadcast(said, 0)
    return float(said)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pool", type=Path, nargs="+", required=True, help="folders written by training.generate"
    )
    parser.add_argument("--real", type=Path, required=True, help="the folder ../shared/data/real")
    parser.add_argument("--out", type=Path, required=True, help="for running.pt and learning.csv")
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="stop (and cool down) by the clock; 0 for never"
    )
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--real-share", type=float, default=0.22)
    parser.add_argument(
        "--processes", type=int, default=1, help="on a CPU: one per core to spare; they share the batch"
    )
    parser.add_argument("--workers", type=int, default=1, help="loading processes for each")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "meeting").unlink(missing_ok=True)
    if args.processes == 1:
        train(0, args)
    else:
        multiprocessing.spawn(train, (args,), args.processes)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
