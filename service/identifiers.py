"""Ids nobody can guess, and cursors nobody needs to understand."""

import base64
import json
import secrets
from typing import Any

from service.errors import BadCursor


def new_id(kind: str) -> str:
    """Return ``<kind>-`` and 128 random bits in hex."""
    return f"{kind}-{secrets.token_hex(16)}"


def encode_cursor(*values: Any) -> str:
    """Pack the place to go on from."""
    text = json.dumps(values, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def decode_cursor(text: str, *kinds: type, pointer: str = "cursor") -> list[Any]:
    """Unpack a cursor that holds values of these kinds.

    Raises
    ------
    BadCursor : anything that ``encode_cursor`` did not make for the same call
    """
    try:
        if len(text) > 1024:
            raise ValueError("length")
        values = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(values, list) or len(values) != len(kinds):
            raise ValueError("shape")
        for value, kind in zip(values, kinds, strict=True):
            if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
                raise ValueError("kind")
            if isinstance(value, int | float) and not -(2**62) < value < 2**62:
                raise ValueError("range")
            if (
                isinstance(value, str) and "\x00" in value.encode().decode()
            ):  # half a surrogate pair has no UTF-8
                raise ValueError("text")
    except (ValueError, RecursionError) as error:
        told = "this cursor is not one this service gave; start again without it"
        raise BadCursor(told, pointer=pointer) from error
    return values
