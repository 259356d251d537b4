"""Sets of shards in any filesystem of pyarrow: a folder that all machines see, S3, GCS, Azure, HDFS, or one of fsspec.

A store has the files of a set, and beside each shard a record ``shard-00000.json`` with the length and the SHA-256 of each of
its files. The shard's own ``MANIFEST`` is uploaded after its other files, and the record last. So what a kill leaves of an
upload is neither a database nor taken for a shard.

Needs ``pip install secateur[ray]``, or pyarrow alone.

>>> plan = ShardPlan.create(tmp / "planned.set", mini_dataset, 3)
>>> builder = ShardBuilder(tmp / "store", plan=plan)
>>> [builder.build(number) for number in range(3)], builder.build(0)
([True, True, True], False)
>>> finish(tmp / "store").num_documents
63
>>> fetch(tmp / "store", tmp / "copy")
>>> ShardSet.open(tmp / "copy").search("pruning a rose", k=1)[0].id
'garden-01'
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import fs

from .errors import DatabaseError, SystemFailure, UsageError
from .shard_plans import SetReport, ShardPlan
from .stored_files import (
    LAST,
    MANIFEST,
    PLAN,
    SETTINGS,
    StoredFile,
    digest_of,
    folder_of,
    is_inside,
    is_kept,
    located,
    number_of,
    plan_files,
    record_name,
    shown,
    write_whole,
)

__all__ = ["ShardBuilder", "ShardStore", "fetch", "finish"]

_Path = str | os.PathLike[str]

FORMAT, VERSION = "secateur stored shard", 1
OBJECT_STORES = ("s3", "gcs", "abfs")
"""Filesystems of pyarrow in which a file is there when it is closed, and where there are no folders."""
CHUNK = 1 << 23
"""Bytes that are copied at a time."""
DAY = 24 * 60 * 60
"""Seconds after which nobody goes on with an upload."""
THREADS = 8
"""Files that are copied, or looked at, at the same time."""


class ShardStore:
    """Where the shards of a set are kept.

    :param where: a folder, or a URI such as ``s3://bucket/garden.set``. Better than with a key in it is a role of the machine.
    :param filesystem: one of pyarrow or of fsspec; the one that `where` names unless given.
    """

    def __init__(self, where: _Path, filesystem: Any = None) -> None:
        self._fs, self._base = located(os.fspath(where), filesystem)
        self.where = self._base if isinstance(self._fs, fs.LocalFileSystem) else os.fspath(where)
        """The place, as processes in other folders find it."""
        self._shown = shown(self.where)

    @property
    def local_path(self) -> Path | None:
        """The folder, if it is one of this machine's."""
        return Path(self._base) if isinstance(self._fs, fs.LocalFileSystem) else None

    def read_plan(self) -> dict[str, bytes] | None:
        """The files of the plan, by their names; `None` before there is one."""
        with self._told("read"):
            if self._info(PLAN).type == fs.FileType.NotFound:
                return None
            names = [PLAN, *(f"{SETTINGS}/{name}" for name in self._sizes(SETTINGS))]
            if wrong := [name for name in names if not is_inside(name)]:
                raise DatabaseError(f"{self._shown} is no set of shards: {wrong[0]!r} is no name of a file of a plan")
            return {name: self._read(name) for name in names if is_kept(name)}

    def plan(self) -> dict[str, bytes]:
        """The files of the plan. That there is none is an error."""
        found = self.read_plan()
        if found is None:
            raise DatabaseError(f"{self._shown} is no set of shards: it has no {PLAN}; plan one with ShardPlan.create")
        return found

    def write_plan(self, plan: Mapping[str, bytes]) -> None:
        """Writes the files of a plan. Another plan that is there is an error."""
        found = self.read_plan()
        if found is not None and found != plan:
            raise DatabaseError(
                f"{self._shown} has the plan of another set: its documents, its shards or its settings differ; "
                "choose another place, or remove that set"
            )
        if found is None:
            with self._told("write"):
                # What a kill left of another plan would count as this one's.
                for name in {f"{SETTINGS}/{name}" for name in self._sizes(SETTINGS)} - plan.keys():
                    self._fs.delete_file(self._path(name))
            # Without plan.json nothing is a set, so it comes last.
            for name in sorted(plan, key=lambda name: name == PLAN):
                self._write(name, plan[name])

    def whole(self, plan: Mapping[str, bytes]) -> dict[int, list[StoredFile]]:
        """The shards of a plan that are here as their records say: every file is there, with its length."""
        with self._told("list"):
            sizes = self._sizes("")
        numbers = [number for name in sizes if (number := number_of(name)) is not None]
        digest = digest_of(plan)
        with ThreadPoolExecutor(THREADS) as pool:
            records = zip(numbers, pool.map(lambda number: self._record(number, digest), numbers), strict=True)
            found = {number: files for number, files in records if files is not None}
        return {
            number: files
            for number, files in found.items()
            if all(sizes.get(f"{folder_of(number)}/{file.name}") == file.bytes for file in files)
        }

    def is_whole(self, number: int, plan: Mapping[str, bytes]) -> bool:
        """Whether a shard is here as its record says."""
        files = self._record(number, digest_of(plan))
        if files is None:
            return False
        with self._told("list"):
            sizes = self._sizes(folder_of(number))
        return all(sizes.get(file.name) == file.bytes for file in files)

    def upload(self, number: int, folder: Path, plan: Mapping[str, bytes]) -> None:
        """Copies a shard here, in place of what is there of it. A whole shard that is another one is an error."""
        self._refuse_other(number, hashlib.sha256((folder / LAST).read_bytes()).hexdigest())
        to = folder_of(number)
        with self._told("write"):
            for name in (record_name(number), f"{to}/{LAST}"):
                if self._info(name).type != fs.FileType.NotFound:
                    self._fs.delete_file(self._path(name))
            names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
            before = [name for name in names if name != LAST and is_kept(name)]
            with ThreadPoolExecutor(THREADS) as pool:
                files = list(pool.map(lambda name: self._upload(folder, name, to), before))
            files.append(self._upload(folder, LAST, to))
            for name in self._sizes(to).keys() - {file.name for file in files}:
                if is_kept(name):
                    self._fs.delete_file(self._path(f"{to}/{name}"))
        record = {
            "format": FORMAT,
            "version": VERSION,
            "plan": digest_of(plan),
            "files": [file._asdict() for file in files],
        }
        self._write(record_name(number), json.dumps(record, indent=1).encode())

    def refuse_changed(self, number: int, plan: Mapping[str, bytes]) -> None:
        """A shard that was changed since it was uploaded, or that another plan has there, is an error: it would be lost."""
        files = self._record(number, None)
        if files is not None and self._record(number, digest_of(plan)) is None:
            self._refuse_other(number, "")
        elif files is not None:
            self._refuse_other(number, next(file.sha256 for file in files if file.name == LAST))

    def refuse_other_plans(self, num_shards: int, plan: Mapping[str, bytes]) -> None:
        """A shard that was uploaded for another plan is an error."""
        digest = digest_of(plan)
        for number in range(num_shards):
            if self._record(number, digest) is None and self._record(number, None) is not None:
                raise DatabaseError(f"shard {number} in {self._shown} is one of another plan: remove it and build it again")

    def _refuse_other(self, number: int, sha256: str) -> None:
        name = f"{folder_of(number)}/{LAST}"
        with self._told("read"):
            if self._info(name).type == fs.FileType.NotFound:
                return
            there = hashlib.sha256(self._read(name)).hexdigest()
        if there != sha256:
            raise DatabaseError(
                f"shard {number} in {self._shown} is whole, and not as this plan builds it: it was changed since, or is one of "
                f"another plan; remove {name} to lose it and build it again"
            )

    def download(self, number: int, folder: Path, plan: Mapping[str, bytes]) -> None:
        """Copies a shard of a plan to a folder, which appears when all files are there and have their checksums.

        A shard that is there already is left alone, and another database is an error.
        """
        files = self._record(number, digest_of(plan))
        if files is None:
            what = f"it has no whole {record_name(number)} of this plan"
            raise DatabaseError(f"shard {number} is not in {self._shown}: {what}; build it")
        if folder.exists():
            last = next(file for file in files if file.name == LAST)
            there = folder / LAST
            if there.is_file() and hashlib.sha256(there.read_bytes()).hexdigest() == last.sha256:
                return
            raise DatabaseError(f"{folder} is not shard {number} of {self._shown}: remove it, or choose another folder")
        partial = folder.with_name(f"{folder.name}.fetching-{uuid.uuid4().hex}")
        try:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda file: self._download(number, file, partial), files))
            os.rename(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def upload_manifest(self, manifest: bytes) -> None:
        """Writes the manifest of the finished set."""
        self._write(MANIFEST, manifest)

    def read_manifest(self) -> bytes | None:
        """The manifest of the set; `None` before it is finished."""
        with self._told("read"):
            return None if self._info(MANIFEST).type == fs.FileType.NotFound else self._read(MANIFEST)

    def forget_uploads(self) -> None:
        """Removes what killed uploads left, a day later. What is younger somebody may be writing."""
        before = (time.time() - DAY) * 1e9
        with self._told("remove"):
            for info in self._found(".uploads"):
                if info.mtime_ns is not None and info.mtime_ns < before:
                    self._fs.delete_file(info.path)

    # Files

    def _path(self, name: str) -> str:
        return posixpath.join(self._base, name) if name else self._base

    def _look_anew(self) -> None:
        """Filesystems of fsspec remember what they listed, and other machines write files meanwhile."""
        if isinstance(self._fs, fs.PyFileSystem) and isinstance(self._fs.handler, fs.FSSpecHandler):
            self._fs.handler.fs.invalidate_cache()

    def _info(self, name: str) -> Any:
        self._look_anew()
        return self._fs.get_file_info(self._path(name))

    def _sizes(self, folder: str) -> dict[str, int]:
        """The files below a folder, by their paths below it, with their lengths."""
        # Some filesystems answer with another number of slashes before the path than they were asked with.
        skipped = len(self._path(folder).strip("/")) + 1
        return {info.path.strip("/")[skipped:]: info.size for info in self._found(folder)}

    def _found(self, folder: str) -> list[Any]:
        """The files below a folder, as the filesystem tells them."""
        self._look_anew()
        selector = fs.FileSelector(self._path(folder), allow_not_found=True, recursive=True)
        return [info for info in self._fs.get_file_info(selector) if info.type == fs.FileType.File]

    def _read(self, name: str) -> bytes:
        with self._fs.open_input_stream(self._path(name)) as stream:
            content: bytes = stream.read()
        return content

    def _record(self, number: int, digest: str | None) -> list[StoredFile] | None:
        """The files of a shard, if it has a record; of this plan, if one is given."""
        with self._told("read"):
            if self._info(record_name(number)).type == fs.FileType.NotFound:
                return None
            text = self._read(record_name(number))
        try:
            record = json.loads(text)
            if (record["format"], record["version"]) != (FORMAT, VERSION) or record["plan"] != (digest or record["plan"]):
                return None
            files = [StoredFile(**file) for file in record["files"]]
        except (ValueError, KeyError, TypeError):
            # Whatever it is, it is no record of ours.
            return None
        if not all(is_inside(file.name) for file in files):
            return None
        return files if any(file.name == LAST for file in files) else None

    @contextmanager
    def _output(self, name: str) -> Iterator[Any]:
        """A file to write, which appears whole but for one case: an exception ends a file of an object store where it is.

        So no record may be written before all files are.
        """
        path = self._path(name)
        if self._fs.type_name in OBJECT_STORES:
            with self._fs.open_output_stream(path) as stream:
                yield stream
            return
        partial = self._path(f".uploads/{uuid.uuid4().hex}")
        self._fs.create_dir(posixpath.dirname(partial))
        with self._fs.open_output_stream(partial) as stream:
            yield stream
        self._fs.create_dir(posixpath.dirname(path))
        self._fs.move(partial, path)

    def _write(self, name: str, content: bytes) -> None:
        with self._told("write"), self._output(name) as stream:
            stream.write(content)

    def _upload(self, folder: Path, name: str, to: str) -> StoredFile:
        hashed, length = hashlib.sha256(), 0
        with open(folder / name, "rb") as source, self._output(f"{to}/{name}") as stream:
            while chunk := source.read(CHUNK):
                hashed.update(chunk)
                length += len(chunk)
                stream.write(chunk)
        return StoredFile(name, length, hashed.hexdigest())

    def _download(self, number: int, file: StoredFile, folder: Path) -> None:
        name = f"{folder_of(number)}/{file.name}"
        at = posixpath.join(self._shown, name)
        with self._told("read"):
            if self._info(name).type == fs.FileType.NotFound:
                raise DatabaseError(f"shard {number}: there is no {at}; build the shard again")
            target = folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            hashed = hashlib.sha256()
            with self._fs.open_input_stream(self._path(name)) as source, open(target, "xb") as copy:
                while chunk := source.read(CHUNK):
                    hashed.update(chunk)
                    copy.write(chunk)
        if hashed.hexdigest() != file.sha256:
            raise DatabaseError(
                f"shard {number}: {at} is damaged: its SHA-256 is {hashed.hexdigest()}, and its record says {file.sha256}; "
                f"remove {record_name(number)} and build the shard again"
            )

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pyarrow.ArrowException) as error:
            if isinstance(error, SystemFailure):
                raise
            raise SystemFailure(f"{self._shown}: cannot {what}: {error}") from error


