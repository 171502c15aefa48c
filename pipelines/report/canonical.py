"""One way to turn values into bytes, so that equal reports are equal files."""

import hashlib
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def rfc3339(t_utc: datetime) -> str:
    """Print an aware time as UTC RFC 3339: whole seconds where they are whole."""
    t = t_utc.astimezone(UTC)
    return t.replace(tzinfo=None).isoformat(timespec="microseconds" if t.microsecond else "seconds") + "Z"


def number(value: float | None, digits: int = 3) -> float | None:
    """Round for printing; None where there is no finite number (JSON knows neither NaN nor infinity)."""
    if value is None or not math.isfinite(value):
        return None
    rounded = round(float(value), digits)
    return rounded + 0.0  # turns -0.0 into 0.0


def json_bytes(value: Any) -> bytes:
    """Encode as UTF-8 JSON, two-space indent, keys in the order given, one newline at the end."""
    return (json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
