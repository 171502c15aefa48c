"""Train what ``imagery.appearance`` asks: whether a candidate looks like what it is taken for.

    python -m training.fit_appearance --pool FOLDER [--sites N] [--drawn N] [--workers 2] [--minutes 25] [--start WEIGHTS] [--out WEIGHTS]

Sites are rendered, others drawn by ``training.compositor``, with seeds that no other part was fitted on, and seen through the shipped network. Every candidate that the
change finder would judge is cut out of its looks; per class a small network learns from the pictures whether the candidate is
true, and, to learn more from each, which of its pixels are. It is written as ONNX, with a card beside it. After it the trees are
to be fitted anew (``training.fit_verifier``), on other sites.
"""

import argparse
import copy
import json
import math
import pickle
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from torch import Tensor, nn
from torch.nn import functional

from imagery.appearance import CARD, FACTS, PLANES, SIZE, STEP_M, WEIGHTS, crop, crops_of, softened
from imagery.calibration import PRIOR, stored_verifier
from imagery.changes import Direction, ObjectClass
from imagery.detection import DetectionOptions, Judged, judged_candidates
from imagery.evidence.network import PresenceNetwork
from imagery.verification import footprint_mask
from pipelines.report.canonical import sha256_of
from training.fit_verifier import Site, aoi_of, drawn_in_pool, is_true, keep, rendered_site, seen_site
from training.half import halved
from training.resume import normalise, unfold
from training.train import average

FIRST_SEED, FIRST_DRAWN_SEED = 730_000, 830_000
WIDTHS = (32, 48, 64)
BATCH, RATE, DECAY = 96, 3e-3, 3e-2
# Where an exported network is trained on from. What was learned then is added to what was there by a share: it keeps more of
# what the network knew of other sites (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
RATE_ON, NEW_SHARE = 1.5e-3, 0.65
# A third of each batch is true; false ones come the oftener the likelier the evidence alone makes them.
TRUE_SHARE = 3
HIDDEN_SUN, HIDDEN_EVIDENCE = 0.2, 0.15
LIGHT, ODDS = slice(0, 3), slice(3, 6)
TRUE_PIXEL_WEIGHT = 2.0
SURE = 0.96
MEASURED_BATCHES = 20  # by how many a network that is trained on from is normalised


class Appearance(nn.Module):
    """Pictures and facts to (log-odds that the candidate is true, log-odds of each pixel).

    2 x 2 pixels are folded into channels; three levels, and a way back that is learned for what it teaches the levels.
    """

    def __init__(self) -> None:
        """Draw weights."""
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.fine = _block(4 * len(PLANES) + len(FACTS), fine)
        self.middle, self.coarse = _block(fine, middle), _block(middle, coarse)
        self.up, self.out = _layer(coarse + middle, fine), _layer(2 * fine, fine)
        self.pixels = nn.Conv2d(fine, 4, 1)
        self.head = nn.Sequential(
            nn.Linear(2 * coarse + 1 + len(FACTS), 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 1)
        )

    def forward(self, planes: Tensor, facts: Tensor) -> tuple[Tensor, Tensor]:
        """Take (crop, plane, row, col) and (crop, fact); return (crop,) and (crop, row, col)."""
        everywhere = facts[:, :, None, None].expand(-1, -1, SIZE // 2, SIZE // 2)
        fine = self.fine(torch.cat([functional.pixel_unshuffle(planes, 2), everywhere], 1))
        middle = self.middle(functional.max_pool2d(fine, 2))
        coarse = self.coarse(functional.max_pool2d(middle, 2))
        up = self.up(torch.cat([functional.interpolate(coarse, scale_factor=2.0), middle], 1))
        out = self.out(torch.cat([functional.interpolate(up, scale_factor=2.0), fine], 1))
        pixels = functional.pixel_shuffle(self.pixels(out), 2)
        likeliest = torch.logsumexp(functional.avg_pool2d(pixels, 3, 1).flatten(1), 1, keepdim=True)
        told = [coarse.mean((2, 3)), coarse.amax((2, 3)), likeliest - 7.0, facts]
        return self.head(torch.cat(told, 1))[:, 0], pixels[:, 0]


class _Answer(nn.Module):
    """The answer that is asked for when it is used."""

    def __init__(self, network: Appearance) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor, facts: Tensor) -> Tensor:
        return self.network(planes, facts)[0]