class ShardBuilder:
    """Builds shards of a set in a folder of this machine and uploads them: the work of one process of Ray, Spark or Slurm.

    It loads the encoder once, when a shard needs it.

    :param where: where the shards go: see `ShardStore`. The plan is read there, too, unless `plan` is given.
    :param encoder: the one that the set is planned with, by its path or name, or a function that gives it. Unless given it is
        loaded from where it was.
    :param device: where it computes: ``cpu`` unless given.
    :param scratch: a folder of this machine. What a kill leaves of a shard there is taken up again by whoever builds it next.
    """

    def __init__(
        self,
        where: _Path,
        *,
        plan: ShardPlan | Mapping[str, bytes] | None = None,
        filesystem: Any = None,
        encoder: Any = None,
        device: str | None = None,
        scratch: _Path | None = None,
    ) -> None:
        self.store = ShardStore(where, filesystem)
        """Where the shards go."""
        given = plan_files(plan.path) if isinstance(plan, ShardPlan) else plan
        if given is not None:
            self.store.write_plan(given)
        found: Mapping[str, bytes] = self.store.plan() if given is None else given
        self.files = found
        """The files of the plan, by their names."""
        self._scratch = scratch_folder(scratch) / digest_of(found)[:32]
        self._given, self._device = encoder, device
        self._loaded: Any = None
        self._plan: ShardPlan | None = None

    def load(self) -> None:
        """Loads the encoder, if the set has one."""
        plan = self.plan
        if self._loaded is not None:
            return
        if callable(self._given):
            self._loaded = self._given()
        elif self._given is not None:
            from .encoder import Encoder

            self._loaded = self._given if isinstance(self._given, Encoder) else Encoder(self._given, device=self._device)
        else:
            self._loaded = plan.load_encoder(device=self._device)

    @property
    def plan(self) -> ShardPlan:
        """The plan, in a folder of this machine."""
        if self._plan is None:
            for name, content in sorted(self.files.items(), key=lambda file: file[0] == PLAN):
                write_whole(self._scratch / name, content)
            self._plan = ShardPlan.open(self._scratch)
        return self._plan

    def build(self, number: int, documents: Any = None, **options: Any) -> bool:
        """Builds a shard and uploads it, unless it is there. Whether something was done.

        A shard that was changed since is an error, for it would be lost.

        :param documents: as in `ShardPlan.build`, and so are the options: `part`, `files`, `fields`, `progress`.
        """
        plan = self.plan
        folder = plan.shard_path(number)
        with _alone(folder):
            if self.store.is_whole(number, self.files):
                # What a kill left after the upload.
                shutil.rmtree(folder, ignore_errors=True)
                return False
            self.store.refuse_changed(number, self.files)
            self.load()
            plan.build(number, documents, encoder=self._loaded, **options)
            self.store.upload(number, folder, self.files)
            shutil.rmtree(folder)
        return True


