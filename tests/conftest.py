"""Speed is kept by benchmarks, not by tests: a busy machine fails no property."""

import signal

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")

# A shell that runs the suite in the background lets it ignore SIGINT, and what tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
