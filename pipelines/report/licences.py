"""What a source's licence lets us show: coordinates and numbers always, picture chips not always.

Terms are read from the scene's STAC ``license``; what they mean is the operator's to know. Only terms that plainly
forbid handing on cut-outs are refused here. ``proprietary`` is not among them: large open archives label Sentinel-2 so.
"""

import re

from pipelines.analysis import Analysis

# Creative Commons' NoDerivatives family, NextView (US government use only), and the words an operator can set in
# an archive's configuration to keep chips of a source out of every product.
_FORBIDS_CHIPS = re.compile(
    r"(^|[^a-z])(no-?chips|no-?redistribution|no-?derivatives|nextview|cc-by(-nc)?-nd(-\d+(\.\d+)*)?)([^a-z]|$)"
)
UNSTATED = "licence not stated"


def forbids_chips(licence: str | None) -> bool:
    """Tell whether these terms forbid to hand on a cut-out of the picture; unstated terms do not."""
    return bool(licence and _FORBIDS_CHIPS.search(licence.strip().lower().replace(" ", "-")))


def withheld(analysis: Analysis) -> frozenset[str]:
    """Return the ids of scenes of which no picture may leave."""
    return frozenset(look.scene.id for look in analysis.looks if forbids_chips(look.scene.licence))
