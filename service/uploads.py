"""A scene sent by multipart: staged, checked by the archive's own judgement, hashed, moved in, indexed.

Nothing is visible in the archive before it was checked, and names are made here, never taken as paths.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from imagery.errors import DepotwatchError
from service.archives import find_archive, is_waiting_folder, store_scenes
from service.audit import Caller, record
from service.context import Service
from service.database import Record
from service.errors import (
    BadBody,
    BadUpload,
    BodyTooLarge,
    BodyTooSlow,
    Forbidden,
    NameTaken,
    UnsupportedMediaType,
)
from service.intake import parse_json
from service.problems import ManyErrors
from service.watch import opened, submit_for_scenes

SCENE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# A file called so is read as what another scene's pixels show, not as a scene.
MASK_NAME = re.compile(r"(?i).+[_-](cloud[_-]?mask|mask|scl)(_\d+m)?")
# Side files called so speak for the whole folder.
FOLDER_NAMES = frozenset({"catalog", "collection", "scenes"})
# What a folder's own side files may say of other files; from outside it would reach them.
FOLDER_FIELDS = ("file", "id", "mask")


async def receive_scene(
    request: Request, service: Service, caller: Caller, archive: str, scene_id: str | None
) -> dict[str, Any]:
    """Take an upload into an archive; return the scene as indexed.

    Raises
    ------
    NotFound, Forbidden : no such archive, or one this key may not write to
    BadUpload, ManyErrors : what is missing or wrong
    """
    row = await anyio.to_thread.run_sync(_writable_archive, service, caller, archive)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise UnsupportedMediaType(f"a scene comes as multipart/form-data, not {kind or 'an untyped body'}")
    limited = Request(request.scope, _limited(request, service))
    try:
        async with limited.form(max_files=4, max_fields=8) as form:
            return await anyio.to_thread.run_sync(_take, service, caller, row, scene_id, form)
    except MultiPartException as error:
        raise BadBody(f"the multipart body cannot be read: {error.message}") from error


def _limited(request: Request, service: Service) -> Any:
    """Return what receives the body within its limits; a large one may take long, but not stand still."""
    limit, patience_s = service.settings.max_upload_bytes, service.settings.body_timeout_s
    received = 0
    declared = request.headers.get("content-length", "")

    async def receive() -> MutableMapping[str, Any]:
        nonlocal received
        try:
            async with asyncio.timeout(patience_s):
                message = await request.receive()
        except TimeoutError as error:
            raise BodyTooSlow(f"nothing of the scene arrived for {patience_s:g} s") from error
        received += len(message.get("body", b""))
        if received > limit or (declared.isdecimal() and int(declared) > limit):
            raise BodyTooLarge(f"a scene has at most {limit:,} bytes here")
        return message

    return receive


def _writable_archive(service: Service, caller: Caller, name: str) -> Record:
    with service.database.read() as connection:
        row = find_archive(connection, caller.tenant, name)
    if row.tenant is None and "admin" not in caller.scopes:
        raise Forbidden(
            "this archive is shared by all tenants; only a key with the scope admin may add to it"
        )
    if row.kind != "folder" or (Path(row.source) / "catalog.json").exists():
        raise BadUpload("scenes can be uploaded into archives that are plain folders")
    return row


def _take(
    service: Service, caller: Caller, archive: Record, scene_id: str | None, form: FormData
) -> dict[str, Any]:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise BadUpload("the part 'file' with a GeoTIFF is missing", pointer="/file")
    name = _name(scene_id or Path(file.filename or "").stem)
    folder = Path(archive.source)
    _check_free(folder, name)
    with tempfile.TemporaryDirectory(prefix="upload-", dir=_staging(service)) as place:
        staged = Path(place)
        digest = _save(file, staged / f"{name}.tif")
        _check_new(service, archive, name, digest)
        mask = form.get("mask")
        if isinstance(mask, UploadFile):
            _save(mask, staged / f"{name}_mask.tif")
        if (side := _side_fields(form.get("item"))) is not None:
            (staged / f"{name}.json").write_text(json.dumps(side), "utf-8")
        notes = _check(staged)
        with _moved_in(staged, folder, name):
            made = _index(service, caller, archive, name)
    return {"scene_id": name, "archive": archive.name, "sha256": digest, "notes": notes, **made}


def _name(text: str) -> str:
    if not SCENE_NAME.fullmatch(text) or ".." in text:
        raise BadUpload(
            "a scene's name has 1 to 128 letters, digits, . _ - and begins with a letter or digit; "
            "give ?scene_id=",
            pointer="/scene_id",
        )
    if text.lower() in FOLDER_NAMES or MASK_NAME.fullmatch(text):
        raise BadUpload(
            f"{text!r} is what a folder of scenes calls its catalog or a cloud mask; give another ?scene_id=",
            pointer="/scene_id",
        )
    return text


def _check_free(folder: Path, name: str) -> None:
    """Refuse a name that a file of the archive has: its pixels, or what is said of them, would become another's."""
    wanted = {name.lower(), f"{name}_mask".lower()}
    if any(path.stem.lower() in wanted for path in folder.iterdir() if not path.name.startswith(".")):
        raise NameTaken(f"the archive has a scene {name!r} already", pointer="/scene_id")


