"""The files of a set in a store: what they are called, and where the store is. See `secateur.shard_store`."""

from __future__ import annotations

import hashlib
import os
import posixpath
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
from pyarrow import fs

from .errors import UsageError

PLAN, MANIFEST, SETTINGS = "plan.json", "manifest.json", "settings"
LAST = "MANIFEST"
"""The file of a database without which it is none."""


class StoredFile(NamedTuple):
    """A file of a shard."""

    name: str
    """Its path below the shard's folder, with slashes."""
    bytes: int
    sha256: str


def plan_files(path: Path) -> dict[str, bytes]:
    """The files of the plan in a folder, by their names."""
    settings = sorted(file for file in (path / SETTINGS).rglob("*") if file.is_file())
    names = [PLAN, *(file.relative_to(path).as_posix() for file in settings)]
    return {name: (path / name).read_bytes() for name in names if is_kept(name)}


def digest_of(plan: Mapping[str, bytes]) -> str:
    """A checksum of all files of a plan."""
    hashed = hashlib.sha256()
    for name in sorted(plan):
        hashed.update(f"{len(name)} {name} {len(plan[name])} ".encode())
        hashed.update(plan[name])
    return hashed.hexdigest()


def is_kept(name: str) -> bool:
    """Locks belong to a machine."""
    return posixpath.basename(name) != "LOCK"


def is_inside(name: object) -> bool:
    """Whether it is the path of a file below a folder. Whoever can write to a store chooses the names in it."""
    if not isinstance(name, str) or "\\" in name or "\0" in name:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def folder_of(number: int) -> str:
    return f"shard-{number:05}"


def record_name(number: int) -> str:
    return f"{folder_of(number)}.json"


def number_of(name: str) -> int | None:
    """The number of the shard whose record a file is."""
    digits = name.removeprefix("shard-").removesuffix(".json")
    return int(digits) if digits.isdecimal() and name == record_name(int(digits)) else None


def located(where: str, filesystem: Any) -> tuple[Any, str]:
    """A filesystem of pyarrow, and the path in it. A folder's path is absolute: other processes run in other folders."""
    if filesystem is not None:
        if not isinstance(filesystem, fs.FileSystem):
            filesystem = fs.PyFileSystem(fs.FSSpecHandler(filesystem))
        path = where.split("://", 1)[-1].rstrip("/")
        return filesystem, os.path.abspath(path) if isinstance(filesystem, fs.LocalFileSystem) else path
    if "://" not in where:
        return fs.LocalFileSystem(), os.path.abspath(where)
    try:
        found, path = fs.FileSystem.from_uri(where)
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        told = str(error).replace(where, shown(where))
        advice = "give a folder, a URI that pyarrow knows, or a filesystem"
        # Not `from error`, which may have a key in it.
        raise UsageError(f"{shown(where)} is no place for shards: {told}; {advice}") from None
    return found, path.rstrip("/")


def shown(where: str) -> str:
    """What messages call a place: a URI without the keys that may be in it."""
    scheme, is_uri, rest = where.partition("://")
    if not is_uri:
        return where
    # A name without a password, such as a container of Azure, is no secret.
    before, at, after = rest.rpartition("@")
    return f"{scheme}://{after if ':' in before else before + at + after}".partition("?")[0]


def write_whole(path: Path, content: bytes) -> None:
    """Writes a small file, unless it is there. Others may write the same at the same time."""
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    partial.write_bytes(content)
    os.replace(partial, path)
