"""Ray builds sets of shards: machines and drivers are killed, and every byte is as if nothing had happened.

The cluster is three nodes of `ray.cluster_utils.Cluster`: the driver's, without processors for work, and two workers with one
each. Its processes are real ones, which are killed by SIGKILL.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="Ray is not here: pip install 'ray[data]'")
pytest.importorskip("pyarrow", reason="pyarrow is not here: pip install 'ray[data]'")
pytest.importorskip("ray.cluster_utils", reason="this ray is a folder and no package")

from ray.cluster_utils import Cluster

from secateur import (
    BeirFolder,
    Database,
    DatabaseError,
    Document,
    Encoder,
    InputError,
    ShardPlan,
    ShardSet,
    SystemFailure,
    UsageError,
)
from secateur.progress import Progress
from secateur.ray import EncodeBatches, build_shards, serve_shards, write_shards
from secateur.shard_store import ShardStore, fetch
from secateur.stored_files import plan_files
from test_shards import built, files, same_answers, some

# What Ray says of itself is no business of these tests.
pytestmark = pytest.mark.filterwarnings("ignore")

SHARDS = 6
WAIT = 120
"""Seconds in which something must happen."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    memory = 100 * 2**20
    # A busy machine answers late. That is no death; a process that was killed is found at once.
    patient = {"health_check_timeout_ms": 60_000}
    head = {"num_cpus": 0, "object_store_memory": memory, "_system_config": patient}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=memory)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, mini: BeirFolder) -> ShardPlan:
    """A set that was built in one process."""
    plan = ShardPlan.create(tmp_path_factory.mktemp("undisturbed") / "set", mini.path, SHARDS, encoder="default")
    for number in range(SHARDS):
        plan.build(number)
    plan.finish()
    return plan


@pytest.fixture
def plan(tmp_path: Path, mini: BeirFolder) -> ShardPlan:
    return ShardPlan.create(tmp_path / "plan", mini.path, SHARDS, encoder="default")


def gated(corpus: Path, folder: Path) -> Callable[[], Iterator[Document]]:
    """The corpus, which ends only when the gate is open. Whoever reads it before leaves the id of its node."""

    def read() -> Iterator[Document]:
        documents = list(BeirFolder(corpus).corpus())
        yield from documents[:5]
        node = ray.get_runtime_context().get_node_id()
        (folder / f"{node}-{os.getpid()}.waits").touch()
        while not (folder / "gate").exists():
            time.sleep(0.05)
        yield from documents[5:]

    return read


def waiting(folder: Path) -> list[Path]:
    return list(folder.glob("*.waits"))


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def same_as(undisturbed: ShardPlan, store: Path) -> None:
    """Every shard has the bytes of the undisturbed build."""
    for number in range(SHARDS):
        expected = files(undisturbed.shard_path(number))
        expected.pop("LOCK", None)
        assert files(store / f"shard-{number:05}") == expected, number
    assert (store / "manifest.json").read_bytes() == (undisturbed.path / "manifest.json").read_bytes()


def test_a_cluster_builds_a_set(cluster: Cluster, plan: ShardPlan, undisturbed: ShardPlan, tmp_path: Path) -> None:
    told: list[Progress] = []
    store = tmp_path / "store"
    report = build_shards(plan, store, progress=told.append, scratch=tmp_path / "scratch")
    assert (report.num_built, report.num_there) == (SHARDS, 0)
    assert report.finished == undisturbed.verify()
    assert (told[-1].done, told[-1].total) == (63, 63)
    same_as(undisturbed, store)
    assert not list(store.glob(".uploads/*"))
    # Of a set that is whole nothing is built; a shard that was lost is built again.
    records = {record: record.stat().st_mtime_ns for record in store.glob("shard-*.json")}
    next((store / "shard-00002").rglob("*.pack")).unlink()
    with pytest.raises(DatabaseError, match="shard 2: there is no .*pack"):
        fetch(store, tmp_path / "copy")
    again = build_shards(store, scratch=tmp_path / "scratch")
    assert (again.num_built, again.num_there) == (1, SHARDS - 1)
    changed = [record.name for record, at in records.items() if record.stat().st_mtime_ns != at]
    assert changed == ["shard-00002.json"]
    same_as(undisturbed, store)


