"""What pixels of a size can show of each class, and what they cannot: said in every report, and kept to.

Sizes follow TARGETS section 2: a 20 ft container covers 14.9 m2, a 40 ft one 29.7 m2, both 2.44 m wide.
"""

from imagery.changes import DetectionLimit, ObjectClass

COUNTABLE_GSD_M = 1.2
COARSE_GSD_M = 3.5
SMALLEST_ROW_M2 = 120.0
_TWENTY_FOOT_M2 = 14.9
_LEAST_PIXELS = 10.0
_SHORTEST_BERM_M = 10.0


def detection_limits(gsd_m: float) -> tuple[DetectionLimit, ...]:
    """Return the limit of every class for looks of one pixel size."""
    return container_limit(gsd_m), berm_limit(gsd_m), other_limit(gsd_m)


def container_limit(gsd_m: float) -> DetectionLimit:
    """Return what can be seen of containers: singly, in rows, or not at all."""
    size = f"{gsd_m:g} m pixels"
    if gsd_m > COARSE_GSD_M:
        return DetectionLimit(
            ObjectClass.CONTAINER, gsd_m, False, None, f"Containers cannot be told apart at {size}."
        )
    if gsd_m > COUNTABLE_GSD_M:
        smallest = max(SMALLEST_ROW_M2, _LEAST_PIXELS * gsd_m**2)
        return DetectionLimit(
            ObjectClass.CONTAINER,
            gsd_m,
            True,
            smallest,
            f"At {size} only rows or blocks of containers of {smallest:.0f} m² and more can be seen, and they "
            "cannot be counted.",
        )
    smallest = max(0.6 * _TWENTY_FOOT_M2, _LEAST_PIXELS * gsd_m**2)
    return DetectionLimit(
        ObjectClass.CONTAINER,
        gsd_m,
        True,
        smallest,
        f"At {size} objects consistent with containers of {smallest:.0f} m² and more can be seen and counted"
        + ("." if gsd_m <= 0.8 else "; where they stand close together the count is an estimate from area."),
    )


def berm_limit(gsd_m: float) -> DetectionLimit:
    """Return what can be seen of banks, by crest length and width."""
    if gsd_m > COARSE_GSD_M:
        return DetectionLimit(
            ObjectClass.BERM, gsd_m, False, None, f"Single banks cannot be seen at {gsd_m:g} m pixels."
        )
    length = max(_SHORTEST_BERM_M, 8.0 * gsd_m)
    width = max(3.0, 1.5 * gsd_m)
    return DetectionLimit(
        ObjectClass.BERM,
        gsd_m,
        True,
        length * width,
        f"At {gsd_m:g} m pixels banks with a crest of {length:.0f} m and more can be seen, unless they run within "
        "about 15 degrees of the sun's azimuth.",
    )


def other_limit(gsd_m: float) -> DetectionLimit:
    """Return what can be seen of structures of no known class."""
    smallest = max(25.0, 20.0 * gsd_m**2)
    return DetectionLimit(
        ObjectClass.OTHER,
        gsd_m,
        gsd_m <= COARSE_GSD_M,
        smallest,
        f"Other structures of {smallest:.0f} m² and more that stay can be seen at {gsd_m:g} m pixels.",
    )


def smallest_area_m2(object_class: ObjectClass, gsd_m: float) -> float:
    """Return the smallest area worth claiming; infinite where the class cannot be seen."""
    for limit in detection_limits(gsd_m):
        if limit.object_class is object_class and limit.observable and limit.smallest_area_m2 is not None:
            return limit.smallest_area_m2
    return float("inf")