def _layer(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_layer(before, after), *_layer(after, after))


@dataclass(frozen=True, slots=True)
class Example:
    """One candidate: whether it is true, how likely the evidence alone makes it, its pictures (crop, plane, row, col) int8 of 127ths, the last
    plane the truth, and their facts (crop, fact).
    """

    kind: ObjectClass
    true: bool
    confidence: float
    planes: NDArray[np.int8]
    facts: NDArray[np.float32]


def examples(site: Site) -> Iterator[Example]:
    """Yield every candidate of the classes that have an appearance."""
    options = DetectionOptions(min_confidence=0.0, keep_to_limits=False)
    looks = sorted(site.looks, key=lambda look: look.t_utc)
    plain = replace(PRIOR, emissions=stored_verifier().emissions)
    for judged in judged_candidates(looks, aoi_of(looks[0].grid), options, plain):
        if judged.rough.kind in STEP_M:
            yield _example(judged, site)


def _example(judged: Judged, site: Site) -> Example:
    change, window, kind = judged.change, judged.window, judged.rough.kind
    appeared = change.direction is Direction.APPEARED
    inside = footprint_mask(judged.drawn, window)
    crops = crops_of(
        judged.rough.looks, window, judged.rough.found, change.direction, kind, judged.difference, inside
    )
    true = [
        t.footprint
        for t in site.things
        if t.kind == kind and t.changed(change.onset.start, change.onset.end, appeared=appeared)
    ]
    truth = np.zeros((1, *inside.shape), np.float32)
    if true:
        truth[0] = geometry_mask(true, inside.shape, window.grid.transform, invert=True)
    step_px = STEP_M[kind] / window.grid.gsd_m
    truth = softened(truth, step_px)
    everywhere = np.ones(inside.shape, bool)
    labels = np.stack(
        [crop(truth, everywhere, (row, col), azimuth, step_px)[:1] for row, col, azimuth in crops.places]
    )
    stored = np.rint(127.0 * np.concatenate([crops.planes, labels], axis=1)).astype(np.int8)
    return Example(kind, is_true(change, site), change.confidence, stored, crops.facts)


def examples_of(path: Path) -> Path:
    """Cut out a pool site's candidates, keep them beside it, and return where."""
    network = PresenceNetwork.load()
    kept = path.with_suffix(f".{network.weights_sha256[:8]}.crops")
    if not kept.exists():
        keep(kept, list(examples(seen_site(path, network))))
    return kept


@dataclass(frozen=True, slots=True)
class Examples:
    """All candidates of one class; those of candidate ``k`` lie from ``first[k]`` to ``first[k + 1]``."""

    planes: NDArray[np.int8]
    facts: NDArray[np.float32]
    first: NDArray[np.int64]
    true: NDArray[np.bool_]
    confidence: NDArray[np.float64]

    @classmethod
    def read(cls, paths: Sequence[Path], kind: ObjectClass) -> "Examples":
        """Read what ``examples_of`` kept."""
        found = [e for path in paths for e in pickle.loads(path.read_bytes()) if e.kind == kind]
        counts = [len(e.planes) for e in found]
        return cls(
            np.concatenate([e.planes for e in found]),
            np.concatenate([e.facts for e in found]),
            np.concatenate([[0], np.cumsum(counts)]),
            np.array([e.true for e in found]),
            np.array([e.confidence for e in found]),
        )


