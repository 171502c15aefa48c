"""Check an evidence bundle: are all files what the manifest says, and does the work give them again?

A bundle comes from strangers: nothing is unpacked, names and sizes are checked before a byte is inflated, and source
files are looked for only under the folder the user names.
"""

import hashlib
import json
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from imagery.errors import DepotwatchError
from imagery.excerpt import Span, are_spans
from pipelines.archives.cutting import excerpt_sha256
from pipelines.report.bundle import MANIFEST
from pipelines.report.canonical import sha256_of

Replay = Callable[[Mapping[str, Any], Path, Path], None]
"""``(report, catalog, out)``: run the analysis ``report.json`` tells of on ``catalog`` and write its files to ``out``."""

MAX_MEMBERS = 500_000
MAX_BYTES = 64 * 2**30
MAX_RATIO = 300  # of unpacked to packed size; GeoJSON and WKT reach about 20
MAX_JSON_BYTES = 512 * 2**20
MAX_SOURCE_FILES = 1_000_000
_CHUNK = 1 << 20
# Where a look's own numbers tell which step they come from; the rest of a look is what was seen of it.
PLACED = ("displacement", "state", "quality", "residual_m", "registration_reasons", "reference")


class BadBundle(DepotwatchError):
    """A file that is no bundle of ours: no zip, damaged, or without a manifest."""

    code = "bad-bundle"


class UnsafeBundle(DepotwatchError):
    """A zip that tries to reach outside itself or to fill the machine."""

    code = "unsafe-bundle"


class ReplayState(StrEnum):
    """What became of running the analysis again."""

    NOT_RUN = "not_run"
    IDENTICAL = "identical"
    DIFFERENT = "different"
    OTHER_VERSION = "other_version"
    OTHER_SOURCES = "other_sources"


