"""The pages say what the files say, and the runs they come from work on a small site."""

import argparse
import json

import pytest

from benchmarks import detection, detection_docs, scoring, throughput
from benchmarks.second_renderer import render

NUMBER = {"value": 0.5, "low": 0.25, "high": 0.75}


def test_a_number_is_shown_with_its_interval_and_a_missing_one_as_a_dash():
    assert detection_docs.shown(NUMBER) == "0.50 (0.25-0.75)"
    assert detection_docs.shown({"value": 3.0, "low": None, "high": None}, 0) == "3"
    assert detection_docs.shown({"value": None}) == "-"


def test_loss_between_renderers_is_ours_minus_theirs():
    cell = "container.appeared.iou0.3.f1"
    sets = {
        "pair_0.5m": {"numbers": {cell: {"value": 0.8}}},
        "second_pair_0.5m": {"numbers": {cell: {"value": 0.7}}},
    }
    assert "| 0.80 | 0.70 | +0.10 |" in detection_docs.drop_lines(sets)


def test_results_of_sets_not_run_now_are_kept_and_not_a_number_becomes_null(tmp_path):
    path = tmp_path / "results" / "detection.json"
    detection.write_results({"a": {"x": 1.0}}, path, network=False)
    detection.write_results({"b": {"x": float("nan")}}, path, network=False)
    assert json.loads(path.read_text())["sets"] == {"a": {"x": 1.0}, "b": {"x": None}}


@pytest.mark.long
def test_a_painted_site_goes_through_analysis_scorer_peers_and_page(tmp_path):
    test = detection.TestSet(
        "second_pair_0.5m",
        "rendered",
        lambda out, seed: render(out, seed=seed, looks=2, gsd_m=1.0, side_m=220.0, cloudy=0.0),
        1,
        "two dates",
        peers=True,
    )
    outcome = detection.run_set(test, 1, tmp_path, network=False)
    assert outcome.failures == []
    assert set(outcome.peer_scores) == {"cva", "irmad", "ssim"}
    found = {"sets": {test.name: detection.as_json(test, outcome)}, "run": {"network": False}}
    path = tmp_path / "d.json"
    detection.write_results(found["sets"], path, network=False)
    page = detection_docs.detection_page(json.loads(path.read_text()))
    assert "| second_pair_0.5m | cva |" in page


def test_the_floor_reads_every_pixel_and_its_cost_is_told(tmp_path):
    case = throughput.Case("tiny", 128, 1.0, 2, "tiny")
    throughput.write_scenes(tmp_path / "tiny", case)
    said = throughput.measure_floor(argparse.Namespace(catalog=tmp_path / "tiny" / "catalog.json"))
    assert said["check"] > 0
    assert said["peak_mib"] > 10
    links = json.loads((tmp_path / "tiny" / "catalog-but-one.json").read_text())["links"]
    assert sum(link["rel"] == "item" for link in links) == 1


def test_real_false_alarms_are_counted_per_km2_for_our_classes_only():
    places = []
    for area, claims in (
        (2.0, {"container": 3, "berm": 0, "other": 9}),
        (1.0, {"container": 0, "berm": 0, "other": 1}),
    ):
        score = scoring.SiteScore("a", area, 2.0, 1.0)
        score.claimed = {"confirmed": claims}
        places.append(score)
    rate = detection.named_false_alarms(places, "confirmed")
    assert rate["value"] == 1.0
    assert rate["low"] <= rate["value"] <= rate["high"]