def disturbed(planes: Tensor, facts: Tensor) -> tuple[Tensor, Tensor]:
    """Turn, mirror, stretch, blur, add noise, shift the detector's odds, and hide sun or detector now and then.

    Where the sun is known, up stays towards it. ``planes`` has the truth behind it.
    """
    count = len(planes)
    facts = facts.clone()
    hidden = torch.rand(count) < HIDDEN_SUN
    facts[hidden, 0], facts[hidden, 1] = 0.25, 0.0
    turn = torch.where(facts[:, 1] < 0.5, torch.rand(count) * 2 * math.pi, 0.06 * torch.randn(count))
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    scale = torch.exp(0.06 * torch.randn(count))
    cosine, sine = torch.cos(turn) * scale, torch.sin(turn) * scale
    move = 0.2 * (torch.rand(count, 2) - 0.5)
    ways = torch.stack(
        [
            torch.stack([cosine * mirror, -sine, move[:, 0]], 1),
            torch.stack([sine * mirror, cosine, move[:, 1]], 1),
        ],
        1,
    )
    grid = functional.affine_grid(ways, [count, 1, SIZE, SIZE], align_corners=False)
    planes = functional.grid_sample(planes, grid, align_corners=False)

    def each(size: int = 1) -> Tensor:
        return torch.randn(count, size, 1, 1)

    light = planes[:, LIGHT] * torch.exp(0.35 * each()) + 0.02 * each()
    light = light + torch.randn_like(light) * 0.06 * torch.rand(count, 1, 1, 1)
    blurred = (torch.rand(count, 1, 1, 1) < 0.25).float()
    planes[:, LIGHT] = (blurred * functional.avg_pool2d(light, 3, 1, 1) + (1 - blurred) * light).clamp(
        -1.0, 1.0
    )
    shown = (torch.rand(count, 1, 1, 1) >= HIDDEN_EVIDENCE).float()
    planes[:, ODDS] = shown * (planes[:, ODDS] + 0.12 * each() + 0.04 * each(3))
    return planes, facts


