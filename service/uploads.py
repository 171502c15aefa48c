"""A scene sent by multipart: staged, checked by the archive's own judgement, hashed, moved in, indexed.

Nothing is visible in the archive before it was checked, and names are made here, never taken as paths.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from service.archives import find_archive, store_scenes
from service.audit import Caller, record
from service.context import Service
from service.errors import BadBody, BadUpload, BodyTooLarge, Forbidden, NameTaken, UnsupportedMediaType
from service.intake import parse_json
from service.problems import ManyErrors
from service.watch import submit_for_scenes

SCENE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# STAC's names of what a side file may say.
SIDE_FIELDS = {
    "datetime": "datetime",
    "gsd": "gsd",
    "view:sun_azimuth": "sun_azimuth",
    "view:sun_elevation": "sun_elevation",
    "view:off_nadir": "off_nadir",
    "view:azimuth": "view_azimuth",
    "platform": "platform",
    "license": "licence",
}


async def receive_scene(
    request: Request, service: Service, caller: Caller, archive: str, scene_id: str | None
) -> dict[str, Any]:
    """Take an upload into an archive; return the scene as indexed.

    Raises
    ------
    NotFound, Forbidden : no such archive, or one this key may not write to
    BadUpload, ManyErrors : what is missing or wrong
    """
    folder = await anyio.to_thread.run_sync(_writable_folder, service, caller, archive)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise UnsupportedMediaType(f"a scene comes as multipart/form-data, not {kind or 'an untyped body'}")
    limited = Request(request.scope, _limited(request, service.settings.max_upload_bytes))
    try:
        async with limited.form(max_files=4, max_fields=8) as form:
            return await anyio.to_thread.run_sync(_take, service, caller, archive, folder, scene_id, form)
    except MultiPartException as error:
        raise BadBody(f"the multipart body cannot be read: {error.message}") from error


def _limited(request: Request, limit: int) -> Any:
    received = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(f"a scene has at most {limit:,} bytes here")
        return message

    return receive


def _writable_folder(service: Service, caller: Caller, name: str) -> Path:
    with service.database.read() as connection:
        row = find_archive(connection, caller.tenant, name)
    if row.tenant is None and "admin" not in caller.scopes:
        raise Forbidden(
            "this archive is shared by all tenants; only a key with the scope admin may add to it"
        )
    if row.kind != "folder" or (Path(row.source) / "catalog.json").exists():
        raise BadUpload("scenes can be uploaded into archives that are plain folders")
    return Path(row.source)


def _take(
    service: Service, caller: Caller, archive: str, folder: Path, scene_id: str | None, form: FormData
) -> dict[str, Any]:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise BadUpload("the part 'file' with a GeoTIFF is missing", pointer="/file")
    name = _name(scene_id or Path(file.filename or "").stem)
    if (folder / f"{name}.tif").exists():
        raise NameTaken(f"the archive has a scene {name!r} already", pointer="/scene_id")
    with tempfile.TemporaryDirectory(prefix="upload-", dir=_staging(service)) as place:
        staged = Path(place)
        digest = _save(file, staged / f"{name}.tif")
        mask = form.get("mask")
        if isinstance(mask, UploadFile):
            _save(mask, staged / f"{name}_mask.tif")
        if (side := _side_fields(form.get("item"))) is not None:
            (staged / f"{name}.json").write_text(json.dumps(side), "utf-8")
        notes = _check(staged)
        _move_in(staged, folder, name)
    made = _index(service, caller, archive, folder, name)
    return {"scene_id": name, "archive": archive, "sha256": digest, "notes": notes, **made}


def _name(text: str) -> str:
    if not SCENE_NAME.fullmatch(text) or ".." in text:
        raise BadUpload(
            "a scene's name has 1 to 128 letters, digits, . _ - and begins with a letter or digit; "
            "give ?scene_id=",
            pointer="/scene_id",
        )
    return text


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
    properties = document.get("properties")
    if not isinstance(properties, dict):
        return document
    return {ours: properties[stac] for stac, ours in SIDE_FIELDS.items() if stac in properties}


def _check(staged: Path) -> list[str]:
    """Let the archive reader judge the staged files; return its notes."""
    from pipelines.archives import open_archive  # heavy, and most processes never receive a scene

    found = open_archive(str(staged)).search()
    if found.refused or len(found.scenes) != 1:
        # Where it was put meanwhile is nobody's business.
        faults = [("/file", r.code, r.sentence.replace(f"{staged}/", "")) for r in found.refused]
        raise ManyErrors(faults or [("/file", BadUpload.code, "the file holds no scene")])
    return list(found.scenes[0].notes)


def _move_in(staged: Path, folder: Path, name: str) -> None:
    """Copy beside the target first, then rename; what describes the pixels comes before the pixels."""
    parts = sorted(staged.iterdir(), key=lambda path: (path.name == f"{name}.tif", path.name))
    try:
        for path in parts:
            beside = folder / f".{path.name}.part"
            shutil.copyfile(path, beside)
            os.replace(beside, folder / path.name)
    except OSError as error:
        raise BadUpload(f"the archive's folder takes nothing: {error.strerror}") from error


def _index(service: Service, caller: Caller, archive: str, folder: Path, name: str) -> dict[str, Any]:
    from pipelines.archives import open_archive

    found = [
        scene for scene in open_archive(str(folder)).search().scenes if Path(scene.bands[0].path).stem == name
    ]
    if not found:
        raise BadUpload(
            "the archive shows this acquisition already, under another name; it is kept and not used twice"
        )
    with service.database.write() as connection:
        row = find_archive(connection, caller.tenant, archive)
        fresh = store_scenes(service.database, connection, row.id, found, whole=False)
        started = submit_for_scenes(service.database, connection, service.settings, row, fresh)
        record(service.database, connection, caller, "scene.upload", f"{archive}/{name}")
    scene = found[0]
    return {"time": scene.t_utc.isoformat().replace("+00:00", "Z"), "gsd": scene.gsd_m, "jobs": started}
