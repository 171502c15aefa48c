"""Two reports compared: every kind with its reason, and nothing told as lost that merely was not made."""

import csv
import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from imagery.errors import DepotwatchError
from pipelines.comparison import (
    NOT_EXPLAINED,
    Comparison,
    Entry,
    Kind,
    Side,
    SiteComparison,
    Told,
    compare_reports,
    read_report,
)
from pipelines.comparison_page import comparison_csv, comparison_files, comparison_html, headline

METRE = 1 / 111_320
DAYS = ("2024-05-01T10:00:00Z", "2024-06-01T10:00:00Z", "2024-07-01T10:00:00Z", "2024-08-01T10:00:00Z")
OUTLINE = {
    "type": "Polygon",
    "coordinates": [[[30.0, 0.0], [30.01, 0.0], [30.01, 0.01], [30.0, 0.01], [30.0, 0.0]]],
}


def change(name: str, east: float, *, look: int = 1, size: float = 6.0, **told: Any) -> dict[str, Any]:
    """A change first seen in one of four looks, its lower left corner ``east`` metres into the site."""
    west, south = 30.0 + east * METRE, 100 * METRE
    corners = [(west, south), (west + size * METRE, south), (west + size * METRE, south + 3 * METRE)]
    ring = [*map(list, corners), [west, south + 3 * METRE], [west, south]]
    properties = {
        "id": name, "change_type": "container", "direction": "appeared", "status": "confirmed",
        "last_absent": DAYS[look - 1], "first_seen": DAYS[look], "confidence": 0.8, "gsd": 0.5,
        "count": 2, "count_low": 1.0, "count_high": 3.0, "area_m2": 18.0,
        "before_scene": f"s{look - 1}", "after_scene": f"s{look}", "scene_ids": [f"s{i}" for i in range(look - 1, 4)],
    } | told  # fmt: skip
    return {"type": "Feature", "id": name, "properties": properties,
            "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip


def look(number: int, **other: Any) -> dict[str, Any]:
    return {
        "scene_id": f"s{number}", "datetime": DAYS[number], "used": True, "reference": number == 0,
        "usable_fraction": 1.0, "displacement": {"east_m": 1.0, "north_m": 0.0}, "state": "use", "notes": [],
    } | other  # fmt: skip


def told(*features: dict[str, Any], current: bool = False, **report: Any) -> Told:
    whole = {
        "processing_version": "one",
        "site": {"name": "yard", "aoi": OUTLINE},
        "parameters": {"min_confidence": "None", "max_shift_m": "25.0"},
        "versions": {"algorithm": "aaa"},
        "looks": [look(i) for i in range(4)],
        "generated_from": [],
    } | report
    return Told(Side("report-x", 3, "2026-11-01T00:00:00Z", "one", current), whole, features)


def only(found: SiteComparison) -> Entry:
    (entry,) = found.entries
    return entry


def test_a_report_compared_with_itself_differs_in_nothing() -> None:
    one = told(change("a", 10), change("b", 50))
    found = compare_reports(one, one)
    assert (found.entries, found.unchanged, found.retold, found.causes) == ((), 2, 0, ())
    assert "Nothing is told otherwise; 2 changes told alike." in headline(Comparison((found,)))


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (change("a", 17), Kind.MOVED),
        (change("a", 10, change_type="berm"), Kind.RECLASSIFIED),
        (change("a", 10, look=2), Kind.REDATED),
        (change("a", 10, count=3), Kind.RECOUNTED),
    ],
)
def test_each_kind_is_told_with_both_sides(after: dict[str, Any], kind: Kind) -> None:
    entry = only(compare_reports(told(change("a", 10)), told(after)))
    assert entry.kind is kind
    assert entry.before is not None
    assert entry.after == after["properties"]
    assert entry.reasons


