"""Fit what ``imagery.delineation`` asks: which pixels about a container that came or went are the container.

    python -m training.fit_delineation --pool FOLDER [--sites N] [--workers 2] [--out WEIGHTS]

Sites are rendered with seeds that neither network was fitted on and seen through the shipped one; the verifier is fitted on
them too, which judges before anything is drawn here.
Every place that the change finder would draw and that holds true containers gives pixels; boosted trees learn which of
them lie in the true outlines. One in five places hides its sun, as an archive may. What is printed of sites left out says
how well outlines fit; the trees are written as ONNX, with a card beside them.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely import union_all
from shapely.geometry.base import BaseGeometry

from imagery.calibration import stored_verifier
from imagery.changes import Direction, ObjectClass
from imagery.delineation import CARD, SUNWARD_M, WEIGHTS, names, surroundings
from imagery.detection import DetectionOptions, rough_changes
from imagery.evidence.network import PresenceNetwork
from imagery.grid import SiteGrid
from imagery.objects import outline
from imagery.verification import presence_difference
from training.fit_verifier import Site, aoi_of, rendered_site, seen_site

FIRST_SEED = 760_000
BOOSTING = {
    "max_iter": 250, "learning_rate": 0.08, "max_leaf_nodes": 15, "min_samples_leaf": 200, "l2_regularization": 10.0,
    "max_features": 0.4, "random_state": 1,
}  # fmt: skip
PIXELS_A_PLACE = 600
HIDDEN_SUN = 0.2
# A place whose outline holds less of true containers teaches nothing of their edges.
LEAST_IOU = 0.05
FOLDS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """One place that is drawn: what its pixels show, which are true, and how outlines of it compare with the truth."""

    site: str
    core: NDArray[np.bool_]
    grid: SiteGrid
    asked: NDArray[np.bool_]
    values: NDArray[np.float32]
    truth: NDArray[np.bool_]
    outlines: BaseGeometry
    drawn: BaseGeometry


def places(site: Site) -> list[Place]:
    """Return the places of a site that hold true containers."""
    return list(_places(site))


def _places(site: Site) -> Iterator[Place]:
    options = DetectionOptions(min_confidence=0.0, keep_to_limits=False)
    aoi, verifier = aoi_of(site.looks[0].grid), stored_verifier()
    for rough, window in rough_changes(site.looks, aoi, options, verifier, ObjectClass.CONTAINER):
        looks, place, found = rough.looks, rough.place, rough.found
        difference = presence_difference(window, found, place.direction)
        drawn = outline(difference, window.core, ObjectClass.CONTAINER, window.grid)
        start, end = looks[found.before].t_utc, looks[found.after].t_utc
        appeared = place.direction is Direction.APPEARED
        true = [
            thing.footprint
            for thing in site.things
            if thing.kind == "container" and thing.changed(start, end, appeared=appeared)
        ]
        if drawn is None or not true:
            continue
        near = union_all([t for t in true if t.distance(drawn.footprint) < 3.0])
        if near.is_empty or iou(near, drawn.footprint) < LEAST_IOU:
            continue
        shown = surroundings(looks, window, found, place.direction, difference)
        inside = geometry_mask([union_all(true)], window.grid.shape, window.grid.transform, invert=True)
        yield Place(
            site.name,
            window.core,
            window.grid,
            shown.asked,
            shown.values,
            inside[shown.asked],
            near,
            drawn.footprint,
        )


def iou(one: BaseGeometry, other: BaseGeometry) -> float:
    """Return the area two outlines share over the area of both."""
    shared = one.intersection(other).area
    return float(shared / (one.area + other.area - shared))


def fit(known: Sequence[Place]) -> Any:
    """Fit the trees on some places, each weighing as the root of its pixels."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(7)
    sunward = [k for k, name in enumerate(names()) if name == "shadow" or name in _sunward_names()]
    values, truth, weight = [], [], []
    for place in known:
        count = min(len(place.truth), PIXELS_A_PLACE)
        at = rng.choice(len(place.truth), count, replace=False)
        drawn = place.values[at].copy()
        if rng.random() < HIDDEN_SUN:
            drawn[:, sunward] = np.nan
        values.append(drawn)
        truth.append(place.truth[at])
        weight.append(np.full(count, count**-0.5 if count else 0.0))
    model = HistGradientBoostingClassifier(**BOOSTING)
    return model.fit(np.concatenate(values), np.concatenate(truth), np.concatenate(weight))


def _sunward_names() -> set[str]:
    return {f"{what}_{distance:g}" for what in ("difference", "light") for distance in SUNWARD_M}


