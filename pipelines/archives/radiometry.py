"""From stored numbers to reflectance: by what the metadata says, never by the date of the scene.

In order: scale and offset of the band's description; those inside the file; the rules of a known product (Sentinel-2
with its processing baseline, PlanetScope surface reflectance); else the numbers are relative brightness and no more.
"""

from dataclasses import dataclass

from imagery.rasters import RasterHeader
from imagery.scene import Units
from pipelines.archives.claims import BandClaim, SceneClaim

SENTINEL_2_QUANTIFICATION = 10_000.0
# From baseline 04.00 on 1000 is added to every number, so that noise below zero survives. Archives were reprocessed:
# scenes taken long before carry it too. Source: S2 MPC, Data Quality Report, processing baseline 04.00, January 2022.
SENTINEL_2_OFFSET_BASELINE = 4.0
SENTINEL_2_OFFSET = -1000.0 / SENTINEL_2_QUANTIFICATION


@dataclass(frozen=True, slots=True)
class Radiometry:
    """``value = number * scale + offset`` in ``units``; ``note`` says where that is known from, empty if described."""

    scale: float
    offset: float
    units: Units
    nodata: float | None
    note: str = ""


def is_sentinel_2(claim: SceneClaim) -> bool:
    """Tell whether a scene says that Sentinel-2 took it."""
    return (
        (claim.platform or "")
        .lower()
        .replace("_", "-")
        .startswith(("sentinel-2", "sentinel2", "s2a", "s2b", "s2c"))
    )


def radiometry(claim: SceneClaim, band: BandClaim, header: RasterHeader, index: int) -> Radiometry:
    """Say how numbers of one band (1-based ``index`` in its file) become reflectance."""
    nodata = header.nodata if header.nodata is not None else band.nodata
    own_scale, own_offset = header.scalings[index - 1]
    if band.scale is not None or band.offset is not None:
        offset = 0.0 if band.offset is None else band.offset
        note = _without_offset(claim) if band.offset is None else ""
        if claim.offset_applied and offset != 0.0 and is_sentinel_2(claim):
            offset, note = (
                0.0,
                (
                    f"the catalog describes offset {band.offset:g} and also says that it was applied already: not applied again"
                ),
            )
        return Radiometry(1.0 if band.scale is None else band.scale, offset, "reflectance", nodata, note)
    if (own_scale, own_offset) != (1.0, 0.0):
        said = "scale and offset read from the file"
        doubt = _without_offset(claim) if own_offset == 0.0 else ""
        return Radiometry(own_scale, own_offset, "reflectance", nodata, f"{said}; {doubt}" if doubt else said)
    if is_sentinel_2(claim) and header.dtype in ("uint16", "int16"):
        return _sentinel_2(claim, nodata)
    return _undescribed(header, nodata)


def _without_offset(claim: SceneClaim) -> str:
    """Return the doubt about a described scale without an offset, where the product is one that needs an offset."""
    late = claim.baseline is not None and claim.baseline >= SENTINEL_2_OFFSET_BASELINE
    if not late or claim.offset_applied is not None or not is_sentinel_2(claim):
        return ""
    return (
        f"Sentinel-2 baseline {claim.baseline:05.2f} adds 1000 to every number, and a scale is described without an offset: "
        f"none is applied; describe offset {SENTINEL_2_OFFSET:g} if the numbers still carry it"
    )


def _sentinel_2(claim: SceneClaim, nodata: float | None) -> Radiometry:
    nodata = 0.0 if nodata is None else nodata
    scale = 1.0 / SENTINEL_2_QUANTIFICATION
    if claim.offset_applied is not None:
        late = claim.baseline is None or claim.baseline >= SENTINEL_2_OFFSET_BASELINE
        offset = SENTINEL_2_OFFSET if late and not claim.offset_applied else 0.0
        said = "was applied already" if claim.offset_applied else "was not applied"
        return Radiometry(
            scale, offset, "reflectance", nodata, f"Sentinel-2: the catalog says that the offset {said}"
        )
    if claim.baseline is not None:
        offset = SENTINEL_2_OFFSET if claim.baseline >= SENTINEL_2_OFFSET_BASELINE else 0.0
        return Radiometry(
            scale, offset, "reflectance", nodata,
            f"Sentinel-2 baseline {claim.baseline:05.2f}: offset {offset:g}",
        )  # fmt: skip
    return Radiometry(
        scale, 0.0, "relative", nodata,
        "Sentinel-2 without processing baseline: offset unknown, taken as relative brightness",
    )  # fmt: skip


def _undescribed(header: RasterHeader, nodata: float | None) -> Radiometry:
    if header.dtype == "float32":
        return Radiometry(
            1.0, 0.0, "reflectance", nodata, "no scale given: float numbers taken as reflectance"
        )
    if header.dtype == "uint8":
        return Radiometry(
            1.0 / 255.0, 0.0, "relative", nodata, "no scale given: 8 bit taken as relative brightness"
        )
    bits = header.bits or 0
    if "analytic" in header.path.lower() and "_sr" in header.path.lower():
        return Radiometry(1e-4, 0.0, "reflectance", nodata, "PlanetScope surface reflectance: scale 0.0001")
    full = float(2**bits - 1) if 8 < bits < 16 else 10_000.0
    return Radiometry(
        1.0 / full,
        0.0,
        "relative",
        nodata,
        f"no scale given: numbers / {full:g} taken as relative brightness",
    )
