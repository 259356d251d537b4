"""Shards are kept in filesystems of pyarrow and fsspec. What a kill leaves there is never taken for a shard."""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
import uuid
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from pyarrow import fs

import secateur
from secateur import BeirFolder, DatabaseError, ShardPlan, ShardSet, SystemFailure, UsageError
from secateur.shard_store import DAY, ShardBuilder, ShardStore, fetch, finish
from secateur.stored_files import LAST, digest_of, plan_files, shown
from test_shards import files


@pytest.fixture
def plan(tmp_path: Path, mini: BeirFolder) -> ShardPlan:
    return ShardPlan.create(tmp_path / "plan", mini.path, 3)


@pytest.fixture
def builder(plan: ShardPlan, tmp_path: Path) -> ShardBuilder:
    return ShardBuilder(tmp_path / "store", plan=plan, scratch=tmp_path / "scratch")


def without_locks(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if not name.endswith("LOCK")}


def test_shards_in_a_store_are_those_built_in_place(plan: ShardPlan, builder: ShardBuilder, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for number in range(3):
        assert builder.build(number) and not builder.build(number)
        plan.build(number)
        assert files(store / f"shard-{number:05}") == without_locks(plan.shard_path(number))
    report = finish(store)
    assert report == plan.finish()
    assert (store / "manifest.json").read_bytes() == (plan.path / "manifest.json").read_bytes()
    fetch(store, tmp_path / "copy")
    assert ShardSet.open(tmp_path / "copy").search("roses") == ShardSet.open(plan.path).search("roses")
    # Whoever reads the plan from the store builds nothing again.
    assert not ShardBuilder(store, scratch=tmp_path / "scratch").build(1)
    assert not list((tmp_path / "scratch").rglob("shard-*/*")), "nothing is left"


def test_the_manifest_of_a_set_elsewhere_comes_last(plan: ShardPlan, tmp_path: Path) -> None:
    elsewhere = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    builder = ShardBuilder("bucket/set", plan=plan, filesystem=elsewhere, scratch=tmp_path / "scratch")
    builder.build(0)
    builder.build(2)
    with pytest.raises(DatabaseError, match="shard 1 is not in bucket/set"):
        finish("bucket/set", filesystem=elsewhere)
    assert ShardStore("bucket/set", elsewhere).read_manifest() is None
    builder.build(1)
    assert finish("bucket/set", filesystem=elsewhere).num_documents == 63
    fetch("bucket/set", tmp_path / "copy", filesystem=elsewhere)
    assert ShardPlan.open(tmp_path / "copy").verify().num_shards == 3


def test_filesystems_of_fsspec(plan: ShardPlan, tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    builder = ShardBuilder("memory://bucket/set", plan=plan, filesystem=memory, scratch=tmp_path / "scratch")
    assert [builder.build(number) for number in range(3)] == [True] * 3
    assert finish("memory://bucket/set", filesystem=memory).num_documents == 63
    assert sorted(ShardStore("bucket/set", memory).whole(plan_files(plan.path))) == [0, 1, 2]


class Broken(fs.FileSystemHandler):
    """A filesystem that fails at a moment that the test chooses, as a machine that dies there."""

    def __init__(self, path: Path, left: int) -> None:
        self.inner = fs.SubTreeFileSystem(str(path), fs.LocalFileSystem())
        self.left = left

    def open_output_stream(self, path: str, metadata: object) -> object:
        self.left -= 1
        if self.left < 0:
            raise OSError("the machine is gone")
        return self.inner.open_output_stream(path, metadata=metadata)

    def get_type_name(self) -> str:
        return "broken"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> object:
        return self.inner.get_file_info(paths)

    def get_file_info_selector(self, selector: object) -> object:
        return self.inner.get_file_info(selector)

    def delete_file(self, path: str) -> None:
        self.inner.delete_file(path)

    def open_input_stream(self, path: str) -> object:
        return self.inner.open_input_stream(path)

    def create_dir(self, path: str, recursive: bool) -> None:
        self.inner.create_dir(path, recursive=recursive)

    def move(self, source: str, target: str) -> None:
        self.inner.move(source, target)

    def _refuse(self, *arguments: object) -> None:
        raise NotImplementedError

    copy_file = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    open_append_stream = open_input_file = _refuse

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]


def test_half_an_upload_is_no_shard(plan: ShardPlan, tmp_path: Path) -> None:
    """Whichever file is the first that cannot be written, the shard is not there, and the next run makes it whole."""
    plan.build(0)
    found = plan_files(plan.path)
    place = tmp_path / "elsewhere"
    for moment in range(20):
        handler = Broken(place, 100)
        (place / "set").mkdir(parents=True, exist_ok=True)
        store = ShardStore("set", fs.PyFileSystem(handler))
        store.write_plan(found)
        handler.left = moment
        try:
            store.upload(0, plan.shard_path(0), found)
        except SystemFailure as error:
            assert "the machine is gone" in str(error)
            assert store.whole(found) == {} and not store.is_whole(0, found)
            with pytest.raises(DatabaseError, match="shard 0 is not in set"):
                store.download(0, tmp_path / "copy", found)
            if not (place / "set" / "shard-00000" / "MANIFEST").exists():
                with pytest.raises(DatabaseError):
                    secateur.Database.open(place / "set" / "shard-00000")
        else:
            break
    assert moment > 2, "there were moments to fail at"
    assert store.is_whole(0, found) and files(place / "set" / "shard-00000") == without_locks(plan.shard_path(0))


def test_lost_and_damaged_files(builder: ShardBuilder, tmp_path: Path) -> None:
    builder.build(0)
    store, found = builder.store, builder.files
    folder = tmp_path / "store" / "shard-00000"
    whole = files(folder)
    (folder / "stray").write_bytes(b"left over")
    for name in whole:
        (folder / name).unlink()
        assert not store.is_whole(0, found) and store.whole(found) == {}
        with pytest.raises(DatabaseError, match=f"shard 0: there is no .*{name}"):
            store.download(0, tmp_path / "copy", found)
        assert builder.build(0) and files(folder) == whole
    name = max(whole, key=lambda name: len(whole[name]))
    (folder / name).write_bytes(bytes(len(whole[name])))
    with pytest.raises(DatabaseError, match=f"{name} is damaged"):
        store.download(0, tmp_path / "copy", found)
    assert not (tmp_path / "copy").exists()
    record = tmp_path / "store" / "shard-00000.json"
    for text in ("", "{}", "[]", json.dumps({**json.loads(record.read_text()), "version": 2})):
        record.write_text(text)
        assert not store.is_whole(0, found)
        assert builder.build(0) and files(folder) == whole


def test_places_that_are_none(plan: ShardPlan, builder: ShardBuilder, tmp_path: Path) -> None:
    other = ShardPlan.create(tmp_path / "other", [("1", "Bees dance.")], 1)
    with pytest.raises(DatabaseError, match="the plan of another set"):
        ShardBuilder(tmp_path / "store", plan=other)
    with pytest.raises(DatabaseError, match="no plan.json"):
        ShardBuilder(tmp_path / "nothing")
    with pytest.raises(UsageError, match="nowhere://there"):
        ShardStore("nowhere://there")
    builder.build(0)
    (tmp_path / "copy" / "shard-00000").mkdir(parents=True)
    with pytest.raises(DatabaseError, match="is not shard 0"):
        fetch(tmp_path / "store", tmp_path / "copy", shards=[0])


def change_record(store: Path, **changes: object) -> None:
    record = store / "shard-00000.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **changes}))


@pytest.mark.parametrize("name", ["../stray", "/stray", "a/../../stray", "a//b", ".", "a\\b", "", 7])
def test_names_from_a_store_stay_in_their_folder(builder: ShardBuilder, tmp_path: Path, name: object) -> None:
    builder.build(0)
    store, folder = builder.store, tmp_path / "store" / "shard-00000"
    stray = str(tmp_path) + name if name == "/stray" else name
    listed = json.loads((tmp_path / "store" / "shard-00000.json").read_text())["files"]
    (tmp_path / "store" / "stray").write_bytes(b"")
    empty = {"name": stray, "bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    change_record(tmp_path / "store", files=[empty, *listed])
    before = files(tmp_path)
    assert not store.is_whole(0, builder.files) and folder.exists()
    with pytest.raises(DatabaseError, match="no whole shard-00000.json"):
        store.download(0, tmp_path / "deep" / "copy", builder.files)
    assert files(tmp_path) == before


class Crafted(Broken):
    """An object store whose objects have names that no folder gives."""

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[object]:
        found = list(self.inner.get_file_info(selector))
        if selector.base_dir.endswith("settings"):
            found.append(fs.FileInfo(f"{selector.base_dir}/../../../stray", type=fs.FileType.File, size=4))
        return found


def test_names_of_a_plan_stay_in_its_folder(builder: ShardBuilder, tmp_path: Path) -> None:
    (tmp_path / "stray").write_bytes(b"mine")
    crafted = fs.PyFileSystem(Crafted(tmp_path, 100))
    with pytest.raises(DatabaseError, match=r"'settings/\.\./\.\./\.\./stray' is no name of a file of a plan"):
        fetch("store", tmp_path / "a" / "copy", filesystem=crafted)
    assert not (tmp_path / "a").exists()


def test_shards_of_another_plan_are_none(builder: ShardBuilder, mini: BeirFolder, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for number in range(3):
        builder.build(number)
    for file in store.glob("plan.json"):
        file.unlink()
    # Of the same settings, so that only its documents tell it apart.
    other = ShardPlan.create(tmp_path / "other", list(mini.corpus())[::-1], 3)
    again = ShardBuilder(store, plan=other, scratch=tmp_path / "scratch")
    with pytest.raises(DatabaseError, match="shard 0 is not in .*of this plan"):
        fetch(store, tmp_path / "copy")
    with pytest.raises(DatabaseError, match="shard 0 in .* is one of another plan"):
        finish(store)
    with pytest.raises(DatabaseError, match="shard 1 in .*another plan; remove shard-00001/MANIFEST"):
        again.build(1, list(mini.corpus())[::-1])
    assert not (store / "manifest.json").exists()


def test_changed_shards_are_not_lost(plan: ShardPlan, builder: ShardBuilder, tmp_path: Path) -> None:
    builder.build(0)
    folder = tmp_path / "store" / "shard-00000"
    with secateur.Database.open(folder) as db:
        db.upsert([("mine", "Written after the shard was built.")])
    changed = files(folder)
    for without in ("", "shard-00000.json"):
        # Without the record it is compared after it was built.
        (tmp_path / "store" / (without or "nothing")).unlink(missing_ok=True)
        with pytest.raises(DatabaseError, match="shard 0 in .*it was changed since.*remove shard-00000/MANIFEST"):
            builder.build(0)
        assert files(folder) == changed
        assert without or not builder.plan.shard_path(0).exists(), "it was built in vain"
    (folder / LAST).unlink()
    assert builder.build(0) and "mine" not in secateur.Database.open(folder)


def test_a_set_that_is_there_is_not_overwritten(plan: ShardPlan, builder: ShardBuilder, tmp_path: Path) -> None:
    other = ShardPlan.create(tmp_path / "other", [("1", "Bees dance.")], 1)
    before = files(other.path)
    with pytest.raises(DatabaseError, match="has the plan of another set"):
        fetch(tmp_path / "store", other.path, shards=[])
    assert files(other.path) == before


def test_relative_places_are_the_same_in_other_folders(
    plan: ShardPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for filesystem in (None, fs.LocalFileSystem()):
        store = ShardStore("here/set", filesystem)
        assert store.where == str(tmp_path / "here" / "set") and store.local_path == tmp_path / "here" / "set"


def test_messages_have_no_keys(tmp_path: Path) -> None:
    assert shown("s3://KEY:SECRET@bucket/set?endpoint_override=there") == "s3://bucket/set"
    assert shown("abfs://box@account.dfs.core.windows.net/set") == "abfs://box@account.dfs.core.windows.net/set"
    assert shown("/a/folder?") == "/a/folder?"
    secret = uuid.uuid4().hex
    with pytest.raises(UsageError, match="nowhere://there/set") as raised:
        ShardStore(f"nowhere://KEY:{secret}@there/set?token={secret}")
    assert secret not in "".join(traceback.format_exception(raised.value))
    store = ShardStore(f"s3://KEY:{secret}@bucket/set?region=eu-west-1")
    store._fs = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    with pytest.raises(DatabaseError, match="^s3://bucket/set is no set") as raised_by_store:
        store.plan()
    assert secret not in str(raised_by_store.value) and secret in store.where


def test_what_a_killed_plan_left_is_not_of_the_next(plan: ShardPlan, tmp_path: Path) -> None:
    left = tmp_path / "store" / "settings" / "of-another-plan"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"left")
    builder = ShardBuilder(tmp_path / "store", plan=plan, scratch=tmp_path / "scratch")
    assert not left.exists()
    assert digest_of(builder.store.plan()) == digest_of(builder.files)


def test_uploads_of_others_are_left_alone(builder: ShardBuilder, tmp_path: Path) -> None:
    uploads = tmp_path / "store" / ".uploads"
    uploads.mkdir(exist_ok=True)
    for name, age in (("old", DAY + 60), ("young", 60)):
        (uploads / name).write_bytes(b"half")
        os.utime(uploads / name, (time.time() - age,) * 2)
    builder.store.forget_uploads()
    assert [file.name for file in uploads.iterdir()] == ["young"]


def test_a_kill_after_the_upload_leaves_nothing(plan: ShardPlan, builder: ShardBuilder) -> None:
    builder.build(0)
    builder.plan.build(0)
    assert not builder.build(0) and not builder.plan.shard_path(0).exists()


def test_listings_are_not_remembered(plan: ShardPlan, tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory")

    class Remembering(memory.MemoryFileSystem):
        """Answers from what it saw first, as filesystems of object stores do."""

        cachable = False
        seen: dict[str, object] = {}

        def info(self, path: str, **options: object) -> object:
            if path not in self.seen:
                try:
                    self.seen[path] = super().info(path, **options)
                except FileNotFoundError:
                    self.seen[path] = None
            if self.seen[path] is None:
                raise FileNotFoundError(path)
            return self.seen[path]

        def invalidate_cache(self, path: object = None) -> None:
            self.seen.clear()

    driver = ShardStore("listed/set", Remembering())
    assert driver.read_plan() is None
    ShardStore("listed/set", memory.MemoryFileSystem()).write_plan(plan_files(plan.path))
    assert driver.read_plan() == plan_files(plan.path)
