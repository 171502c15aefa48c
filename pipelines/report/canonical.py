"""One way to turn values into bytes, so that equal reports are equal files."""

import hashlib
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring
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
    """Encode as UTF-8 JSON, two-space indent, keys (texts) in the order given, one newline at the end.

    To the byte what ``json.dumps`` makes of it, which takes twice as long wherever it indents.
    """
    return (_laid_out(value, "\n") + "\n").encode()


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
# What the encoder says of the commonest values, without asking it.
_PLAIN: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: int.__repr__,
    float: lambda value: float.__repr__(value) if math.isfinite(value) else _ENCODER.encode(value),
}


def _laid_out(value: Any, line: str) -> str:
    """Return a value as JSON; ``line`` is a line's end and the indent of the one that begins where the value does."""
    plain = _PLAIN.get(type(value))
    if plain is not None:
        return plain(value)
    inner = line + "  "
    if value and isinstance(value, dict):
        members = [f"{encode_basestring(key)}: {_laid_out(held, inner)}" for key, held in value.items()]
        return "{" + inner + ("," + inner).join(members) + line + "}"
    if value and isinstance(value, (list, tuple)):
        return "[" + inner + ("," + inner).join([_laid_out(held, inner) for held in value]) + line + "]"
    return _ENCODER.encode(value)


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
