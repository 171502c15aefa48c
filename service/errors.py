"""Errors the service itself can state; those of the other rooms pass through unchanged."""

from imagery.errors import DepotwatchError


class NotFound(DepotwatchError):
    """Nothing of that name that this tenant may see."""

    code = "not-found"


class Unauthorised(DepotwatchError):
    """No key, or one that is not (or no longer) valid."""

    code = "unauthorised"


class Forbidden(DepotwatchError):
    """A valid key without the scope the call needs."""

    code = "forbidden"


class TooManyRequests(DepotwatchError):
    """Past the rate limit; ``retry_after_s`` says when to come back."""

    code = "rate-limited"

    def __init__(self, detail: str, *, retry_after_s: float, pointer: str = "") -> None:
        super().__init__(detail, pointer=pointer)
        self.retry_after_s = retry_after_s


class BadQuery(DepotwatchError):
    """A query parameter that cannot be meant."""

    code = "bad-query"


class BadCursor(DepotwatchError):
    """A cursor this service did not give, or not for this list, or before an older backup was restored."""

    code = "bad-cursor"


class BadBody(DepotwatchError):
    """A body that is not what its type says: not JSON, not UTF-8, not XML, not a table."""

    code = "bad-body"


class UnsupportedMediaType(DepotwatchError):
    """A body of a type the call does not take."""

    code = "unsupported-media-type"


class BodyTooLarge(DepotwatchError):
    """A body past the stated limit."""

    code = "too-large"


class BodyTooSlow(DepotwatchError):
    """A body that did not arrive in time."""

    code = "too-slow"


class NotAcceptable(DepotwatchError):
    """A format asked for that the call cannot give."""

    code = "not-acceptable"


class NameTaken(DepotwatchError):
    """Another one of the tenant's has the same name."""

    code = "name-taken"


class PreconditionRequired(DepotwatchError):
    """A change without ``If-Match``: it could overwrite somebody else's."""

    code = "precondition-required"


class PreconditionFailed(DepotwatchError):
    """The object was changed since the client read it."""

    code = "precondition-failed"


class RangeNotSatisfiable(DepotwatchError):
    """A byte range outside the file; ``size`` is the file's, in bytes."""

    code = "range-not-satisfiable"

    def __init__(self, detail: str, *, size: int) -> None:
        super().__init__(detail)
        self.size = size


class ResultNotReady(DepotwatchError):
    """The job has not ended yet."""

    code = "result-not-ready"


class NoReportYet(DepotwatchError):
    """The site has not been analysed yet."""

    code = "no-report-yet"


class IdempotencyInFlight(DepotwatchError):
    """The first call with this Idempotency-Key has not been answered yet."""

    code = "idempotency-in-flight"


class IdempotencyMismatch(DepotwatchError):
    """An Idempotency-Key used again with another body."""

    code = "idempotency-mismatch"


class LimitReached(DepotwatchError):
    """A cap of the tenant is reached."""

    code = "limit-reached"


class NotAvailable(DepotwatchError):
    """Something the service needs does not answer at the moment; safe to try again."""

    code = "not-available"


class BadSettings(DepotwatchError):
    """Settings that must not be started with."""

    code = "bad-settings"


class AddressRefused(DepotwatchError):
    """An address that leads to a private or local place the operator did not allow."""

    code = "address-refused"


class UnknownArchive(DepotwatchError):
    """A site names an archive that is not configured."""

    code = "unknown-archive"


class BadUpload(DepotwatchError):
    """An uploaded scene that cannot be taken."""

    code = "bad-upload"


class DatabaseTooNew(DepotwatchError):
    """The database was written by a later version."""

    code = "database-too-new"


class BackupUnusable(DepotwatchError):
    """A backup that is not whole, or a place that is not empty."""

    code = "backup-unusable"
