"""Sub-pixel registration of one look against another, and the honest answer when it cannot be had."""

from imagery.registration.estimator import ArrayRegistration, Options, register_arrays
from imagery.registration.looks import Reference, estimate_displacement

__all__ = ["ArrayRegistration", "Options", "Reference", "estimate_displacement", "register_arrays"]