def test_new_and_lost_are_told_from_their_side() -> None:
    found = compare_reports(told(change("a", 10)), told(change("b", 90)))
    assert [(e.kind, e.before is None, e.after is None) for e in found.entries] == [
        (Kind.NEW, True, False),
        (Kind.LOST, False, True),
    ]
    assert found.counts["new"] == found.counts["lost"] == 1


def test_several_kinds_of_one_change_are_all_named() -> None:
    after = change("a", 10, look=2, change_type="other", count=None)
    entry = only(compare_reports(told(change("a", 10, look=1)), told(change("a", 10, count=5, look=1))))
    assert (entry.kind, entry.also) == (Kind.RECOUNTED, ())
    wide = change("a", 10, last_absent=DAYS[0], first_seen=DAYS[2])
    entry = only(compare_reports(told(wide), told(after)))
    assert (entry.kind, entry.also) == (Kind.RECLASSIFIED, (Kind.REDATED, Kind.RECOUNTED))


def test_an_area_is_another_only_past_a_fifth() -> None:
    one = told(change("a", 10, count=None, area_m2=100.0))
    assert compare_reports(one, told(change("a", 10, count=None, area_m2=115.0))).retold == 1
    assert only(compare_reports(one, told(change("a", 10, count=None, area_m2=140.0)))).kind is Kind.RECOUNTED


def test_a_change_under_the_new_threshold_is_lost_for_that_reason() -> None:
    after = told(parameters={"min_confidence": "0.9", "max_shift_m": "25.0"})
    found = compare_reports(told(change("a", 10)), after)
    assert only(found).reasons == (
        "Its confidence of 0.80 lies below the least to be reported, which is 0.9.",
    )
    assert [(c.step, c.scene) for c in found.causes] == [("detection", None)]
    assert "min_confidence, of the step detection, was the default and is 0.9" in found.reasons[0]
    (back,) = compare_reports(after, told(change("a", 10))).entries
    assert "which was 0.9" in back.reasons[0]


def test_a_date_moves_because_a_look_dropped_out_and_the_look_is_named() -> None:
    looks = [look(0), look(1, used=False, state="not_registered"), look(2), look(3)]
    entry = only(compare_reports(told(change("a", 10)), told(change("a", 10, look=2), looks=looks)))
    assert any("ends with scene s2 of 1 July 2024 instead of s1 of 1 June 2024" in r for r in entry.reasons)
    assert any(
        "s1 of 1 June 2024 was used before and is not now: it could not be lined up" in r
        for r in entry.reasons
    )


def test_a_look_used_in_both_whose_verdict_flipped_is_named() -> None:
    entry = only(compare_reports(told(change("a", 10, look=1)), told(change("a", 10, look=2))))
    assert "Scene s1 of 1 June 2024 spoke for it before and does not now." in entry.reasons


def test_what_the_looks_do_not_explain_is_laid_to_code_or_to_nothing() -> None:
    one, other = told(change("a", 10)), told(versions={"algorithm": "bbb"})
    assert only(compare_reports(one, other)).reasons == (
        "The code of the analysis is another one: aaa before, bbb now.",
    )
    assert only(compare_reports(one, told())).reasons == (NOT_EXPLAINED,)


def test_a_step_of_another_version_is_named_beside_the_code() -> None:
    one = told(change("a", 10), versions={"algorithm": "aaa", "step-chip": "2", "step-evidence": "9"})
    other = told(versions={"algorithm": "bbb", "step-chip": "2", "step-evidence": "10"})
    found = compare_reports(one, other)
    assert [c.step for c in found.causes] == ["evidence", "code"]
    assert only(found).reasons[0] == (
        "The method of the step evidence is another one: version 9 before, 10 now."
    )
    unrecorded = compare_reports(told(change("a", 10)), other)
    assert [c.step for c in unrecorded.causes] == ["code"]