def report(known: Sequence[Place]) -> dict[str, Any]:
    """Return how outlines of sites left out fit, before and after, by pixel size."""
    sites = sorted({place.site for place in known})
    fold = {name: k % FOLDS for k, name in enumerate(sites)}
    scores: list[tuple[float, float, float]] = []
    for k in range(FOLDS):
        model = fit([place for place in known if fold[place.site] != k])
        for place in known:
            if fold[place.site] == k:
                scores.append((place.grid.gsd_m, iou(place.outlines, place.drawn), _drawn_by(model, place)))
    told = {}
    for low, high in ((0.0, 0.45), (0.45, 0.6), (0.6, 0.85), (0.85, 1.25), (1.25, 4.0)):
        found = np.array([s[1:] for s in scores if low < s[0] <= high])
        if len(found):
            told[f"to {high:g} m"] = {
                "places": len(found),
                "at_iou_0.5_before": round(float((found[:, 0] >= 0.5).mean()), 3),
                "at_iou_0.5": round(float((found[:, 1] >= 0.5).mean()), 3),
                "mean_iou_before": round(float(found[:, 0].mean()), 3),
                "mean_iou": round(float(found[:, 1].mean()), 3),
            }
    return told


def _drawn_by(model: Any, place: Place) -> float:
    membership = np.zeros(place.asked.shape, np.float32)
    membership[place.asked] = model.predict_proba(place.values)[:, 1]
    drawn = outline(membership, place.core, ObjectClass.CONTAINER, place.grid)
    return 0.0 if drawn is None else iou(place.outlines, drawn.footprint)


def written(model: Any) -> bytes:
    """Return fitted trees as an ONNX model: ``values`` (pixel, number) float32 to ``log_odds`` (pixel, 1) float32."""
    from onnx import TensorProto, checker, helper

    nodes: dict[str, list[Any]] = {
        name: []
        for name in (
            "treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true",
        )
    }  # fmt: skip
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, (predictor,) in enumerate(model._predictors):
        for node, said in enumerate(predictor.nodes):
            leaf = bool(said["is_leaf"])
            row = {
                "treeids": number,
                "nodeids": node,
                "featureids": 0 if leaf else int(said["feature_idx"]),
                "values": 0.0 if leaf else float(np.nan_to_num(said["num_threshold"], posinf=3e38)),
                "modes": "LEAF" if leaf else "BRANCH_LEQ",
                "truenodeids": 0 if leaf else int(said["left"]),
                "falsenodeids": 0 if leaf else int(said["right"]),
                "missing_value_tracks_true": int(not leaf and bool(said["missing_go_to_left"])),
            }
            for name, value in row.items():
                nodes[name].append(value)
            if leaf:
                for name, value in (
                    ("treeids", number),
                    ("nodeids", node),
                    ("ids", 0),
                    ("weights", float(said["value"])),
                ):
                    leaves[name].append(value)
    trees = helper.make_node(
        "TreeEnsembleRegressor", ["values"], ["log_odds"], domain="ai.onnx.ml", n_targets=1,
        base_values=[float(model._baseline_prediction.ravel()[0])],
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"target_{name}": values for name, values in leaves.items()},
    )  # fmt: skip
    graph = helper.make_graph(
        [trees],
        "delineation",
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, [None, len(names())])],
        [helper.make_tensor_value_info("log_odds", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="depotwatch")
    checker.check_model(made)
    return bytes(made.SerializeToString())


def main(argv: list[str] | None = None) -> int:
    """Render what is missing, fit, report, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    arguments = parser.parse_args(argv)
    arguments.pool.mkdir(parents=True, exist_ok=True)
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.sites)
    with ProcessPoolExecutor(arguments.workers) as pool:
        paths = list(pool.map(partial(rendered_site, folder=arguments.pool), seeds))
        known = [place for found in pool.map(_places_of, paths, chunksize=4) for place in found]
    known = [place for place in known if place.truth.size]
    told = report(known)
    print(json.dumps(told, indent=1))
    content = written(fit(known))
    arguments.out.write_bytes(content)
    card = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "made_by": "training/fit_delineation.py",
        "data": f"{arguments.sites} rendered sites, seeds from {FIRST_SEED}; {len(known)} places, rendered scenes only",
        "network_sha256": PresenceNetwork.load().weights_sha256,
        "values": names(),
        "boosting": BOOSTING,
        "left_out": told,
    }
    arguments.out.with_name(CARD).write_text(json.dumps(card, indent=1) + "\n")
    return 0


def _places_of(path: Path) -> list[Place]:
    return places(seen_site(path, PresenceNetwork.load()))


if __name__ == "__main__":
    sys.exit(main())