class Batches:
    """Draws disturbed pictures of candidates: (planes, facts, whether each is true)."""

    def __init__(self, known: Examples, seed: int) -> None:
        """Draw by a seed; torch's own must be set beside it."""
        self.known, self.rng = known, np.random.default_rng(seed)
        self.true, self.false = np.flatnonzero(known.true), np.flatnonzero(~known.true)
        odds = np.sqrt(known.confidence[self.false] + 0.03)
        self.share = odds / odds.sum()

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next batch; ``planes`` has the truth behind it."""
        known = self.known
        chosen = np.concatenate(
            [
                self.rng.choice(self.true, BATCH // TRUE_SHARE),
                self.rng.choice(self.false, BATCH - BATCH // TRUE_SHARE, p=self.share),
            ]
        )
        at = self.rng.integers(known.first[chosen], known.first[chosen + 1])
        planes, facts = disturbed(
            torch.from_numpy(known.planes[at]).float() / 127, torch.from_numpy(known.facts[at])
        )
        return planes, facts, torch.from_numpy(known.true[chosen].astype(np.float32))


def started(start: Path | None, batches: Batches) -> Appearance:
    """Return a network with drawn weights, or an exported one as it can be trained on from."""
    network = Appearance().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        unfold(network, start)
        some = (batches.draw() for _ in range(MEASURED_BATCHES))
        normalise(network, ((planes[:, :-1], facts) for planes, facts, _ in some))
    return network


def train(known: Examples, minutes: float, seed: int, start: Path | None) -> tuple[Appearance, int]:
    """Train for some minutes; return the running mean of the weights, or what lies between it and ``start``, and after how many steps."""
    torch.manual_seed(seed)
    batches = Batches(known, seed)
    network = started(start, batches)
    rate = RATE if start is None else RATE_ON
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=DECAY)
    running, kept = copy.deepcopy(network), copy.deepcopy(network)
    began, step = time.monotonic(), 0
    heard: list[tuple[float, float]] = []
    while (share := (time.monotonic() - began) / 60 / minutes) < 1.0:
        step += 1
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, step / 100) * (0.5 * (1 + math.cos(math.pi * share)) + 0.01)
        planes, facts, true = batches.draw()
        network.train()
        whole, pixels = network(planes[:, :-1], facts)
        said = true * (2 * SURE - 1) + 1 - SURE
        of_all = functional.binary_cross_entropy_with_logits(whole, said)
        of_pixels = functional.binary_cross_entropy_with_logits(
            pixels, (planes[:, -1] > 0.5).float(), pos_weight=torch.tensor(TRUE_PIXEL_WEIGHT)
        )
        optimiser.zero_grad()
        (of_all + of_pixels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if step % 10 == 0:
            average(running, network, min(0.92, step / (step + 100)))
        heard.append((of_all.item(), of_pixels.item()))
        if step % 500 == 0:
            print(step, f"{100 * share:.0f} %", np.mean(heard[-500:], axis=0).round(3), flush=True)
    average(kept, running, 0.0 if start is None else 1 - NEW_SHARE)
    return kept.eval(), step


def export(network: Appearance, target: Path) -> None:
    """Write what answers ``planes`` (crop, plane, row, col) and ``facts`` (crop, fact) with ``log_odds`` (crop,), weights halved."""
    example = torch.zeros(2, len(PLANES), SIZE, SIZE), torch.zeros(2, len(FACTS))
    several = {name: {0: "crop"} for name in ("planes", "facts", "log_odds")}
    torch.onnx.export(
        _Answer(network).eval(), example, str(target), input_names=["planes", "facts"], output_names=["log_odds"],
        opset_version=17, dynamic_axes=several, dynamo=False,
    )  # fmt: skip
    onnx.save(halved(onnx.load(target)), target)


def main(argv: list[str] | None = None) -> int:
    """Render what is missing, cut out, train, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--sites", type=int, default=156)
    parser.add_argument("--drawn", type=int, default=156, help="how many sites of the plain compositor")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first rendered site")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=25.0, help="for each class")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--start", type=Path, help="folder of the exported networks to train on from")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    arguments = parser.parse_args(argv)
    for folder in (arguments.pool, arguments.out):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first, arguments.first + arguments.sites)
    drawn = range(FIRST_DRAWN_SEED, FIRST_DRAWN_SEED + arguments.drawn)
    with ProcessPoolExecutor(arguments.workers) as pool:
        paths = list(pool.map(partial(rendered_site, folder=arguments.pool), seeds))
        paths += pool.map(partial(drawn_in_pool, folder=arguments.pool), drawn)
        kept = list(pool.map(examples_of, paths, chunksize=4))
    torch.set_num_threads(arguments.workers)
    card: dict[str, object] = {
        "made_by": "training/fit_appearance.py",
        "data": f"{arguments.sites} rendered sites, seeds from {arguments.first}, {arguments.drawn} drawn ones, seeds from {FIRST_DRAWN_SEED}; no real scenes",
        "network_sha256": PresenceNetwork.load().weights_sha256,
        "seed": arguments.seed,
    }
    sums, counts = {}, {}
    for kind in STEP_M:
        known = Examples.read(kept, kind)
        name = f"appearance_{kind}.onnx"
        start = arguments.start / name if arguments.start else None
        said: dict[str, object] = {"true": int(known.true.sum()), "false": int((~known.true).sum())}
        if start is not None:
            said |= {"started_from": sha256_of(start), "new_share": NEW_SHARE}
        print(kind, said, flush=True)
        network, said["steps"] = train(known, arguments.minutes, arguments.seed, start)
        said["minutes"] = arguments.minutes
        export(network, arguments.out / name)
        counts[str(kind)], sums[str(kind)] = said, sha256_of(arguments.out / name)
    (arguments.out / CARD).write_text(json.dumps(card | {"sha256": sums, "classes": counts}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
