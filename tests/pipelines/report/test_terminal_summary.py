"""What a person at a terminal reads of a finished analysis: the report's own words, and no stronger ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from imagery.changes import Estimate
from imagery.lifecycle import CONFIRMED_FROM
from imagery.timeseries import COARSE_CONFIRMED_FROM
from pipelines.report import wording
from pipelines.report.html_page import claim
from service.summary import summary_lines


def test_the_lines_say_what_the_report_says(site: Any) -> None:
    detection = site.analysis.detection
    many = replace(detection.changes[0], count=Estimate(27.0, 13.0, 81.0))
    analysis = replace(site.analysis, detection=replace(detection, changes=(many, *detection.changes[1:])))
    lines = summary_lines(analysis, Path("out"))
    assert lines[1] == f"  {claim(analysis)}"
    assert f"  - {wording.statement(many)} Confirmed, confidence 0.97" in lines
    told = "\n".join(lines)
    assert "27 objects consistent with containers (90 % interval 13\u201381) appeared between" in told
    assert "container(s)" not in told
    assert " berm appeared" not in told.replace("consistent with a berm", "")


def test_nothing_found_is_said_with_what_it_covers(site: Any) -> None:
    nothing = replace(site.analysis, detection=replace(site.analysis.detection, changes=()))
    assert summary_lines(nothing, Path("out"))[1].startswith(
        "  No change was found. That covers objects consistent with containers"
    )


def test_the_method_tells_the_whole_ladder() -> None:
    told = " ".join(wording.METHOD)
    assert "two independent looks to be provisional" in told
    assert (
        f"a confidence of at least {CONFIRMED_FROM:g} to be confirmed ({COARSE_CONFIRMED_FROM:g} where pixels"
        in told
    )
    assert "stays provisional, however many looks" in told
