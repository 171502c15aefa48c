"""``registration.json``: how each look was brought onto the site's grid and scale, for making its pixels again.

``looks.geojson`` tells a look's displacement at one point, to be read. Here is all of it (linear part, smooth field,
gains per band) and the one stretch that pictures of the site are drawn with: with the scene's file, whose hash is
given, this is enough to draw any look as the report drew it.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from imagery.displacement import Displacement, DisplacementField, RegistrationState
from pipelines.analysis import Analysis, LookSummary
from pipelines.report.canonical import number, rfc3339
from pipelines.report.rendering import Stretch

SCHEMA = "depotwatch-registration/1"
FIELD_DIGITS = 4
"""Of metres: a tenth of a millimetre."""


def registration_bytes(analysis: Analysis, stretch: Stretch) -> bytes:
    """Return the file: looks that were used, in time order, a line each."""
    grid = analysis.grid
    head = {
        "schema": SCHEMA,
        "grid": {
            "epsg": grid.epsg, "east_m": grid.east_m, "north_m": grid.north_m,
            "gsd_m": grid.gsd_m, "rows": grid.rows, "cols": grid.cols,
        },
        "stretch": stretch.as_json(),
        **_ground(analysis),
    }  # fmt: skip
    scenes = [_entry(look, look.displacement) for look in analysis.looks if look.used and look.displacement]
    opened = json.dumps(head, allow_nan=False)[:-1]
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in scenes)
    return f'{opened}, "scenes": [\n{lines}\n]}}\n'.encode()


def _ground(analysis: Analysis) -> dict[str, Any]:
    """Say for which ground excerpts of remote files were fetched, null for all of them; nothing where there are none."""
    if not any(look.scene.parts for look in analysis.looks):
        return {}
    ground = analysis.ground
    return {"ground": ground and [ground.west, ground.south, ground.east, ground.north]}


def _entry(look: LookSummary, d: Displacement) -> dict[str, Any]:
    return {
        "scene_id": look.scene.id,
        "datetime": rfc3339(look.scene.t_utc),
        "sha256": sorted(digest for _, digest in look.scene.sha256),
        "centre": list(d.centre),
        "east_m": d.east_m,
        "north_m": d.north_m,
        "linear": [list(row) for row in d.linear],
        "field": None if d.field is None else _field(d.field),
        "state": d.state.value,
        "residual_m": number(d.residual_m, 4),
        "gains": [[band, gain, offset] for band, gain, offset in look.gains],
    }


def _field(field: DisplacementField) -> dict[str, Any]:
    def rows(values: Any) -> list[list[float]]:
        return np.round(np.asarray(values, np.float64), FIELD_DIGITS).tolist()  # type: ignore[no-any-return]

    return {
        "origin": list(field.origin),
        "step_m": field.step_m,
        "east_m": rows(field.east_m),
        "north_m": rows(field.north_m),
    }


def displacement_of(entry: Mapping[str, Any]) -> Displacement:
    """Read one look's displacement back."""
    field, told = None, entry["field"]
    if told is not None:
        east, north = (np.asarray(told[name], np.float32) for name in ("east_m", "north_m"))
        field = DisplacementField((told["origin"][0], told["origin"][1]), told["step_m"], east, north)
    (a, b), (c, d) = entry["linear"]
    residual = entry["residual_m"]
    return Displacement(
        (entry["centre"][0], entry["centre"][1]),
        entry["east_m"],
        entry["north_m"],
        ((a, b), (c, d)),
        field,
        RegistrationState(entry["state"]),
        0.0,
        float("nan") if residual is None else residual,
        0,
    )


def stretch_of(told: Mapping[str, Any]) -> Stretch:
    """Read the site's stretch back."""
    red, green, blue, grey = ((told[n][0], told[n][1]) for n in ("red", "green", "blue", "grey"))
    return Stretch(red, green, blue, grey)