def finish(where: _Path, *, filesystem: Any = None, scratch: _Path | None = None) -> SetReport:
    """Checks the shards of a store against each other and writes the manifest, last.

    Of a store that is no folder of this machine the shards are copied to one first: to compare their ids takes all of them.
    """
    store = ShardStore(where, filesystem)
    if store.local_path is not None:
        local = ShardPlan.open(store.local_path)
        store.refuse_other_plans(local.num_shards, store.plan())
        return local.finish()
    with tempfile.TemporaryDirectory(dir=scratch_folder(scratch)) as folder:
        path = Path(folder) / "set"
        fetch(where, path, filesystem=filesystem)
        report = ShardPlan.open(path).finish()
        store.upload_manifest((path / MANIFEST).read_bytes())
    return report


def fetch(where: _Path, path: _Path, *, shards: Iterable[int] | None = None, filesystem: Any = None) -> None:
    """Copies a set, or some of its shards, from a store to a folder. Every file must have its checksum.

    Shards that are there are left alone, so after an error the same call goes on. The manifest comes last.
    """
    store = ShardStore(where, filesystem)
    files = store.plan()
    target = Path(path)
    if (target / PLAN).is_file():
        there = plan_files(target)
        if any(there.get(name) != content for name, content in files.items()):
            raise DatabaseError(f"{target} has the plan of another set: choose another folder, or remove that set")
    for name, content in sorted(files.items(), key=lambda file: file[0] == PLAN):
        write_whole(target / name, content)
    plan = ShardPlan.open(target)
    for number in range(plan.num_shards) if shards is None else shards:
        store.download(number, plan.shard_path(number), files)
    manifest = store.read_manifest()
    if manifest is not None:
        write_whole(target / MANIFEST, manifest)


def scratch_folder(folder: _Path | None) -> Path:
    """A folder of this machine for shards: one of this user's unless given."""
    if folder is not None:
        given = Path(folder)
        given.mkdir(parents=True, exist_ok=True)
        return given
    own = Path(tempfile.gettempdir()) / f"secateur-shards-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.lstat().st_uid != os.getuid() or own.is_symlink():
        raise UsageError(f"{own} belongs to somebody else: name another scratch folder")
    return own


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process of this machine builds the shard: one of a driver that was killed, say."""
    import fcntl

    with open(folder.with_name(f"{folder.name}.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
