"""Speed is kept by benchmarks, not by tests: a busy machine fails no property."""

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")
