"""Bodies as OpenAPI tells them. What comes in is strict; what goes out is open: more members may come."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Outgoing(BaseModel):
    """Anything answered; unknown members are to be ignored by clients."""

    model_config = ConfigDict(extra="allow")


class Incoming(BaseModel):
    """Anything taken; unknown members are refused so that a typing mistake is heard of."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Fault(BaseModel):
    """One fault of an input: where, which, and a sentence."""

    pointer: str
    code: str
    detail: str


class Problem(Outgoing):
    """RFC 9457."""

    type: str
    title: str
    status: int
    code: str = Field(description="stable; docs/errors.md lists them all")
    detail: str
    errors: list[Fault] | None = None


class Link(Outgoing):
    """Where to go on."""

    rel: str
    href: str
    type: str | None = None


class Feature(Outgoing):
    """A GeoJSON Feature."""

    type: Literal["Feature"]
    id: str | int | None = None
    geometry: dict[str, Any] | None
    properties: dict[str, Any] | None
    links: list[Link] | None = None


class FeatureCollection(Outgoing):
    """A GeoJSON FeatureCollection; ``links`` may hold ``next``."""

    type: Literal["FeatureCollection"]
    features: list[Feature]
    links: list[Link] | None = None


class SiteIn(BaseModel):
    """A site to be watched: a GeoJSON Feature with a name, or a FeatureCollection of such."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "Feature",
                    "properties": {"name": "North depot"},
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [[[30, 50], [30.01, 50], [30.01, 50.01], [30, 50.01], [30, 50]]],
                    },
                }
            ]
        },
    )

    type: Literal["Feature", "FeatureCollection"]
    analyse: bool = Field(default=True, description="false: no first job")


class SitePatchIn(BaseModel):
    """What is to be different; a JSON merge of ``properties``, and a new ``geometry`` where given."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["Feature"] = "Feature"
    id: str | None = None
    geometry: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None


class JobIn(Incoming):
    """Work to be done on sites."""

    type: Literal["analyse", "reprocess", "verify"] = "analyse"
    sites: list[str] | Literal["all"] = Field(description="site ids, or all")
    period: str | None = Field(
        default=None, description="A/B, dates or RFC 3339 times; .. leaves an end open"
    )
    parameters: dict[str, Any] = Field(default_factory=dict)


class ReviewIn(Incoming):
    """What a person thinks of a change."""

    verdict: Literal["confirmed", "rejected", "relabelled"]
    class_: str | None = Field(default=None, alias="class", min_length=1, max_length=64)
    note: str = Field(default="", max_length=4_000)


class ArchiveIn(Incoming):
    """An archive on the network."""

    name: str = Field(min_length=1, max_length=64)
    source: str = Field(
        min_length=1, max_length=2_000, description="http(s) address of a STAC API or catalog"
    )


class UnitCounts(Outgoing):
    """How many units ended, and how."""

    total: int
    done: int
    failed: int
    skipped: int
    cached: int


class Job(Outgoing):
    """A job."""

    id: str
    type: str
    state: Literal["accepted", "running", "successful", "failed", "dismissed"]
    progress: float
    units: UnitCounts
    links: list[Link]


class JobList(Outgoing):
    """Jobs, newest first."""

    jobs: list[Job]
    links: list[Link]


class Listing(Outgoing):
    """A list with links."""

    links: list[Link]


class Report(Outgoing):
    """A report; ``docs/report-files.md`` tells every member."""

    id: str
    number: int


class FeedPage(Outgoing):
    """News in order; keep ``cursor`` and ask again with it."""

    entries: list[dict[str, Any]]
    cursor: str
    links: list[Link]


class Conformance(Outgoing):
    """OGC conformance classes."""

    conformsTo: list[str]  # noqa: N815  (OGC's spelling)
