"""API keys: 256 random bits, stored as a keyed BLAKE2b digest, valid until they expire or are revoked.

A key reads ``dw_<id>_<secret>``: the id finds the row, the secret is compared in constant time. Every request is judged
by a row read after it came, so a revocation holds at once; the token bucket of the rate limit is drawn from it in
handfuls, so that most requests write nothing.
"""

import hashlib
import hmac
import math
import os
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import case, func, select, update

from imagery.errors import DepotwatchError
from service.audit import Caller, record
from service.database import Database, Record
from service.errors import TooManyRequests, Unauthorised
from service.settings import Settings
from service.tables import keys, tenants
from service.tenancy import ensure_tenant

SCOPES = (
    "sites:read",
    "sites:write",
    "reports:read",
    "jobs:write",
    "reviews:write",
    "archives:write",
    "admin",
)
PREFIX = "dw_"
KEY = re.compile(PREFIX + r"(?P<id>[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{1,100})")
LAST_USED_STEP_S = 60.0
MAX_TENANT = 200
REFILL_STEP_S = 0.5
# A share of the burst each process may hold in hand; small, so that few tokens are lost with a process.
HANDFUL_SHARE = 0.1


class UnknownScope(DepotwatchError):
    """A scope that does not exist."""

    code = "unknown-scope"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key."""

    id: str
    tenant: str
    scopes: tuple[str, ...]
    note: str
    created: float
    expires: float | None
    last_used: float | None
    revoked: float | None
    state: str


class BadKeyRequest(DepotwatchError):
    """A key that cannot be meant: of a tenant without a name, or for a time that is none."""

    code = "bad-key-request"


def pepper(settings: Settings) -> bytes:
    """Return the secret that digests are keyed with: from the settings, else from a file made on first use."""
    if settings.secret:
        return hashlib.blake2b(settings.secret.encode(), digest_size=32).digest()
    path = settings.data / "secret"
    settings.data.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _existing_pepper(path)
    with os.fdopen(handle, "wb") as file:
        made = secrets.token_bytes(32)
        file.write(made)
    return made


def _existing_pepper(path: Path) -> bytes:
    # Another process may have created the file and not yet filled it.
    for _ in range(200):
        found = path.read_bytes()
        if len(found) == 32:
            return found
        time.sleep(0.01)
    raise Unauthorised(f"{path.name} in the data folder is damaged; restore it from a backup")


def _digest(secret: str, key: bytes) -> str:
    return hashlib.blake2b(secret.encode(), key=key, digest_size=32).hexdigest()


def _parse_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(scope.strip() for scope in scopes if scope.strip()))
    for scope in wanted:
        if scope not in SCOPES:
            raise UnknownScope(
                f"there is no scope {scope!r}; known are {', '.join(SCOPES)}", pointer="scopes"
            )
    if not wanted:
        raise UnknownScope(f"a key needs at least one scope of {', '.join(SCOPES)}", pointer="scopes")
    return wanted


def _check_lifetime(valid_s: float | None) -> None:
    if valid_s is not None and not 0 < valid_s < math.inf:
        raise BadKeyRequest("a key is valid for some time, or until it is revoked", pointer="days")


def create_key(
    database: Database,
    secret: bytes,
    tenant: str,
    scopes: Sequence[str],
    *,
    note: str = "",
    valid_s: float | None = None,
    burst: float = 500.0,
) -> str:
    """Make a key for a tenant (by name) and return it: the only time it can be read.

    Raises
    ------
    UnknownScope : a scope that does not exist, or none
    BadKeyRequest : no name, or a time that is none
    """
    wanted = _parse_scopes(scopes)
    if not (tenant.strip() and tenant.isprintable() and len(tenant) <= MAX_TENANT):
        told = f"a tenant has a name of 1 to {MAX_TENANT} printable characters, not {tenant[:40]!r}"
        raise BadKeyRequest(told, pointer="tenant")
    _check_lifetime(valid_s)
    # Hex without separators, so that the id never holds the underscore that ends it.
    key_id, key_secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    with database.write() as connection:
        owner = ensure_tenant(database, connection, tenant)
        connection.execute(
            keys.insert().values(
                id=key_id,
                tenant=owner,
                digest=_digest(key_secret, secret),
                scopes=" ".join(wanted),
                note=note,
                created=database.now,
                expires=None if valid_s is None else database.now + valid_s,
                tokens=burst,
                tokens_at=database.now,
            )
        )
        record(database, connection, Caller(owner, "operator", frozenset()), "key.create", key_id)
    return f"{PREFIX}{key_id}_{key_secret}"


def list_keys(database: Database, tenant: str | None = None) -> list[KeyInfo]:
    """List keys, revoked ones included, oldest first."""
    state = case(
        (keys.c.revoked.is_not(None), "revoked"), (keys.c.expires <= database.now, "expired"), else_="valid"
    )
    statement = select(keys, tenants.c.name, state.label("state")).join(
        tenants, tenants.c.id == keys.c.tenant
    )
    if tenant is not None:
        statement = statement.where(tenants.c.name == tenant)
    with database.read() as connection:
        rows = connection.execute(statement.order_by(keys.c.created, keys.c.id)).all()
    return [
        KeyInfo(
            r.id,
            r.name,
            tuple(r.scopes.split()),
            r.note,
            r.created,
            r.expires,
            r.last_used,
            r.revoked,
            r.state,
        )
        for r in rows
    ]


def rotate_key(
    database: Database, secret: bytes, key_id: str, overlap_s: float, *, valid_s: float | None = None
) -> str:
    """Make a key with the scopes of another, which ends ``overlap_s`` from now at the latest; return the new one.

    Raises
    ------
    Unauthorised : no valid key of that id
    BadKeyRequest : a time that is none
    """
    if not 0 <= overlap_s < math.inf:
        raise BadKeyRequest("the old key ends some time from now, or at once", pointer="overlap-hours")
    _check_lifetime(valid_s)
    wanted = _id_of(key_id)
    until = database.now + overlap_s
    with database.write() as connection:
        valid = [keys.c.id == wanted, keys.c.revoked.is_(None)]
        valid.append(keys.c.expires.is_(None) | (keys.c.expires > database.now))
        row = connection.execute(select(keys).where(*valid).with_for_update()).first()
        if row is None:
            raise Unauthorised("there is no valid key of that id")
        ends = case((keys.c.expires < until, keys.c.expires), else_=until)
        connection.execute(update(keys).where(keys.c.id == wanted).values(expires=ends))
        made_id, made_secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        connection.execute(
            keys.insert().values(
                id=made_id,
                tenant=row.tenant,
                digest=_digest(made_secret, secret),
                scopes=row.scopes,
                note=row.note,
                created=database.now,
                expires=None if valid_s is None else database.now + valid_s,
                tokens=0.0,
                tokens_at=database.now,
            )
        )
        record(database, connection, Caller(row.tenant, "operator", frozenset()), "key.rotate", wanted)
    return f"{PREFIX}{made_id}_{made_secret}"


def _id_of(text: str) -> str:
    """Return the id part of a key, or of an id."""
    return text.removeprefix(PREFIX).split("_", 1)[0]


def revoke_key(database: Database, key_id: str) -> bool:
    """Revoke a key from now on; True where it was valid before. ``key_id`` may be the whole key too."""
    wanted = _id_of(key_id)
    with database.write() as connection:
        changed = connection.execute(
            update(keys)
            .where(keys.c.id == wanted, keys.c.revoked.is_(None))
            .values(revoked=database.now)
            .returning(keys.c.tenant)
        ).scalar()
        if changed is not None:
            record(database, connection, Caller(changed, "operator", frozenset()), "key.revoke", wanted)
    return changed is not None


def any_key(database: Database) -> bool:
    """Tell whether a key was ever made: from then on nobody comes in without one, revoked or not."""
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(keys)).scalar_one() > 0


class Gate:
    """Checks keys and rates for one process."""

    def __init__(
        self,
        database: Database,
        secret: bytes,
        settings: Settings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._secret = secret
        self._settings = settings
        self._monotonic = monotonic
        self._in_hand: dict[str, float] = {}
        self._used_at: dict[str, float] = {}
        self._refill_at: dict[str, float] = {}
        self._empty_until: dict[str, float] = {}
        self._lock = threading.Lock()

    @staticmethod
    def parse(bearer: str) -> tuple[str, str]:
        """Return id and secret of a key as presented.

        Raises
        ------
        Unauthorised : nothing this service ever made
        """
        found = KEY.fullmatch(bearer)
        if found is None:
            raise Unauthorised("this is not a key of this service")
        return found["id"], found["secret"]

    def rows(self, wanted: Sequence[str]) -> list[Record | None]:
        """Return the rows of keys, with the database's ``now`` and the tenant's ``feed_seq``; None where there is none."""
        statement = (
            select(keys, tenants.c.feed_seq, self._database.now.label("now"))
            .join(tenants, tenants.c.id == keys.c.tenant)
            .where(keys.c.id.in_(set(wanted)))
        )
        with self._database.read() as connection:
            found = {row.id: row for row in connection.execute(statement)}
        return [found.get(key) for key in wanted]

    def judge(self, row: Record | None, secret: str, request: str) -> Caller:
        """Return who a key's row says is asking.

        Raises
        ------
        Unauthorised : no such key, revoked or expired
        """
        # The digest is computed whether or not there is a row: an unknown id takes as long as a wrong secret.
        given = _digest(secret, self._secret)
        if row is None or not hmac.compare_digest(given, row.digest):
            raise Unauthorised("this key is not known")
        if row.revoked is not None:
            raise Unauthorised("this key was revoked")
        if row.expires is not None and row.expires <= row.now:
            raise Unauthorised("this key has expired")
        return Caller(row.tenant, row.id, frozenset(row.scopes.split()), request)

    def draw(self, key: str) -> bool:
        """Take one request from what this process holds in hand of a key; False where that is nothing."""
        with self._lock:
            held = self._in_hand.get(key, 0.0)
            if held < 1.0:
                return False
            self._in_hand[key] = held - 1.0
            return True

    def refill_is_due(self, key: str) -> bool:
        """Tell whether to fetch the next handful now, before anybody has to wait for it."""
        now = self._monotonic()
        with self._lock:
            if self._in_hand.get(key, 0.0) >= self._handful / 2 or now < self._refill_at.get(key, 0.0):
                return False
            self._refill_at[key] = now + REFILL_STEP_S
            return True

    def wait_s(self, key: str) -> float:
        """Return how long a key's bucket is known to be empty still; 0 where asking the database may help."""
        with self._lock:
            return self._empty_until.get(key, 0.0) - self._monotonic()

    @property
    def _handful(self) -> float:
        return max(1.0, self._settings.rate_burst * HANDFUL_SHARE)

    def refill(self, wanted: Sequence[str]) -> list[float]:
        """Take a handful out of each key's bucket into this process's hand, more where more ask at once.

        Returns, for each asker, how long until its bucket holds one more request, in seconds.
        """
        rate, burst = self._settings.rate_per_s, self._settings.rate_burst
        asking = Counter(wanted)
        waits: dict[str, float] = {}
        taken: dict[str, float] = {}
        with self._database.write() as connection:
            rows = connection.execute(
                select(keys.c.id, keys.c.tokens, keys.c.tokens_at, self._database.now.label("now"))
                .where(keys.c.id.in_(asking))
                .order_by(keys.c.id)
                .with_for_update()
            ).all()
            for row in rows:
                full = min(burst, row.tokens + max(0.0, row.now - row.tokens_at) * rate)
                taken[row.id] = float(int(min(full, max(self._handful, asking[row.id]))))
                left = full - taken[row.id]
                waits[row.id] = (1.0 - left) / rate
                connection.execute(
                    update(keys).where(keys.c.id == row.id).values(tokens=left, tokens_at=row.now)
                )
        now = self._monotonic()
        with self._lock:
            for key, more in taken.items():
                self._in_hand[key] = self._in_hand.get(key, 0.0) + more
                self._empty_until[key] = now + waits[key] if waits[key] > 0 else 0.0
        return [waits.get(key, 1.0) for key in wanted]

    def too_many(self, wait_s: float) -> TooManyRequests:
        """Return the error for a key whose bucket is empty."""
        rate = f"more than {self._settings.rate_per_s:g} requests a second with this key"
        return TooManyRequests(rate, retry_after_s=wait_s)

    def use_is_due(self, key: str) -> bool:
        """Tell whether a key's use is to be written down now: once a minute is enough."""
        now = self._monotonic()
        with self._lock:
            if now - self._used_at.get(key, -LAST_USED_STEP_S) < LAST_USED_STEP_S:
                return False
            self._used_at[key] = now
            return True

    def note_use(self, used: Sequence[str]) -> list[None]:
        """Write down that keys were used."""
        with self._database.write() as connection:
            connection.execute(
                update(keys).where(keys.c.id.in_(set(used))).values(last_used=self._database.now)
            )
        return [None] * len(used)