@dataclass(frozen=True, slots=True)
class Difference:
    """One file that is not what it should be; None for a hash that there is none of."""

    path: str
    expected: str | None
    found: str | None
    why: str


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """Which of the recorded source files lie under the catalogue's folder; ``changed`` ones have another hash.

    A catalogue may refer to files elsewhere: those count as missing here, and the replay compares their hashes.
    """

    recorded: int
    found: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The outcome; ``differences`` are in order of path, the first one is what to look at.

    ``look`` is the (step, scene) of the first look that a replay told otherwise, None where all looks are alike.
    """

    bundle_sha256: str
    processing_version: str
    files_checked: int
    differences: tuple[Difference, ...]
    sources: SourceCheck
    replay: ReplayState
    replay_reason: str
    replay_differences: tuple[Difference, ...] = ()
    look: tuple[str, str] | None = None

    @property
    def ok(self) -> bool:
        """True where nothing contradicts the bundle: no hash, no source, and no replay by the same version."""
        contradicted = self.replay in {ReplayState.DIFFERENT, ReplayState.OTHER_SOURCES}
        return not (self.differences or self.sources.changed or contradicted)

    @property
    def outcome(self) -> str:
        """What may be said of the bundle in one line: equal hashes alone do not verify how a report was made."""
        if not self.ok:
            return "NOT verified"
        match self.replay:
            case ReplayState.IDENTICAL:
                return "verified"
            case ReplayState.OTHER_VERSION:
                return "hashes agree; not comparable: replay it with the version that made it"
            case _:
                return "hashes agree; not replayed: give --catalog to replay"

    @property
    def first_difference(self) -> Difference | None:
        """The first file that differs, else None."""
        return next(iter([*self.differences, *self.replay_differences]), None)

    @property
    def step(self) -> str | None:
        """The first step, in the order of the work, that gives something else than the bundle says, else None."""
        if self.differences:
            return "bundle"
        if self.sources.changed or self.replay is ReplayState.OTHER_SOURCES:
            return "search"
        if not self.replay_differences:
            return None
        if self.look is not None:
            return self.look[0]
        paths = {difference.path for difference in self.replay_differences}
        return "changes" if "changes.geojson" in paths else "report"

    @property
    def told(self) -> str | None:
        """Which step first differs, and at what, as a sentence; None where none does."""
        step, first = self.step, self.first_difference
        if step is None:
            return None
        if self.sources.changed and not self.differences:
            changed = self.sources.changed
            return (
                f"step {step} differs: {len(changed)} source files have other bytes now, first {changed[0]}"
            )
        if first is None:
            return f"step {step} differs: other scenes are found than the report was made from"
        if self.differences:
            many = f"{len(self.differences)} files of the bundle are not as listed"
            return f"step {step} differs: {many}, first {first.path} ({first.why})"
        where = "" if self.look is None else f", first at scene {self.look[1]}"
        many = f"{len(self.replay_differences)} files came out differently"
        return f"step {step} differs{where}: {many}, first {first.path}"

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""

        def told(differences: Sequence[Difference]) -> list[dict[str, str | None]]:
            return [
                {"path": d.path, "expected": d.expected, "found": d.found, "why": d.why} for d in differences
            ]

        return {
            "ok": self.ok,
            "outcome": self.outcome,
            "step": self.step,
            "bundle_sha256": self.bundle_sha256,
            "processing_version": self.processing_version,
            "files_checked": self.files_checked,
            "differences": told(self.differences),
            "sources": {
                "recorded": self.sources.recorded,
                "found": self.sources.found,
                "missing": list(self.sources.missing),
                "changed": list(self.sources.changed),
            },
            "replay": {
                "state": str(self.replay),
                "reason": self.replay_reason,
                "scene": None if self.look is None else self.look[1],
                "differences": told(self.replay_differences),
            },
        }


def verify_bundle(bundle: Path, catalog: Path | None = None, replay: Replay | None = None) -> VerifyResult:
    """Check every hash in a bundle; where a catalogue is named, run the analysis again on it and compare.

    Parameters
    ----------
    catalog : catalogue file or folder that holds the sources; the bundle's own folder where None
    replay : what runs the analysis again; None leaves that out

    Raises
    ------
    BadBundle, UnsafeBundle
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            members = _checked_members(archive, bundle.stat().st_size)
            manifest = _json(archive, members, MANIFEST)
            report = _json(archive, members, "report.json")
            found = {name: _sha256(archive, entry) for name, entry in members.items()}
    except (OSError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise BadBundle(f"{bundle} is no readable bundle: {error}; download or make it again") from error
    listed = _listed(manifest, "manifest.json")
    differences = _compare(listed, {n: h for n, h in found.items() if n != MANIFEST})
    inner = _listed(report, "report.json")
    differences += [d for d in _compare(inner, found, extra_is_wrong=False) if d not in differences]
    sources = _check_sources(report, catalog or bundle.resolve().parent)
    state, reason, again, look = _run_again(report, listed, sources, catalog, replay, intact=not differences)
    return VerifyResult(
        sha256_of(bundle), str(report.get("processing_version")), len(found) - 1,
        tuple(sorted(set(differences), key=lambda d: (d.path, d.why))), sources, state, reason, again, look,
    )  # fmt: skip


def _checked_members(archive: zipfile.ZipFile, packed: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name, having refused what no bundle of ours holds."""
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise UnsafeBundle(f"the zip lists {len(entries):,} members, more than {MAX_MEMBERS:,}; not opened")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_BYTES or total > MAX_RATIO * max(packed, 1 << 16):
        raise UnsafeBundle(f"the zip of {packed:,} bytes would unpack to {total:,}; not opened")
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.filename
        # orig_filename still has what zipfile cleans away: NUL tails and foreign separators.
        if name != entry.orig_filename or not _plain(name):
            raise UnsafeBundle(
                f"a member is named {entry.orig_filename!r}, which reaches outside; not opened"
            )
        if stat.S_ISLNK(entry.external_attr >> 16) or entry.flag_bits & 0x1:
            raise UnsafeBundle(f"{name} is a link or encrypted; bundles hold plain files only")
        if name in members:
            raise UnsafeBundle(f"{name} is in the zip twice; which one counts cannot be said")
        members[name] = entry
    return members


def _plain(name: str) -> bool:
    path = PurePosixPath(name)
    clean = not any(c in name for c in "\\:\0") and not path.is_absolute() and str(path) == name
    return clean and ".." not in path.parts and name not in {"", "."}


def _json(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> Mapping[str, Any]:
    entry = members.get(name)
    if entry is None:
        raise BadBundle(f"the zip holds no {name}; it is no evidence bundle")
    if entry.file_size > MAX_JSON_BYTES:
        raise UnsafeBundle(f"{name} would be {entry.file_size:,} bytes; not opened")
    try:
        value = json.loads(archive.read(entry))
    except (ValueError, RecursionError) as error:
        raise BadBundle(f"{name} is no readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadBundle(f"{name} is not a JSON object")
    return value


def _sha256(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str | None:
    """Return a member's hash; None where its bytes are damaged."""
    digest = hashlib.sha256()
    try:
        with archive.open(entry) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError):
        return None
    return digest.hexdigest()


def _listed(document: Mapping[str, Any], name: str) -> dict[str, str]:
    try:
        return {str(f["path"]): str(f["sha256"]) for f in document["files"]}
    except (KeyError, TypeError) as error:
        raise BadBundle(f"{name} lists no files with path and sha256") from error


def _compare(
    expected: Mapping[str, str], found: Mapping[str, str | None], *, extra_is_wrong: bool = True
) -> list[Difference]:
    differences = []
    for name in sorted(expected):
        if name not in found:
            differences.append(Difference(name, expected[name], None, "missing"))
        elif found[name] is None:
            differences.append(Difference(name, expected[name], None, "damaged"))
        elif found[name] != expected[name]:
            differences.append(Difference(name, expected[name], found[name], "changed"))
    if extra_is_wrong:
        differences += [
            Difference(n, None, found[n], "not listed") for n in sorted(found) if n not in expected
        ]
    return differences


@dataclass(frozen=True, slots=True)
class _Source:
    """A file that a report was made from; ``spans`` of one of ``size`` bytes where no more than they were read."""

    path: str
    sha256: str
    size: int | None = None
    spans: tuple[Span, ...] = ()

    def digest_of(self, path: Path) -> str | None:
        """Return the hash of the same bytes of a file here; None where it has no such bytes."""
        if self.size is None:
            return sha256_of(path)
        try:
            return excerpt_sha256(path, self.size, self.spans)
        except ValueError:
            return None


def _sources(report: Mapping[str, Any]) -> Iterator[_Source]:
    try:
        for scene in report["generated_from"]:
            for file in scene["files"]:
                yield _source(file)
    except (KeyError, TypeError, ValueError) as error:
        raise BadBundle("report.json does not say what it was generated from") from error


def _source(file: Mapping[str, Any]) -> _Source:
    excerpt = file.get("excerpt")
    if excerpt is None:
        return _Source(str(file["path"]), str(file["sha256"]))
    size, spans = int(excerpt["size"]), tuple((int(at), int(length)) for at, length in excerpt["spans"])
    if not are_spans(spans, size):
        raise ValueError("spans that no file has")
    return _Source(str(file["path"]), str(file["sha256"]), size, spans)


def _check_sources(report: Mapping[str, Any], place: Path) -> SourceCheck:
    """Look for the recorded files under a folder, by the end of their path, and compare hashes."""
    wanted = sorted(set(_sources(report)), key=lambda source: (source.path, source.sha256, source.spans))
    names = {PurePosixPath(source.path).name for source in wanted}
    there = _files_named(place if place.is_dir() else place.parent, names) if wanted else {}
    missing, changed = [], []
    for source in wanted:
        hashes = [source.digest_of(p) for p in _ending_with(source.path, there)]
        if not hashes:
            missing.append(source.path)
        elif source.sha256 not in hashes:
            changed.append(source.path)
    return SourceCheck(len(wanted), len(wanted) - len(missing) - len(changed), tuple(missing), tuple(changed))


def _files_named(root: Path, names: set[str]) -> dict[str, list[Path]]:
    there: dict[str, list[Path]] = {}
    for count, path in enumerate(root.rglob("*")):
        if count >= MAX_SOURCE_FILES:
            break
        if path.name in names and path.is_file():
            there.setdefault(path.name, []).append(path)
    return there


def _ending_with(recorded: str, there: Mapping[str, Sequence[Path]]) -> list[Path]:
    """Return the files that share the longest tail with the recorded path."""
    parts = PurePosixPath(recorded).parts

    def shared(path: Path) -> int:
        same = 0
        for mine, theirs in zip(reversed(path.parts), reversed(parts), strict=False):
            if mine != theirs:
                break
            same += 1
        return same

    candidates = sorted(there.get(PurePosixPath(recorded).name, []))
    best = max(map(shared, candidates), default=0)
    return [path for path in candidates if shared(path) == best]


def _run_again(
    report: Mapping[str, Any],
    listed: Mapping[str, str],
    sources: SourceCheck,
    catalog: Path | None,
    replay: Replay | None,
    *,
    intact: bool,
) -> tuple[ReplayState, str, tuple[Difference, ...], tuple[str, str] | None]:
    if not intact:
        return ReplayState.NOT_RUN, "the bundle itself is not intact", (), None
    if replay is None or catalog is None:
        return ReplayState.NOT_RUN, "no catalogue was named to run the analysis on again", (), None
    if sources.changed:
        return ReplayState.NOT_RUN, "some sources are not the ones the report was made from", (), None
    with tempfile.TemporaryDirectory(prefix="depotwatch-verify-") as folder:
        out = Path(folder) / "report"
        replay(report, catalog, out)
        again = json.loads((out / "report.json").read_text("utf-8"))
        made = {p.relative_to(out).as_posix(): sha256_of(p) for p in sorted(out.rglob("*")) if p.is_file()}
    version = again.get("processing_version")
    same_version = version == report.get("processing_version")
    if _hashes(again, excerpts=same_version) != _hashes(report, excerpts=same_version):
        reason = "the catalogue holds other scenes than the report was made from"
        return ReplayState.OTHER_SOURCES, reason, (), None
    if not same_version:
        return ReplayState.OTHER_VERSION, f"this installation is processing version {version}", (), None
    differences = tuple(_compare(listed, made))
    if differences:
        look = first_look_that_differs(report.get("looks", ()), again.get("looks", ()))
        return ReplayState.DIFFERENT, f"{len(differences)} files came out differently", differences, look
    return ReplayState.IDENTICAL, f"{len(made)} files came out byte for byte the same", (), None


def _hashes(report: Mapping[str, Any], *, excerpts: bool) -> set[str]:
    """Return the hashes of a report's sources; another version may have read other excerpts of the same files."""
    return {source.sha256 for source in _sources(report) if excerpts or source.size is None}


def first_look_that_differs(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> tuple[str, str] | None:
    """Return (step, scene) of the first look, in order of time, that two reports tell differently."""
    then = {look["scene_id"]: look for look in after}
    for look in before:
        now = then.get(look["scene_id"])
        if now is None:
            return "chips", str(look["scene_id"])
        if any(look.get(name) != now.get(name) for name in PLACED):
            return "registration", str(look["scene_id"])
        if look != now:
            return "looks", str(look["scene_id"])
    return None
