"""The one place that reads environment variables; everything else is handed a ``Settings``."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator may set, by ``DEPOTWATCH_<NAME>`` or by option; unknown names are refused by the type."""

    model_config = SettingsConfigDict(env_prefix="DEPOTWATCH_", frozen=True, extra="forbid")

    data: Path = Field(default=Path("depotwatch-data"), description="folder of the embedded default")
    database: str = Field(default="", description="database URL; empty: SQLite in the data folder")
    artefacts: str = Field(
        default="", description="folder or s3:// URL of reports; empty: in the data folder"
    )
    products: str = Field(
        default="", description="folder or URL of reusable products; empty: in the data folder"
    )
    scheduler: str = Field(
        default="",
        description="address of a Dask scheduler that does a unit's looks; empty: the worker itself",
    )
    secret: str = Field(
        default="", description="secret the keys are hashed with; empty: a file in the data folder"
    )
    allow_hosts: str = Field(default="", description="private hosts archives may lie on, comma-separated")
    allow_no_keys: bool = Field(default=False, description="answer without keys (loopback only)")
    external_url: str = Field(default="", description="address clients see, where a proxy stands in front")
    log_level: str = Field(
        default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least that is logged"
    )

    memory_mib: int = Field(
        default=0,
        ge=0,
        description="memory one worker's unit may take; 0: an equal share of the machine's",
    )
    lease_s: float = Field(default=60.0, gt=0, description="how long a silent worker keeps its unit")
    poll_s: float = Field(default=1.0, gt=0, description="how often an idle worker asks for work")
    drain_s: float = Field(default=30.0, ge=0, description="how long a unit may go on after SIGTERM")
    max_attempts: int = Field(default=4, ge=1, description="attempts before a unit is a dead letter")
    backoff_s: float = Field(
        default=5.0, ge=0, description="wait before the second attempt; doubles each time"
    )
    watch_s: float = Field(default=60.0, gt=0, description="how often archives are looked at for new scenes")
    silence_factor: float = Field(
        default=3.0, gt=1, description="usual scene intervals of silence before a warning"
    )

    max_running_per_tenant: int = Field(default=8, ge=1, description="units of one tenant that run at once")
    max_queued_per_tenant: int = Field(
        default=200_000, ge=1, description="units of one tenant that wait at once"
    )
    max_sites_per_tenant: int = Field(default=20_000, ge=1)
    max_body_bytes: int = Field(default=16 * 2**20, ge=1, description="largest JSON, KML or CSV body")
    max_upload_bytes: int = Field(default=2 * 2**30, ge=1, description="largest uploaded scene")
    body_timeout_s: float = Field(
        default=30.0, gt=0, description="a head or a body slower than this is given up"
    )
    rate_per_s: float = Field(default=50.0, gt=0, description="requests per second and key, sustained")
    rate_burst: float = Field(default=500.0, ge=1, description="requests a quiet key may send at once")
    idempotency_s: float = Field(default=86_400.0, gt=0, description="how long a replay is remembered")

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL; PostgreSQL through psycopg whatever the URL called it."""
        if not self.database:
            return f"sqlite:///{self.data.absolute() / 'depotwatch.db'}"
        for prefix in ("postgresql://", "postgres://"):
            if self.database.startswith(prefix):
                return "postgresql+psycopg://" + self.database.removeprefix(prefix)
        return self.database

    @property
    def artefacts_place(self) -> str:
        """Folder or URL of the artefact store."""
        return self.artefacts or str(self.data.absolute() / "artefacts")

    @property
    def products_place(self) -> str:
        """Folder or URL of the product store."""
        return self.products or str(self.data.absolute() / "products")

    @property
    def downloads_place(self) -> Path:
        """Folder for what is fetched from remote archives."""
        return self.data.absolute() / "downloads"

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Hosts that may be private although archives are read from them."""
        return frozenset(host.strip().lower() for host in self.allow_hosts.split(",") if host.strip())
