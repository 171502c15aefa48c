"""The verification code that docs/notifications.md prints is run on real messages, and its table of waits is true."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from service.delivery import DeliveryRules
from service.webhooks import secret_of, sign

PAGE = Path(__file__).parents[2] / "docs" / "notifications.md"
SECRET = secret_of(b"key", "sub-1", 1)
BODY = b'{"type":"test"}'


@pytest.fixture(scope="module")
def verified() -> Callable[..., bool]:
    """The function as printed."""
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Callable[..., bool]] = {}
    exec(code, names)
    return names["verified"]


def headers(age_s: float = 0.0, secrets: tuple[str, ...] = (SECRET,)) -> dict[str, str]:
    """A message's headers, so old."""
    timestamp = int(time.time() - age_s)
    return {
        "webhook-id": "msg-1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secrets, "msg-1", timestamp, BODY),
    }


def test_the_printed_code_agrees_with_the_library(verified: Callable[..., bool]) -> None:
    Webhook(SECRET).verify(BODY, headers())
    assert verified(SECRET, headers(), BODY)
    # While a secret is being changed two signatures are in the header, and either is enough.
    assert verified(SECRET, headers(secrets=(secret_of(b"key", "sub-1", 2), SECRET)), BODY)


def test_the_printed_code_refuses_what_is_forged_or_old(verified: Callable[..., bool]) -> None:
    assert not verified(SECRET, headers(), BODY + b" ")
    assert not verified(secret_of(b"key", "sub-2", 1), headers(), BODY)
    assert not verified(SECRET, headers(age_s=400.0), BODY)
    assert not verified(SECRET, headers(age_s=-400.0), BODY)
    assert not verified(SECRET, {**headers(), "webhook-id": "msg-2"}, BODY)
    assert not verified(SECRET, {**headers(), "webhook-timestamp": "now"}, BODY)


def test_the_waits_are_those_the_page_tells() -> None:
    told = re.search(r"tried again after (.*?) \(each", PAGE.read_text("utf-8").replace("\n", " "))
    assert told is not None
    units = {"s": 1.0, "min": 60.0, "h": 3_600.0}
    read = [float(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", told[1])]
    assert tuple(read) == DeliveryRules().waits_s