def test_every_look_that_differs_is_a_cause_with_its_step() -> None:
    files = [{"scene_id": "s2", "files": [{"path": "x.tif", "sha256": "1"}]}]
    looks = [
        look(0),
        look(1, displacement={"east_m": 1.0, "north_m": 3.0}),
        look(2),
        look(3, usable_fraction=0.5),
    ]
    found = compare_reports(
        told(generated_from=[{"scene_id": "s2", "files": [{"path": "x.tif", "sha256": "0"}]}]),
        told(looks=looks, generated_from=files),
    )
    assert [(c.scene, c.step) for c in found.causes] == [
        ("s1", "displacement"),
        ("s2", "chip"),
        ("s3", "evidence"),
    ]
    gone = compare_reports(told(), told(looks=[look(0), look(1)]))
    assert [c.scene for c in gone.causes] == ["s2", "s3"]
    assert {c.step for c in gone.causes} == {"scenes"}


def test_of_a_split_the_part_names_the_whole() -> None:
    found = compare_reports(
        told(change("a", 10, size=20.0)), told(change("a", 10, size=12.0), change("b", 23, size=7.0))
    )
    (new,) = [e for e in found.entries if e.kind is Kind.NEW]
    assert (new.part_of, new.reasons[0]) == ("a", "It was part of the change a.")


def test_a_site_without_a_report_gets_new_ones_and_one_not_made_again_loses_none() -> None:
    first = compare_reports(None, told(change("a", 10)))
    assert (first.before, only(first).kind) == (None, Kind.NEW)
    failed = compare_reports(told(change("a", 10), current=True), None)
    assert (failed.entries, failed.after, failed.changes_published) == ((), None, False)


def test_two_places_are_not_compared() -> None:
    far = {"type": "Polygon", "coordinates": [[[9.0, 0.0], [9.01, 0.0], [9.01, 0.01], [9.0, 0.0]]]}
    with pytest.raises(DepotwatchError) as caught:
        compare_reports(told(), told(site={"name": "elsewhere", "aoi": far}))
    assert caught.value.code == "other-site"


def test_what_is_published_is_told_apart() -> None:
    changed = compare_reports(told(change("a", 10), current=True), told(change("a", 10, count=3)), "site-1")
    same = compare_reports(told(change("a", 10), current=True), told(change("a", 10)), "site-2")
    waiting = compare_reports(told(change("a", 10)), told(), "site-3")
    both = Comparison((changed, same, waiting))
    assert both.as_json()["published"] == [{"site": "site-1", "report": "report-x"}]
    assert both.totals["recounted"] == both.totals["lost"] == 1
    assert "The published reports of 1 of 2 sites differ." in headline(both)
    quiet = compare_reports(told(change("a", 10), current=True), told(change("a", 10, confidence=0.7)))
    assert (quiet.entries, quiet.retold, quiet.changes_published) == ((), 1, True)


def test_a_scene_that_cannot_be_read_is_not_told_as_gone() -> None:
    looks, why = [look(0), look(1), look(3)], "s2.tif: is truncated; copy it again"
    for where in ("s2", "s2.tif"):
        refused = [{"where": where, "code": "unreadable-raster", "detail": why}]
        (cause,) = compare_reports(told(), told(looks=looks, refused=refused)).causes
        assert cause.sentence == f"Scene s2 of 1 July 2024 could not be read now: {why}."
        (cause,) = compare_reports(told(looks=looks, refused=refused), told()).causes
        assert cause.sentence == f"Scene s2 of 1 July 2024 could not be read before: {why}."


def test_every_difference_has_its_number_on_the_map_however_near_another_lies() -> None:
    """What went and came at one place lies under one mark otherwise, and the map shows fewer than the table lists."""
    there = [change(name, east) for name, east in (("a", 10), ("b", 11), ("c", 12), ("d", 700))]
    page = comparison_html(Comparison((compare_reports(told(), told(*there)),))).decode()
    drawing = re.search(r'<svg class="map".*?</svg>', page, re.DOTALL)
    assert drawing is not None
    numbers = ", ".join(re.findall(r'class="tag"[^>]*>([^<]+)<', drawing.group()))
    assert sorted(numbers.split(", ")) == ["1", "2", "3", "4"]
    places = re.findall(r'<polygon class="mark[^>]*points="([^ ]+)', drawing.group())
    across = sorted(float(place.split(",")[0]) for place in places)
    assert len(across) == 4
    assert all(right - left >= 18 for left, right in pairwise(across))


