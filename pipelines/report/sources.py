"""Which files a report was made from, named so that the report is the same wherever they lie.

Paths are recorded relative to the one folder that holds all of them: absolute ones would tell a reader about
somebody's machine and make equal reports differ. Of addresses the query part is dropped, which may hold a token.
"""

import os
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from imagery.scene import Scene
from pipelines.analysis import Analysis
from pipelines.report.canonical import rfc3339
from pipelines.report.licences import UNSTATED, forbids_chips


def _is_address(path: str) -> bool:
    return "://" in path or path.startswith("/vsi")


def common_folder(analysis: Analysis) -> str:
    """Return the folder that holds every local source file; empty where there is none."""
    local = [
        os.path.abspath(p) for look in analysis.looks for p, _ in look.scene.sha256 if not _is_address(p)
    ]
    if not local:
        return ""
    return os.path.dirname(local[0]) if len(set(local)) == 1 else os.path.commonpath(local)


def recorded(path: str, folder: str) -> str:
    """Return a source's path as products print it: relative and with slashes, or an address without its query."""
    if _is_address(path):
        return urlunsplit(urlsplit(path)._replace(query="", fragment=""))
    if not folder:
        return PurePath(path).name
    return PurePath(os.path.relpath(os.path.abspath(path), folder)).as_posix()


def source_files(scene: Scene, folder: str) -> list[dict[str, str]]:
    """Return the scene's files with their hashes, by path."""
    return sorted(
        ({"path": recorded(path, folder), "sha256": digest} for path, digest in scene.sha256),
        key=lambda f: f["path"],
    )


def sources(analysis: Analysis) -> list[dict[str, Any]]:
    """Return every scene a report was made from, by time and id."""
    folder = common_folder(analysis)
    return [
        {
            "scene_id": look.scene.id,
            "datetime": rfc3339(look.scene.t_utc),
            "platform": look.scene.platform,
            "licence": look.scene.licence or UNSTATED,
            "chips_allowed": not forbids_chips(look.scene.licence),
            "files": source_files(look.scene, folder),
        }
        for look in sorted(analysis.looks, key=lambda look: (look.scene.t_utc, look.scene.id))
    ]
