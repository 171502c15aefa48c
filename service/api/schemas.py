"""Bodies as OpenAPI tells them. What comes in is strict; what goes out is open: more members may come."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


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
    estimate: bool = Field(default=False, description="true: only tell what it would take")


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


class SiteTiles(Outgoing):
    """Where a site's tiles lie (OGC tile matrix set, tileset metadata per look) and which looks have none."""

    report: str | None
    tileMatrixSet: dict[str, Any]  # noqa: N815 - OGC's name
    bbox: list[float] | None = Field(description="west, south, east, north in metres of the set's CRS")
    scenes: list[dict[str, Any]]
    withheld: list[dict[str, Any]] = Field(description="looks whose licence forbids to publish pixels")
    tilesets: list[dict[str, Any]]
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


# Text for people: no NUL, which no database keeps; a line has no control characters at all.
Line = Annotated[
    str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")
]
Prose = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]


class EventIn(Incoming):
    """A dated outside event: a shipment, an order, a claim."""

    label: Line = Field(max_length=200)
    kind: Line = Field(default="event", max_length=64, description="your own word: shipment, claim …")
    when: str = Field(max_length=100, description="a date, an RFC 3339 time, or two with a slash between")
    uncertainty_days: float = Field(
        default=1.0, ge=1, le=366, description="either way; claims carry local dates"
    )
    lag_days: list[Annotated[int, Field(ge=-3_660, le=3_660)]] = Field(
        default=[0, 30],
        min_length=2,
        max_length=2,
        description="days after the event between which a change is looked for; fixed once posted",
    )
    source: Line = Field(max_length=1_000, description="who says so, and where")
    source_url: str | None = Field(default=None, max_length=2_000, pattern=r"^https?://[^\x00-\x20\x7f]+$")
    note: Prose = Field(default="", max_length=4_000)
    derived_from_imagery: bool = Field(default=False, description="true: pictures cannot confirm it")


class Event(Outgoing):
    """A dated outside event."""

    id: str
    site: str
    label: str
    kind: str
    when: str
    uncertainty_days: float
    lag_days: list[int]
    derived_from_imagery: bool
    links: list[Link]


class EventList(Outgoing):
    """Events in order of their dates."""

    events: list[Event]
    links: list[Link]


class Corroboration(Outgoing):
    """A site's changes beside its events; docs/corroboration.md tells every member."""

    site: str
    looks: dict[str, Any]
    events: list[dict[str, Any]]
    joint: dict[str, Any] | None
    control: dict[str, Any]
    events_removed: int
    notes: list[str]
    links: list[Link]


FeedKind = Literal["new", "updated", "retracted", "superseded"]
WEBHOOK_URL = r"^https?://[!-~]+$"


class SubscriptionIn(Incoming):
    """Where news are to be sent, and which."""

    url: str = Field(max_length=2_000, pattern=WEBHOOK_URL)
    kinds: list[FeedKind] = Field(default=["new", "updated", "retracted"], min_length=1, max_length=4)
    sites: list[Line] | None = Field(default=None, max_length=1_000, description="site ids; null: all")
    note: Prose = Field(default="", max_length=1_000)
    since: str | None = Field(
        default=None, max_length=1_024, description="a cursor of the feed to start after; null: from now on"
    )


class SubscriptionPatchIn(Incoming):
    """What is to be different."""

    url: str | None = Field(default=None, max_length=2_000, pattern=WEBHOOK_URL)
    kinds: list[FeedKind] | None = Field(default=None, min_length=1, max_length=4)
    sites: list[Line] | None = Field(default=None, max_length=1_000, description="site ids; null: all")
    note: Prose | None = Field(default=None, max_length=1_000)
    state: Literal["active", "paused"] | None = None


class Subscription(Outgoing):
    """A subscription; ``secret`` is there once, when it is made or rotated."""

    id: str
    url: str
    kinds: list[str]
    sites: list[str] | None
    state: Literal["active", "paused", "disabled"]
    reason: str | None
    links: list[Link]


class SubscriptionList(Outgoing):
    """Subscriptions, oldest first."""

    subscriptions: list[Subscription]
    links: list[Link]


class Delivery(Outgoing):
    """One message of a subscription and how far it got."""

    id: str
    type: str
    state: Literal["waiting", "delivered", "failed"]
    attempts: int
    links: list[Link]


class DeliveryList(Outgoing):
    """Deliveries, newest first."""

    deliveries: list[Delivery]
    links: list[Link]


class Promotion(Outgoing):
    """What became of a reprocess's sites when its reports were made current, or taken back."""

    job: str
    state: Literal["promoted", "undone"]
    promoted: str
    undone: str | None
    forced: bool
    sites: dict[str, int]
    links: list[Link]


class Comparison(Outgoing):
    """What two versions tell otherwise: of all sites in numbers, of some in full."""

    totals: dict[str, int] = Field(description="changes of each kind, unchanged ones too, over all sites")
    reasons: list[str] = Field(description="what explains differences on more than one site")
    published: list[dict[str, str]] = Field(description="current reports that one side tells otherwise")
    sites: list[dict[str, Any]]
    links: list[Link]


class Estimate(Outgoing):
    """What a job would take; ``seconds`` are those of one worker."""

    sites: int
    sites_sampled: int
    scenes: int
    pixels: int
    seconds: float
    seconds_low: float
    seconds_high: float
    basis: str
    cached: dict[str, int]
    processing_version: str


class FeedTokenIn(Incoming):
    """A token for a feed reader."""

    note: Prose = Field(default="", max_length=200, description="who reads with it")


class FeedToken(Outgoing):
    """A feed token; ``token`` and ``href`` are there once, when it is made."""

    id: str
    site: str
    note: str
    created: str
    revoked: str | None
    links: list[Link]


class FeedTokenList(Outgoing):
    """A site's feed tokens, oldest first."""

    feed_tokens: list[FeedToken]
    links: list[Link]


class Digest(Outgoing):
    """A day over all sites: what became known, and where nothing can be said."""

    day: str
    period: dict[str, str]
    complete: bool = Field(description="whether the day is over; what is complete never changes")
    counts: dict[str, int]
    sites: list[dict[str, Any]]
    notes: list[str]


class DigestList(Outgoing):
    """Days whose digest is kept, newest first."""

    digests: list[dict[str, Any]]
    links: list[Link]
