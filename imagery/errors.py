"""The root of the error family, and imagery's own codes.

Every error carries a stable ``code`` (fixed per class), a ``detail`` sentence for a person that says what,
where and what to do, and a ``pointer`` to the place in the input. They are raised where the fact is known
and translated once per edge: command line (one line, exit 2), HTTP (problem+json), unit log.
``docs/errors.md`` lists every code; a test compares it with the classes.
"""


class DepotwatchError(Exception):
    """Something the user can act on; ``code`` is stable, ``detail`` is one sentence."""

    code = "error"

    def __init__(self, detail: str, *, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer


class BadGrid(DepotwatchError):
    """A grid that cannot exist: not metric, not north-up, empty or too large."""

    code = "bad-grid"


class UnreadableRaster(DepotwatchError):
    """A file that is no whole GeoTIFF: empty, truncated, another format in disguise, or too large."""

    code = "unreadable-raster"


class UnsupportedRaster(DepotwatchError):
    """A readable raster that cannot be used as it is: no CRS, rotated without transform, mixed types."""

    code = "unsupported-raster"


class SunTooLow(DepotwatchError):
    """The sun stands too low for shadow arithmetic."""

    code = "sun-too-low"
