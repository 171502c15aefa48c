"""Where scenes come from: a static STAC catalog, a folder of GeoTIFFs, or a STAC API.

Archives are read as they are: each file is opened once with one driver and no network, what it says is compared with
what the archive says of it, and what is missing is told, never made up. Remote files come through our own client.
"""

from pipelines.archives.archive import Archive, ArchiveResult, Bring, Period, Refusal, as_found
from pipelines.archives.ground import Ground
from pipelines.archives.opening import open_archive

__all__ = ["Archive", "ArchiveResult", "Bring", "Ground", "Period", "Refusal", "as_found", "open_archive"]
