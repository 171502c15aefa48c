"""The tables (ARCHITECTURE section 5). Times are seconds since 1970 UTC by the database's clock; JSON is text.

Every row that belongs to a tenant says so itself, so that no query needs a join to stay inside one.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite numbers rows by itself only where the type is exactly INTEGER.
Counter = BigInteger().with_variant(Integer, "sqlite")

tenants = Table(
    "tenants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("max_running", Integer),
    Column("created", Double, nullable=False),
    Column("feed_seq", BigInteger, nullable=False, server_default="0"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("last_used", Double),
    Column("revoked", Double),
    Column("tokens", Double, nullable=False),
    Column("tokens_at", Double, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("tenant", Text),
    Column("key", Text),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("request", Text, nullable=False, server_default=""),
    Index("ix_audit_tenant_id", "tenant", "id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("status", Integer),
    Column("headers", Text),
    Column("body", Text),
    PrimaryKeyConstraint("tenant", "route", "key"),
    Index("ix_idempotency_created", "created"),
)

archives = Table(
    "archives",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("tenant", Text, ForeignKey("tenants.id")),  # None: shared by all tenants
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("watched", Double),
    Column("watch_owner", Text),
    Column("watch_until", Double, nullable=False, server_default="0"),
    Column("watch_cursor", Text),
    Column("watch_error", Text),
    Column("allow_hosts", Text, nullable=False, server_default=""),  # private hosts it may lie on, by comma
)

scenes = Table(
    "scenes",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("archive", Text, ForeignKey("archives.id"), nullable=False),
    Column("scene_id", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("added", Double, nullable=False),
    Column("gsd_m", Double),
    Column("minx", Double, nullable=False),
    Column("miny", Double, nullable=False),
    Column("maxx", Double, nullable=False),
    Column("maxy", Double, nullable=False),
    Column("footprint", Text, nullable=False),
    Column("notes", Text, nullable=False),
    UniqueConstraint("archive", "scene_id"),
    Index("ix_scenes_archive_minx", "archive", "minx", "maxx", "miny", "maxy"),
)

sites = Table(
    "sites",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("properties", Text, nullable=False),
    Column("archives", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("geometry_version", Integer, nullable=False),
    Column("geometry", Text, nullable=False),
    Column("minx", Double, nullable=False),
    Column("miny", Double, nullable=False),
    Column("maxx", Double, nullable=False),
    Column("maxy", Double, nullable=False),
    Column("area_m2", Double, nullable=False),
    Column("utm_epsg", Integer, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("deleted", Double),
    Column("reports", Integer, nullable=False, server_default="0"),
    Column("current_report", Text),
    Index("ix_sites_tenant_created", "tenant", "created", "id"),
    Index(
        "uq_sites_tenant_name_alive",
        "tenant",
        "name",
        unique=True,
        sqlite_where=text("deleted IS NULL"),
        postgresql_where=text("deleted IS NULL"),
    ),
    Index("ix_sites_bbox", "minx", "maxx", "miny", "maxy"),
)

site_geometries = Table(
    "site_geometries",
    metadata,
    Column("site", Text, ForeignKey("sites.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("geometry", Text, nullable=False),
    Column("area_m2", Double, nullable=False),
    Column("created", Double, nullable=False),
    PrimaryKeyConstraint("site", "version"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double),
    Column("updated", Double, nullable=False),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("skipped", Integer, nullable=False, server_default="0"),
    Column("cached", Integer, nullable=False, server_default="0"),
    Column("step", Text, nullable=False, server_default=""),
    Column("promoted", Double),  # since when its reports are the current ones
    Index("ix_jobs_tenant_created", "tenant", "created", "id"),
)

units = Table(
    "units",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("job", Text, ForeignKey("jobs.id"), nullable=False),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("site", Text, ForeignKey("sites.id"), nullable=False),
    Column("geometry_version", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("not_before", Double, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("owner", Text),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("lease_until", Double, nullable=False, server_default="0"),
    Column("step", Text, nullable=False, server_default=""),
    Column("progress", Double, nullable=False, server_default="0"),
    Column("code", Text),
    Column("detail", Text),
    Column("report", Text),
    Column("started", Double),
    Column("finished", Double),
    Index("ix_units_state_tenant", "state", "tenant", "priority", "id"),
    Index("ix_units_job", "job", "id"),
    Index("ix_units_site_state", "site", "state"),
)

unit_log = Table(
    "unit_log",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("job", Text, nullable=False),
    Column("unit", BigInteger, nullable=False),
    Column("site", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("level", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Index("ix_unit_log_job_id", "job", "id"),
)

reports = Table(
    "reports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("site", Text, ForeignKey("sites.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("job", Text, nullable=False),
    Column("unit", BigInteger, nullable=False, unique=True),
    Column("geometry_version", Integer, nullable=False),
    Column("processing_version", Text, nullable=False),
    Column("current", Boolean, nullable=False),
    Column("supersedes", Text),
    Column("created", Double, nullable=False),
    Column("etag", Text, nullable=False),
    Column(
        "widest", Double, nullable=False
    ),  # of its changes, degrees of longitude: bounds a box search below
    Column("body", Text, nullable=False),
    Column("content", Text, nullable=False),  # digest of the files: equal content is not published twice
    Column("current_since", Double),  # when it last became current; None: never was (a reprocess)
    UniqueConstraint("site", "number"),
)

report_files = Table(
    "report_files",
    metadata,
    Column("report", Text, ForeignKey("reports.id"), nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    PrimaryKeyConstraint("report", "path"),
    Index("ix_report_files_sha256", "sha256"),
)

changes = Table(
    "changes",
    metadata,
    Column("report", Text, ForeignKey("reports.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("change", Text, nullable=False),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("site", Text, ForeignKey("sites.id"), nullable=False),
    Column("current", Boolean, nullable=False),
    Column("change_type", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("last_absent", Double, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("minx", Double, nullable=False),
    Column("miny", Double, nullable=False),
    Column("maxx", Double, nullable=False),
    Column("maxy", Double, nullable=False),
    Column("feature", Text, nullable=False),
    Column("evidence", Text, nullable=False),  # folder of its evidence inside the report
    Column("digest", Text, nullable=False),
    PrimaryKeyConstraint("report", "position"),
    UniqueConstraint("report", "change"),
    Index("ix_changes_report_minx", "report", "minx", "maxx", "miny", "maxy"),
    Index("ix_changes_tenant_change", "tenant", "change"),
    Index("ix_changes_tenant_current", "tenant", "current", "site", "position"),
)

looks = Table(
    "looks",
    metadata,
    Column("report", Text, ForeignKey("reports.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("site", Text, ForeignKey("sites.id"), nullable=False),
    Column("current", Boolean, nullable=False),
    Column("at", Double, nullable=False),
    Column("minx", Double, nullable=False),
    Column("miny", Double, nullable=False),
    Column("maxx", Double, nullable=False),
    Column("maxy", Double, nullable=False),
    Column("feature", Text, nullable=False),
    PrimaryKeyConstraint("report", "position"),
    Index("ix_looks_tenant_current", "tenant", "current", "site", "position"),
)

reviews = Table(
    "reviews",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("change", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("key", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("change_type", Text),
    Column("note", Text, nullable=False),
    Index("ix_reviews_tenant_change", "tenant", "change", "id"),
)

feed = Table(
    "feed",
    metadata,
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("change", Text, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "seq"),
    Index("ix_feed_tenant_site", "tenant", "site", "seq"),
    Index("ix_feed_tenant_at", "tenant", "at"),
)

warnings = Table(
    "warnings",
    metadata,
    Column("site", Text, ForeignKey("sites.id"), nullable=False),
    Column("code", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("since", Double, nullable=False),
    PrimaryKeyConstraint("site", "code"),
)

events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("site", Text, ForeignKey("sites.id"), nullable=False),
    Column("label", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("given", Text, nullable=False),  # the date or interval as it was posted
    Column("starts", Double, nullable=False),  # with the uncertainty taken off
    Column("ends", Double, nullable=False),
    Column("uncertainty_days", Double, nullable=False),
    Column("lag_low", Integer, nullable=False),
    Column("lag_high", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_url", Text),
    Column("note", Text, nullable=False),
    Column("from_imagery", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("key", Text, nullable=False),
    Column("removed", Double),  # its words are gone then; that there was one is still counted
    Index("ix_events_tenant_site", "tenant", "site", "starts", "id"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("kinds", Text, nullable=False),
    Column("sites", Text),  # None: all
    Column("note", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("feed_seq", BigInteger, nullable=False),  # the last news that is in the outbox
    Column("secret_version", Integer, nullable=False, server_default="1"),
    Column("rotated", Double),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("last_success", Double),
    Column("not_before", Double, nullable=False, server_default="0"),
    Column("owner", Text),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("lease_until", Double, nullable=False, server_default="0"),
    Index("ix_subscriptions_tenant_created", "tenant", "created", "id"),
    Index("ix_subscriptions_state", "state"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("subscription", Text, ForeignKey("subscriptions.id"), nullable=False),
    Column("seq", BigInteger),  # number of its first news in the feed; None: a test
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),  # since it was last asked for
    Column("not_before", Double, nullable=False, server_default="0"),
    Column("created", Double, nullable=False),
    Column("finished", Double),
    Column("status", Integer),
    Column("detail", Text, nullable=False, server_default=""),
    UniqueConstraint("subscription", "seq"),
    Index("ix_deliveries_subscription_state", "subscription", "state", "not_before"),
    Index("ix_deliveries_subscription_created", "subscription", "created", "id"),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("delivery", Text, ForeignKey("deliveries.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("at", Double, nullable=False),
    Column("ended", Double),
    Column("status", Integer),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("delivery", "number"),
)

feed_tokens = Table(
    "feed_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("site", Text, ForeignKey("sites.id"), nullable=False),
    Column("digest", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("revoked", Double),
    Index("ix_feed_tokens_tenant_site", "tenant", "site", "created", "id"),
)

digests = Table(
    "digests",
    metadata,
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("day", Text, nullable=False),
    Column("made", Double, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "day"),
)

promotions = Table(
    "promotions",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("job", Text, ForeignKey("jobs.id"), nullable=False),
    Column("at", Double, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("counts", Text, nullable=False),  # JSON: what became of the job's sites
    Column("undone", Double),
    Index("ix_promotions_job", "job", "id"),
)

promoted_sites = Table(
    "promoted_sites",
    metadata,
    Column("promotion", BigInteger, nullable=False),
    Column("tenant", Text, ForeignKey("tenants.id"), nullable=False),
    Column("site", Text, ForeignKey("sites.id"), nullable=False),
    Column("report", Text, nullable=False),
    Column("previous", Text),  # the report it took the place of; None: the site had none
    Column("parameters_before", Text, nullable=False),
    Column("parameters_after", Text, nullable=False),
    PrimaryKeyConstraint("promotion", "site"),
)