def test_a_node_is_killed(
    cluster: Cluster, plan: ShardPlan, undisturbed: ShardPlan, mini: BeirFolder, tmp_path: Path
) -> None:
    def open_gate_without_a_node(_: Progress) -> None:
        found = {file.name.split("-")[0] for file in waiting(tmp_path)}
        if (tmp_path / "gate").exists() or len(found) < 2:
            return
        # Both machines have a shard in hand. One of them dies.
        node = next(node for node in cluster.worker_nodes if node.node_id in found)
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        until(lambda: sum(one["Alive"] for one in ray.nodes()) == 2)
        cluster.remove_node(node, allow_graceful=False)
        (tmp_path / "gate").touch()

    try:
        report = build_shards(
            plan,
            tmp_path / "store",
            documents=gated(mini.path, tmp_path),
            progress=open_gate_without_a_node,
            scratch=tmp_path / "scratch",
        )
    finally:
        cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    assert (tmp_path / "gate").exists() and (report.num_built, report.num_there) == (SHARDS, 0)
    same_as(undisturbed, tmp_path / "store")


def test_the_driver_is_killed(
    cluster: Cluster, plan: ShardPlan, undisturbed: ShardPlan, mini: BeirFolder, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    program = f"""
import os, sys, time
from pathlib import Path
import ray
from secateur import BeirFolder
from secateur.ray import build_shards

folder = Path({str(tmp_path)!r})

def read():
    # Some shards are built. The next ones wait.
    if len(list(folder.glob("*.read"))) >= 3:
        (folder / f"{{os.getpid()}}.waits").touch()
        while not (folder / "gate").exists():
            time.sleep(0.05)
    (folder / f"{{os.getpid()}}-{{time.monotonic_ns()}}.read").touch()
    yield from BeirFolder({str(mini.path)!r}).corpus()

ray.init(address={cluster.address!r}, log_to_driver=False)
build_shards(folder / "plan", folder / "store", documents=read, scratch=folder / "scratch")
"""
    driver = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    found = plan_files(plan.path)
    try:
        until(lambda: len(waiting(tmp_path)) == 2)
    finally:
        driver.kill()
        driver.wait()
    before = ShardStore(store).whole(found)
    assert 1 <= len(before) < SHARDS
    assert not (store / "manifest.json").exists()
    with pytest.raises(DatabaseError, match="not finished|shards finish"):
        ShardSet.open(store)
    records = {number: (store / f"shard-{number:05}.json").stat().st_mtime_ns for number in before}
    (tmp_path / "gate").touch()
    report = build_shards(plan, store, scratch=tmp_path / "scratch")
    # The actors of the driver that was killed may have ended one more.
    assert report.num_there >= len(before) and report.num_built + report.num_there == SHARDS
    for number, at in records.items():
        assert (store / f"shard-{number:05}.json").stat().st_mtime_ns == at, "it was built again"
    same_as(undisturbed, store)


def test_errors_are_those_of_one_process(cluster: Cluster, plan: ShardPlan, tmp_path: Path) -> None:
    twice = [("1", "Bees dance."), ("2", "Bread rises."), ("1", "Prune roses.")]
    doubled = ShardPlan.create(tmp_path / "doubled", twice, 2)
    with pytest.raises(DatabaseError, match='"1" is in shard 0 and in shard 1'):
        build_shards(doubled, tmp_path / "two", documents=twice)
    assert not (tmp_path / "two" / "manifest.json").exists()

    with pytest.raises(DatabaseError, match="is planned with"):
        build_shards(plan, tmp_path / "other", encoder=lambda: Encoder("default", truncate_dim=64))
    with pytest.raises(InputError, match="nowhere"):
        build_shards(plan, tmp_path / "other", files=[tmp_path / "nowhere.jsonl"])
    with pytest.raises(InputError, match="the corpus is not the one"):
        build_shards(plan, tmp_path / "other", documents=[("1", "Bees dance.")])
    assert ShardStore(tmp_path / "other").whole(plan_files(plan.path)) == {}
    with pytest.raises(DatabaseError, match="the plan of another set"):
        build_shards(plan, tmp_path / "two")
    with pytest.raises(DatabaseError, match="no plan.json"):
        build_shards(tmp_path / "nothing")
    with pytest.raises(UsageError, match="does not travel"):
        build_shards(plan, tmp_path / "other", encoder=Encoder("default"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="num_actors is 0"):
        build_shards(plan, tmp_path / "other", num_actors=0)
    rows = ray.data.from_items([{"id": "1", "text": "Bees dance."}])
    with pytest.raises(UsageError, match="num_actors is 0"):
        write_shards(rows, tmp_path / "rows", 1, num_actors=0)
    with pytest.raises(UsageError, match="does not travel"):
        write_shards(rows, tmp_path / "rows", 1, encoder=Encoder("default"))  # type: ignore[arg-type]
    assert not (tmp_path / "rows").exists()


def test_what_fails_a_few_times_is_tried_again(
    cluster: Cluster, plan: ShardPlan, undisturbed: ShardPlan, mini: BeirFolder, tmp_path: Path
) -> None:
    path, marks = mini.path, tmp_path / "marks"
    marks.mkdir()

    def dies_at_first() -> Encoder:
        # More often than one shard may, for all actors of a machine die with it.
        (marks / f"{os.getpid()}.started").touch()
        if len(list(marks.glob("*.started"))) <= 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return Encoder("default")

    def fails_at_first() -> Iterator[Document]:
        if not (marks / "failed").exists():
            (marks / "failed").touch()
            raise SystemFailure("the store answers late")
        yield from BeirFolder(path).corpus()

    store = tmp_path / "store"
    options = {"encoder": dies_at_first, "documents": fails_at_first, "scratch": tmp_path / "scratch"}
    report = build_shards(plan, store, num_actors=2, max_retries=1, **options)  # type: ignore[arg-type]
    assert report.num_built == SHARDS and len(list(marks.glob("*.started"))) > 3
    same_as(undisturbed, store)

    def fails() -> Iterator[Document]:
        raise SystemFailure("the store does not answer")
        yield

    with pytest.raises(SystemFailure, match=r"shard \d: its actor was lost or failed, 2 times.*the store does not answer"):
        build_shards(plan, tmp_path / "other", documents=fails, num_actors=1, max_retries=1)


def test_relative_places_are_those_of_the_driver(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ShardPlan.create("plan.set", some(4), 2)
    build_shards("plan.set", "store.set", documents=some(4))
    with serve_shards("store.set", num_actors=1) as served:
        assert served.search("text", 4) == ShardSet.open(tmp_path / "store.set").search("text", 4)


@pytest.mark.parametrize("given", [{}, {"device": "cpu"}])
def test_an_actor_with_a_gpu_encodes_on_it(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    actor = SimpleNamespace(get_actor_id=lambda: "id", get_assigned_resources=lambda: {"CPU": 1.0, "GPU": 0.5})
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: actor)
    asked: list[dict[str, str]] = []
    monkeypatch.setattr("secateur.ray_data.Encoder", lambda model, **options: asked.append(options))
    monkeypatch.setattr("secateur.ray_data.set_num_threads", lambda threads: None)
    EncodeBatches(**given)
    assert asked == [given or {"device": "cuda:0"}]


def test_datasets_are_encoded_and_written(cluster: Cluster, mini: BeirFolder, tmp_path: Path) -> None:
    rows = [
        {"id": one.id, "title": one.title, "text": one.text, "metadata": {"n": n % 3, "odd": "yes" if n % 2 else None}}
        for n, one in enumerate(mini.corpus())
    ]
    encoded = ray.data.from_items(rows, override_num_blocks=4).map_batches(
        EncodeBatches, fn_constructor_kwargs={"title": "title"}, batch_size=16, compute=ray.data.ActorPoolStrategy(size=1)
    )
    store = tmp_path / "store"
    report = write_shards(encoded, store, 3, dim=384, scratch=tmp_path / "scratch")
    assert report.finished is not None and report.finished.num_documents == len(rows)
    whole = Database.build(tmp_path / "whole.db", mini.path, encoder="default")
    given = ShardSet.open(store)
    query = Encoder("default").encode_query("pruning a rose")
    assert given.search(query) == whole.search(query)
    assert given.search("roses", mode="bm25") == whole.search("roses", mode="bm25")
    assert given[rows[1]["id"]].metadata == {"n": 1, "odd": "yes"} and given[rows[0]["id"]].metadata == {"n": 0}

    again = write_shards(encoded, store, 3, dim=384, scratch=tmp_path / "scratch")
    assert (again.num_built, again.num_there) == (0, 3)
    # The shards' actors encode, and the plan is the same when it is made again.
    for counts in ((3, 0), (0, 3)):
        report = write_shards(ray.data.from_items(rows), tmp_path / "texts", 3, encoder="default", scratch=tmp_path / "scratch")
        assert (report.num_built, report.num_there) == counts
    assert ShardSet.open(tmp_path / "texts").search("pruning a rose") == whole.search("pruning a rose")
    with pytest.raises(DatabaseError, match="the plan of another set"):
        write_shards(ray.data.from_items(rows[1:]), store, 3)
    with pytest.raises(InputError, match="which is no JSON"):
        write_shards(ray.data.from_items([{"id": "1", "text": "x", "metadata": "{"}]), tmp_path / "wrong", 1)


def killed(actor: Any) -> int:
    """Kills the process of an actor, and gives its id."""
    found: int = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    os.kill(found, signal.SIGKILL)
    return found


def test_actors_answer_as_folders_do(cluster: Cluster, encoder: Encoder, tmp_path: Path) -> None:
    plan = built(tmp_path / "set", some(40), 3, encoder=encoder)
    local = ShardSet.open(plan.path)
    with serve_shards(plan, num_actors=2) as served:
        same_answers(served, local)
        assert repr(served) == f"<secateur.ServedShards {str(plan.path)!r}: 40 documents in 3 shards>"
        # Another process takes the place of one that dies.
        before = killed(served.actors[0])
        same_answers(served, local)
        assert ray.get(served.actors[0].__ray_call__.remote(lambda _: os.getpid())) != before
        with pytest.raises(UsageError, match="does not travel"):
            pickle.dumps(served)
    with pytest.raises(SystemFailure, match="was lost"):
        served.search("text")


def test_actors_that_are_lost(cluster: Cluster, tmp_path: Path) -> None:
    plan = built(tmp_path / "set", some(40), 3)
    with serve_shards(plan, num_actors=2, max_restarts=0) as served:
        killed(served.actors[1])
        with pytest.raises(SystemFailure, match=r"shard 1 \(actor 1 of 2\): it was lost"):
            served.search("text", mode="bm25")
    with serve_shards(plan, num_actors=2, max_restarts=0, partial=True) as served:
        killed(served.actors[1])
        assert len(served.search("text", 40)) == 27
        assert [missing.number for missing in served.missing] == [1]


def test_what_cannot_be_served(cluster: Cluster, tmp_path: Path) -> None:
    plan = ShardPlan.create(tmp_path / "set", some(4), 2)
    with pytest.raises(DatabaseError, match="set is not finished"):
        serve_shards(plan)
    with pytest.raises(DatabaseError, match="no plan.json"):
        serve_shards(tmp_path)
    for number in range(2):
        plan.build(number, some(4))
    plan.finish()
    for options in ({"num_actors": 0}, {"max_restarts": -2}, {"timeout": 0}):
        with pytest.raises(UsageError, match=rf"{next(iter(options))} is "):
            serve_shards(plan, **options)  # type: ignore[arg-type]
    next(plan.shard_path(1).rglob("*.pack")).unlink()
    with pytest.raises(DatabaseError, match="pack"):
        serve_shards(plan, num_actors=1)
    # What was started for it is gone.
    until(lambda: ray.available_resources().get("CPU") == 2)


def test_shards_of_a_store_are_copied_to_actors(cluster: Cluster, tmp_path: Path) -> None:
    from pyarrow import fs

    plan = built(tmp_path / "set", some(40), 2)
    (tmp_path / "bucket").mkdir()
    bucket = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    options: dict[str, Any] = {"filesystem": bucket, "scratch": tmp_path / "scratch"}
    build_shards(plan, "a.set", documents=some(40), **options)
    with serve_shards("a.set", num_actors=1, **options) as served:
        queries = {"1": "text number 3", "2": "of 2"}
        assert served.run(queries, 40) == ShardSet.open(plan.path).run(queries, 40)
    assert len(list((tmp_path / "scratch").glob("*-served/shard-*/MANIFEST"))) == 2
