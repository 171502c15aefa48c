"""Why an archive, or one scene of it, cannot be used."""

from imagery.errors import DepotwatchError


class UnreadableArchive(DepotwatchError):
    """An archive that does not exist, cannot be reached, or is no catalog, item collection, folder or API."""

    code = "unreadable-archive"


class SceneWithoutTime(DepotwatchError):
    """A scene that does not say when it was taken."""

    code = "scene-without-time"


class SceneWithoutBands(DepotwatchError):
    """A scene without a GeoTIFF of pixels, or with bands that nothing names."""

    code = "scene-without-bands"


class RadarScene(DepotwatchError):
    """A scene that radar took: backscatter is no reflectance, and only optical scenes are analysed."""

    code = "radar-scene"


class BadSceneMetadata(DepotwatchError):
    """A scene whose description contradicts itself or holds impossible values."""

    code = "bad-scene-metadata"


class BandCountMismatch(DepotwatchError):
    """A file with another number of bands than its description promises."""

    code = "band-count-mismatch"


class MixedDtypes(DepotwatchError):
    """A scene whose files hold different number types and no scale that would make them comparable."""

    code = "mixed-dtypes"


class DuplicateAcquisition(DepotwatchError):
    """The same acquisition once more: another processing of it, a second copy, or an overlapping tile."""

    code = "duplicate-acquisition"


class DuplicateSceneId(DepotwatchError):
    """Two scenes of one archive with one id."""

    code = "duplicate-scene-id"


class RemoteAssetRefused(DepotwatchError):
    """A reference to a place that may not be read: a private address, another protocol, a redirect."""

    code = "remote-asset-refused"


class DownloadFailed(DepotwatchError):
    """A remote asset that did not arrive whole."""

    code = "download-failed"
