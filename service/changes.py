"""Changes by what they are, where and when: the filters of CONTRACT section 4 as one statement."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select

from service.database import Record, Statement
from service.sites import BBox
from service.tables import changes, reports


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """What to keep; empty or None keeps all. ``interval`` meets the onset interval of a change."""

    classes: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    min_confidence: float | None = None
    interval: tuple[float, float] | None = None
    bbox: BBox | None = None

    def apply(self, statement: Statement) -> Statement:
        """Add the conditions to a statement over ``changes``."""
        for column, wanted in (
            (changes.c.change_type, self.classes),
            (changes.c.direction, self.directions),
            (changes.c.status, self.statuses),
        ):
            if wanted:
                statement = statement.where(column.in_(wanted))
        if self.min_confidence is not None:
            statement = statement.where(changes.c.confidence >= self.min_confidence)
        if self.interval is not None:
            start, end = self.interval
            statement = statement.where(changes.c.first_seen >= start, changes.c.last_absent <= end)
        if self.bbox is not None:
            statement = statement.where(*self.bbox.touches(changes))
        return statement


def of_report(
    connection: Connection, report: str, wanted: ChangeFilter, after: int, limit: int | None
) -> Sequence[Record]:
    """Return (position, feature) of a report's changes after a position, in the report's order."""
    position: ColumnElement[int] = changes.c.position
    statement = select(changes.c.position, changes.c.feature).where(changes.c.report == report)
    if wanted.bbox is not None and wanted.bbox.west <= wanted.bbox.east:
        # A box is looked up by its western edge. The sum keeps planners from walking all positions in order instead.
        widest = select(reports.c.widest).where(reports.c.id == report).scalar_subquery()
        statement = statement.where(changes.c.minx >= wanted.bbox.west - widest)
        position = changes.c.position + 0
    statement = wanted.apply(statement).where(position > after).order_by(position)
    return connection.execute(statement if limit is None else statement.limit(limit)).all()


def feature_collection(features: Sequence[str], members: str = "") -> str:
    """Join stored features into a FeatureCollection without parsing them; ``members`` are further JSON members."""
    return f'{{"type":"FeatureCollection","features":[{",".join(features)}]{members}}}'