def test_the_table_and_the_page_tell_what_the_json_does() -> None:
    nasty = change("b", 90, change_type="<b>crane</b>", direction="removed")
    found = compare_reports(
        told(change("a", 10), current=True), told(change("a", 10, look=2), nasty), "=site"
    )
    whole = Comparison((found, compare_reports(told(), told())))
    table = list(csv.DictReader(io.StringIO(comparison_csv(whole).decode())))
    rows = [row for row in table if row["kind"] != "report"]
    assert [row["kind"] for row in rows] == ["new", "redated"] == [str(e.kind) for e in found.entries]
    assert rows[0]["site"] == "'=site"
    assert (rows[1]["first_seen_before"], rows[1]["first_seen_after"]) == (DAYS[1], DAYS[2])
    page = comparison_html(whole).decode()
    assert "<b>crane</b>" not in page
    assert "<script" not in page
    for reason in found.entries[1].reasons:
        assert reason in page
    assert json.loads(json.dumps(whole.as_json()))["totals"]["new"] == 1
    assert comparison_files(whole) == comparison_files(whole)


def test_the_table_has_a_row_for_every_site_also_where_no_change_differs() -> None:
    quiet = compare_reports(told(change("a", 10), current=True), told(change("a", 10, confidence=0.7)), "s-1")
    note = "No report was made (the unit is failed): no-room: the disk is full"
    failed = replace(compare_reports(told(change("a", 10), current=True), None, "s-2"), notes=(note,))
    same = compare_reports(told(), told(), "s-3")
    table = comparison_csv(Comparison((quiet, failed, same))).decode()
    one, other, third = csv.DictReader(io.StringIO(table))
    assert {row["kind"] for row in (one, other, third)} == {"report"}
    assert (one["site"], one["published"], one["id_after"]) == ("s-1", "true", "report-x")
    assert one["reasons"].startswith("1 of the changes told alike differ in confidence, status")
    assert (other["id_before"], other["id_after"], other["reasons"]) == ("report-x", "", note)
    assert (third["published"], third["reasons"]) == ("false", "")


def test_a_site_across_the_antimeridian_is_drawn_and_matched_in_one_piece() -> None:
    def at(name: str, west: float) -> dict[str, Any]:
        made = change(name, 0)
        ring = [[west + x * METRE, y * METRE] for x, y in ((0, 0), (9, 0), (9, 9), (0, 9), (0, 0))]
        return {**made, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    west, east = at("a", 180.0 - 40 * METRE), at("b", -180.0 + 40 * METRE)
    assert compare_reports(told(west, east, site={}), told(east, west, site={})).unchanged == 2
    found = compare_reports(told(west, site={}), told(east, site={}))
    assert found.counts["lost"] == found.counts["new"] == 1
    assert "200 m" not in comparison_html(Comparison((found,))).decode()


def test_a_folder_is_read_or_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(DepotwatchError, match=r"holds no report: report\.json"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text('{"processing_version": "v"}')
    (tmp_path / "changes.geojson").write_text('{"features": [{"id": 1}]}')
    with pytest.raises(DepotwatchError, match="holds no report that this version reads"):
        read_report(tmp_path)
    whole = told(change("a", 10))
    (tmp_path / "report.json").write_text(json.dumps(dict(whole.report)))
    (tmp_path / "changes.geojson").write_text(json.dumps({"features": list(whole.features)}))
    again = read_report(tmp_path)
    assert (again.side.report, again.features) == (tmp_path.name, list(whole.features))