def _check_new(service: Service, archive: Record, name: str, digest: str) -> None:
    """Refuse pixels that the archive holds already: a copy would only change which name they are known by."""
    if is_waiting_folder(archive.source):
        return
    for scene in opened(service.settings, archive).search().scenes:
        if any(digest == known for _, known in scene.sha256):
            told = f"{name}: its pixels are those of {scene.id}, which the archive has; it was not kept"
            raise ManyErrors([("/file", "duplicate-acquisition", told)])


def _staging(service: Service) -> Path:
    place = service.settings.data / "tmp"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _save(file: UploadFile, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as out:
        while part := file.file.read(1 << 20):
            digest.update(part)
            out.write(part)
    return digest.hexdigest()


def _side_fields(item: Any) -> dict[str, Any] | None:
    if item is None:
        return None
    text = item.file.read(1 << 20) if isinstance(item, UploadFile) else str(item).encode("utf-8", "replace")
    document = parse_json(text)
    if not isinstance(document, dict):
        raise BadUpload("item is a STAC Item, or an object with datetime, sun_azimuth, ...", pointer="/item")
    from pipelines.archives.item_beside import (  # heavy, and most processes never receive a scene
        NotOneFile,
        is_item,
        told_by,
    )

    if not is_item(document):
        for field in FOLDER_FIELDS:
            if field in document:
                raise BadUpload(
                    f"item: {field} is not taken from an upload; a mask is the part 'mask', an id ?scene_id=",
                    pointer=f"/item/{field}",
                )
        return document
    try:
        return told_by(document)
    except NotOneFile as fault:
        raise BadUpload(fault.detail, pointer="/item/assets") from fault


def _check(staged: Path) -> list[str]:
    """Let the archive reader judge the staged files; return its notes."""
    from pipelines.archives import open_archive  # heavy, and most processes never receive a scene

    found = open_archive(str(staged)).search()
    if found.refused or len(found.scenes) != 1:
        # Where it was put meanwhile is nobody's business.
        faults = [("/file", r.code, r.sentence.replace(f"{staged}/", "")) for r in found.refused]
        raise ManyErrors(faults or [("/file", BadUpload.code, "the file holds no scene")])
    return list(found.scenes[0].notes)


@contextmanager
def _moved_in(staged: Path, folder: Path, name: str) -> Iterator[None]:
    """Copy beside the target first, then rename; what describes the pixels comes before the pixels.

    All is taken out again where the block fails: what was refused must not lie in the archive.
    """
    parts = sorted(staged.iterdir(), key=lambda path: (path.name == f"{name}.tif", path.name))
    moved: list[Path] = []
    with _claimed(folder, name):
        try:
            for path in parts:
                beside = folder / f".{path.name}.part"
                moved.append(beside)
                shutil.copyfile(path, beside)
                os.replace(beside, folder / path.name)
                moved[-1] = folder / path.name
        except OSError as error:
            _take_out(moved)
            raise BadUpload(f"the archive's folder takes nothing: {error.strerror}") from error
        try:
            yield
        except DepotwatchError:
            _take_out(moved)
            raise


@contextmanager
def _claimed(folder: Path, name: str) -> Iterator[None]:
    """Hold a name while its files are put in: of two uploads of one name, the second must not write over the first.

    Raises
    ------
    NameTaken : another upload holds it, or was broken off while it did
    """
    claim = folder / f".{name.lower()}.upload"
    try:
        claim.touch(exist_ok=False)
    except FileExistsError as error:
        raise NameTaken(
            f"a scene {name!r} is being received; give another ?scene_id=", pointer="/scene_id"
        ) from error
    except OSError as error:
        raise BadUpload(f"the archive's folder takes nothing: {error.strerror}") from error
    try:
        _check_free(folder, name)
        yield
    finally:
        claim.unlink(missing_ok=True)


def _take_out(files: list[Path]) -> None:
    for path in reversed(files):
        path.unlink(missing_ok=True)


def _index(service: Service, caller: Caller, archive: Record, name: str) -> dict[str, Any]:
    seen = opened(service.settings, archive).search()
    found = [scene for scene in seen.scenes if Path(scene.bands[0].path).stem == name]
    if not found:
        why = [("/file", r.code, r.sentence) for r in seen.refused if r.where in {name, f"{name}.tif"}]
        raise ManyErrors(
            why or [("/file", BadUpload.code, "the archive does not read it as a scene of its own")]
        )
    with service.database.write() as connection:
        fresh = store_scenes(service.database, connection, archive.id, found, whole=False)
        started = submit_for_scenes(service.database, connection, service.settings, archive, fresh)
        record(service.database, connection, caller, "scene.upload", f"{archive.name}/{name}")
    scene = found[0]
    return {"time": scene.t_utc.isoformat().replace("+00:00", "Z"), "gsd": scene.gsd_m, "jobs": started}
