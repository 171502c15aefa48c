"""Run the analysis that a ``report.json`` tells of once more, from the scenes it was made from."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import shapely

from imagery.errors import DepotwatchError
from pipelines.analysis import Site
from pipelines.parameters import Parameters, parameters_from
from pipelines.site import analyse


class NotReplayable(DepotwatchError):
    """A report that does not say enough, or not in our words, to be run again."""

    code = "not-replayable"


def site_of(report: Mapping[str, Any]) -> Site:
    """Return the site exactly as it was given, from its AOI at full precision."""
    site = report["site"]
    return Site(str(site["name"]), shapely.from_wkb(bytes.fromhex(site["aoi_wkb"])))


def period_of(report: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """Return the period that was asked for, None where none was."""
    period = report["period"]
    if not period or not period["given"]:
        return None
    return datetime.fromisoformat(period["start"]), datetime.fromisoformat(period["end"])


def parameters_of(report: Mapping[str, Any]) -> Parameters:
    """Return the parameters, which reports hold as Python literals."""
    values = {name: ast.literal_eval(text) for name, text in report["parameters"].items()}
    return parameters_from({name: value for name, value in values.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a report was asked to tell: of which site, over which period, with which parameters."""

    site: Site
    period: tuple[datetime, datetime] | None
    parameters: Parameters


def recorded(report: Mapping[str, Any]) -> Recorded:
    """Return what a report says about its own making.

    Raises
    ------
    NotReplayable : it lacks what running it again takes
    """
    try:
        return Recorded(site_of(report), period_of(report), parameters_of(report))
    except (KeyError, TypeError, ValueError, SyntaxError, shapely.errors.ShapelyError) as error:
        raise NotReplayable(f"report.json does not say how it was made: {error}") from error


def replay(report: Mapping[str, Any], catalog: Path, out: Path) -> None:
    """Analyse again and write the report's files to ``out``.

    Raises
    ------
    NotReplayable : the report lacks what that takes
    DepotwatchError : the catalogue cannot be used
    """
    asked = recorded(report)
    analyse(
        catalog=str(catalog),
        site=asked.site,
        out=out,
        period=asked.period,
        parameters=asked.parameters,
        nothing_is_an_error=False,
    )
