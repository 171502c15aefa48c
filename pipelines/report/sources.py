"""Which files a report was made from, named so that the report is the same wherever they lie.

Paths are recorded relative to the one folder that holds all of them, or to their archive's where there are several:
absolute ones would tell a reader about somebody's machine and make equal reports differ. Of addresses the query part is dropped, which may hold a token.
"""

import os
from functools import lru_cache
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from imagery.scene import FilePart, Scene
from pipelines.analysis import Analysis
from pipelines.report.canonical import rfc3339
from pipelines.report.licences import UNSTATED, forbids_chips


def _is_address(path: str) -> bool:
    return "://" in path or path.startswith("/vsi")


def source_folders(analysis: Analysis) -> tuple[str, ...]:
    """Return the folders that local source files are named relative to: the archives', or the one that holds all files."""
    if analysis.folders:
        return tuple(os.path.abspath(folder) for folder in analysis.folders)
    local = [
        os.path.abspath(p) for look in analysis.looks for p, _ in look.scene.sha256 if not _is_address(p)
    ]
    if not local:
        return ()
    return (os.path.dirname(local[0]) if len(set(local)) == 1 else os.path.commonpath(local),)


@lru_cache(maxsize=4096)
def recorded(path: str, folders: tuple[str, ...]) -> str:
    """Return a source's path as products print it: relative and with slashes, or an address without its query."""
    if _is_address(path):
        return urlunsplit(urlsplit(path)._replace(query="", fragment=""))
    place = PurePath(os.path.abspath(path))
    around = [folder for folder in folders if place.is_relative_to(folder)]
    return place.relative_to(max(around, key=len)).as_posix() if around else place.name


def source_files(scene: Scene, folders: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the scene's files with their hashes, by path; of excerpts what of the whole file was hashed."""
    parts = dict(scene.parts)
    return sorted(
        (_file(path, digest, parts.get(path), folders) for path, digest in scene.sha256),
        key=lambda f: f["path"],
    )


def _file(path: str, digest: str, part: FilePart | None, folders: tuple[str, ...]) -> dict[str, Any]:
    if part is None:
        return {"path": recorded(path, folders), "sha256": digest}
    named = recorded(str(PurePath(path).with_name(part.name)), folders)
    excerpt = {"size": part.size, "spans": [list(span) for span in part.spans]}
    return {"path": named, "sha256": digest, "excerpt": excerpt}


def sources(analysis: Analysis) -> list[dict[str, Any]]:
    """Return every scene a report was made from, by time and id."""
    folders = source_folders(analysis)
    return [
        {
            "scene_id": look.scene.id,
            "datetime": rfc3339(look.scene.t_utc),
            "platform": look.scene.platform,
            "licence": look.scene.licence or UNSTATED,
            "chips_allowed": not forbids_chips(look.scene.licence),
            "files": source_files(look.scene, folders),
        }
        for look in sorted(analysis.looks, key=lambda look: (look.scene.t_utc, look.scene.id))
    ]
