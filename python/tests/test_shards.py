"""Sets of shards: they are planned, built and finished, and answer as one database."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
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
    _native,
)
from secateur.opened import Loading


def built(path: Path, documents: object, num_shards: int, **options: object) -> ShardPlan:
    plan = ShardPlan.create(path, documents, num_shards, **options)
    for number in range(num_shards):
        plan.build(number, documents)
    plan.finish()
    return plan


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def some(count: int) -> list[Document]:
    return [Document(f"d{n}", f"text number {n} of {n % 3}", metadata={"n": n % 4}) for n in range(count)]


@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_set_answers_as_one_database(tmp_path: Path, mini: BeirFolder, encoder: Encoder, num_shards: int) -> None:
    whole = Database.build(tmp_path / "whole.db", mini.path, encoder=encoder)
    plan = ShardPlan.create(tmp_path / "set", mini.path, num_shards, encoder=encoder)
    assert plan.files == [mini.path] and plan.num_shards == num_shards
    for number in reversed(range(num_shards)):
        # Of the files and with the encoder that the plan remembers.
        assert plan.build(number).num_documents == plan.shards[number].num_documents
    assert not plan.is_finished
    report = plan.finish()
    assert plan.is_finished and plan.verify() == report and report.num_documents == len(whole)
    given = ShardSet.open(plan.path)
    queries = mini.queries("test")
    for mode in ("dense", "bm25", "hybrid", None):
        assert given.run(queries, 20, mode=mode) == whole.run(queries, 20, mode=mode)
        assert given.search_batch(list(queries.values()), mode=mode) == whole.search_batch(list(queries.values()), mode=mode)
    vectors = encoder.encode_query(["bees", "a rose"])
    assert given.search_batch(vectors) == whole.search_batch(vectors)
    assert given.search(vectors[0], 3) == whole.search(vectors[0], 3)
    assert given.explain("bees").hits == whole.explain("bees").hits
    assert given.mode() == "hybrid" and given.encoder is not None
    hit = given.search("bees", 1, documents=True)[0]
    assert hit.document == whole[hit.id] == given[hit.id] and hit.id in given and "nothing" not in given
    assert given.get(["nothing", hit.id]) == [None, hit.document]
    assert pickle.loads(pickle.dumps(given)).search("bees") == whole.search("bees")
    assert (len(given), given.num_shards) == (len(whole), num_shards)


def test_filters_name_fields_of_any_shard(tmp_path: Path) -> None:
    documents = [Document("1", "Prune roses."), Document("2", "Bread rises.", metadata={"year": 2020})]
    given = ShardSet.open(built(tmp_path / "set", documents, 2).path)
    assert [hit.id for hit in given.search("bread roses", filter="year > 2000")] == ["2"]
    with pytest.raises(secateur.SecateurError, match="yeer"):
        given.search("bread", filter="yeer > 2000")


def test_vectors_come_with_documents(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": f"number {n}", "v": [float(n == m) for m in range(3)]} for n in range(3)]
    plan = ShardPlan.create(tmp_path / "set", rows, 2, dim=3, fields={"vector": "v"})
    for number in range(2):
        plan.build(number, rows, fields={"vector": "v"})
    plan.finish()
    given = ShardSet.open(plan.path)
    assert given.search(np.array([0, 0, 1]), 1)[0].id == "2"
    assert given.encoder is None and plan.load_encoder() is None


def test_parts_and_whole_corpora_give_the_same_bytes(tmp_path: Path) -> None:
    documents = some(11)
    whole = built(tmp_path / "whole", documents, 3)
    plan = ShardPlan.create(tmp_path / "parts", lambda: iter(documents), 3, num_documents=11)
    told: list[int] = []
    for number, shard in enumerate(plan.shards):
        part = documents[shard.first : shard.first + shard.num_documents]
        assert not plan.build(number, part, part=True, progress=lambda progress: told.append(progress.done)).was_there
        assert files(plan.shard_path(number)) == files(whole.shard_path(number))
    assert max(told) == 4 and plan.shards == whole.shards
    # A shard that is there needs no documents.
    assert plan.build(1).was_there
    assert pickle.loads(pickle.dumps(plan)).status() == plan.status()


def test_a_callback_that_raises_stops_and_the_next_call_goes_on(tmp_path: Path, encoder: Encoder) -> None:
    # Enough for some of their vectors to be kept.
    documents = some(2000)
    undisturbed = ShardPlan.create(tmp_path / "undisturbed", documents, 1, encoder=encoder)
    undisturbed.build(0, documents, encoder=encoder)
    plan = ShardPlan.create(tmp_path / "set", documents, 1, encoder=encoder)

    def broken() -> Iterator[Document]:
        yield from documents[:1900]
        raise KeyError("the disk is gone")

    with pytest.raises(KeyError, match="the disk is gone"):
        plan.build(0, broken, encoder=encoder)
    assert plan.status()[0].state == "unfinished"
    plan.build(0, documents, encoder=encoder)
    assert files(plan.shard_path(0)) == files(undisturbed.shard_path(0))


def test_wrong_calls(tmp_path: Path, mini: BeirFolder) -> None:
    for wrong in (0, -1):
        with pytest.raises(UsageError, match="num_shards"):
            ShardPlan.create(tmp_path / "set", mini.path, wrong)
    with pytest.raises(UsageError, match="read more than once"):
        ShardPlan.create(tmp_path / "set", iter(some(3)), 2)
    with pytest.raises(UsageError, match="without vectors"):
        ShardPlan.create(tmp_path / "set", some(3), 2, index="hnsw")
    with pytest.raises(InputError, match="10 documents.*3 were counted"):
        ShardPlan.create(tmp_path / "set", some(10), 2, num_documents=3)
    for known in (None, 1):
        with pytest.raises(InputError, match='"empty" has neither'):
            ShardPlan.create(tmp_path / "set", [("empty", " ")], 1, num_documents=known)
    twice = tmp_path / "twice.jsonl"
    twice.write_text('{"id": "1", "text": "Bees dance."}\n' * 2)
    for known in (None, 2):
        with pytest.raises(InputError, match='twice.jsonl.*"1"'):
            ShardPlan.create(tmp_path / "set", twice, 1, num_documents=known)
    twice.unlink()
    assert list(tmp_path.iterdir()) == []
    plan = ShardPlan.create(tmp_path / "set", some(3), 2)
    for number in (-1, 2):
        with pytest.raises(UsageError, match=f"there is no shard {number}"):
            plan.build(number, some(3))
    with pytest.raises(UsageError, match="remembers no files"):
        plan.build(0)
    with pytest.raises(UsageError, match="part is said of documents"):
        plan.build(0, part=True)
    with pytest.raises(InputError, match="shard 0: the corpus is not the one"):
        plan.build(0, [("d0", "another text")])
    with pytest.raises(DatabaseError, match="not finished"):
        ShardSet.open(plan.path)
    with pytest.raises(DatabaseError, match="no plan.json"):
        ShardPlan.open(tmp_path)
    files_gone = ShardPlan.create(tmp_path / "of files", mini.path, 2)
    with pytest.raises(InputError, match="nowhere"):
        files_gone.build(0, files=[tmp_path / "nowhere"])


def test_what_is_wrong_with_a_set(tmp_path: Path, encoder: Encoder) -> None:
    twice = [*some(4), Document("d0", "again")]
    plan = ShardPlan.create(tmp_path / "twice", twice, 2)
    for number in range(2):
        plan.build(number, twice)
    with pytest.raises(DatabaseError, match='"d0" is in shard 0 and in shard 1'):
        plan.finish()

    documents = some(6)
    short = Encoder("default", truncate_dim=64)
    plan = ShardPlan.create(tmp_path / "set", documents, 2, encoder=encoder)
    other = ShardPlan.create(tmp_path / "other", documents, 2, encoder=short)
    with pytest.raises(DatabaseError, match="is planned with"):
        plan.build(0, documents, encoder=short)
    plan.build(0, documents, encoder=encoder)
    other.build(1, documents, encoder=short)
    shutil.copytree(other.shard_path(1), plan.shard_path(1))
    assert [one.state for one in plan.status()] == ["built", "wrong"]
    with pytest.raises(DatabaseError, match="shard 1 .* has vectors of"):
        plan.finish()
    shutil.rmtree(plan.shard_path(1))
    plan.build(1, documents, encoder=encoder)
    plan.finish()

    lost = next(file for file in plan.shard_path(1).rglob("*") if file.suffix == ".pack")
    lost.unlink()
    with pytest.raises(DatabaseError, match=lost.name):
        ShardSet.open(plan.path)
    assert plan.status()[1].problem and lost.name in plan.status()[1].problem


def test_ctrl_c_is_heard_between_two_shards(tmp_path: Path) -> None:
    plan = built(tmp_path / "set", some(40), 40)
    with pytest.raises(KeyboardInterrupt):
        timer = threading.Timer(0, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
        timer.start()
        for _ in range(1000):
            plan.verify()
    timer.join()
    assert plan.verify().num_shards == 40


def bits(answers: list[list[secateur.Hit]]) -> list[list[tuple[str, str, Document | None]]]:
    """Hits with all digits of their scores."""
    return [[(hit.id, hit.score.hex(), hit.document) for hit in hits] for hits in answers]


def same_answers(found: ShardSet, expected: ShardSet) -> None:
    queries = ["text number 3", "of 2", "12", "nothing of it", ""]
    for mode in ("dense", "bm25", "hybrid", None):
        for filter in (None, "n >= 2"):
            for k in (3, 100):
                given: dict[str, Any] = {"mode": mode, "filter": filter}
                answers = [bits(one.search_batch(queries, k, documents=True, **given)) for one in (found, expected)]
                assert answers[0] == answers[1], (mode, filter, k)
    assert found.explain(queries[0]).hits == expected.explain(queries[0]).hits
    vectors = Encoder("default").encode_query(queries)
    assert bits(found.search_batch(vectors)) == bits(expected.search_batch(vectors))
    assert found.get(["d1", "none"]) == expected.get(["d1", "none"]) and "d1" in found and "none" not in found
    assert (len(found), found.num_shards, found.mode()) == (len(expected), expected.num_shards, expected.mode())
    for one in (found, expected):
        with pytest.raises(UsageError, match="no document has a field m"):
            one.search("text", filter="m > 1")


class Server(ThreadingHTTPServer):
    """A server of one shard, as `secateur serve` is one."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shard = _native.ServedShard.open(str(path), None)
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = self.server.shard.answer(self.path, body)
        moved = json.dumps({"error": {"code": "snapshot_gone", "message": "it has gone on"}}).encode()
        self.send_response(409 if answer is None else 200)
        self.send_header("content-length", str(len(answer or moved)))
        self.end_headers()
        self.wfile.write(answer or moved)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def servers(plan: ShardPlan, **fields: Any) -> Iterator[tuple[Path, list[Server]]]:
    """Servers of all shards, and the file that names them."""
    running = [Server(plan.shard_path(number)) for number in range(plan.num_shards)]
    named = plan.path.with_name("servers.json")
    shards = [{"replicas": [server.url]} for server in running]
    named.write_text(json.dumps({"shards": shards, "manifest": "set/manifest.json", "timeout": 60, **fields}))
    try:
        yield named, running
    finally:
        for server in running:
            server.stop()


def test_a_set_of_servers_answers_as_that_of_folders(tmp_path: Path, encoder: Encoder) -> None:
    plan = built(tmp_path / "set", some(40), 3, encoder=encoder)
    with servers(plan) as (named, running):
        found = ShardSet.connect(named)
        same_answers(found, ShardSet.open(plan.path))
        assert found.path == named and found.missing == [] and found.encoder is not None
        same_answers(pickle.loads(pickle.dumps(found)), ShardSet.open(plan.path))
        # A shard goes on: the next search begins anew.
        with Database.open(plan.shard_path(1)) as database:
            database.delete("d13")
        plan.finish()
        running[1].shard = _native.ServedShard.open(str(plan.shard_path(1)), None)
        same_answers(found, ShardSet.open(plan.path))
        assert "d13" not in found
        with pytest.raises(DatabaseError, match="vectors of"):
            ShardSet.connect(named, encoder=Encoder("default", truncate_dim=64))


def test_servers_that_give_no_answer(tmp_path: Path) -> None:
    plan = built(tmp_path / "set", some(40), 2)
    with servers(plan) as (named, running):
        strict, partial = ShardSet.connect(named), ShardSet.connect(named, partial=True)
        assert len(partial.search("text", 40)) == 40 and partial.missing == []
        running[1].stop()
        for search in (lambda: strict.search("text"), lambda: ShardSet.connect(named)):
            with pytest.raises(SystemFailure, match=rf"shard 1 \({running[1].url}\): .*cannot be asked"):
                search()
        assert {hit.id for hit in partial.search("text", 40)} == {f"d{n}" for n in range(20)}
        assert [(one.number, one.place) for one in partial.missing] == [(1, running[1].url)]
        running[1] = Server(plan.shard_path(1))
    for text, message in [('{"shards": 1}', "servers.json: shards: expected a list"), ("{", "servers.json: it is no JSON")]:
        named.write_text(text)
        with pytest.raises(InputError, match=message):
            ShardSet.connect(named)


def test_shards_that_are_called(tmp_path: Path, encoder: Encoder) -> None:
    plan = built(tmp_path / "set", some(40), 3, encoder=encoder)
    shards = [_native.ServedShard.open(str(plan.shard_path(number)), None) for number in range(3)]

    def called(ask: Any, partial: bool = False) -> ShardSet:
        places = ["first", "second", "third"]
        opened = _native.ShardSet.called(str(plan.path / "manifest.json"), places, ask, None, partial)
        return ShardSet._of(opened, encoder, Loading(None, None, None), ())

    same_answers(called(lambda number, route, body: shards[number].answer(route, body)), ShardSet.open(plan.path))

    broken: list[Any] = []

    def ask(number: int, route: str, body: bytes) -> bytes | None:
        if broken and number == 1:
            if isinstance(broken[0], Exception):
                raise broken[0]
            found: bytes | None = broken[0]
            return found
        return shards[number].answer(route, body)

    strict, partial = called(ask), called(ask, True)
    for given, kind, message in [
        (None, DatabaseError, "started anew once already|changed since"),
        (b"{}", DatabaseError, r"shard 1 \(second\): its answer is wrong"),
        ("text", SystemFailure, r"shard 1 \(second\)"),
        (OSError("gone"), SystemFailure, r"shard 1 \(second\): gone"),
        (UsageError("not so"), UsageError, r"shard 1 \(second\): not so"),
    ]:
        broken[:] = [given]
        with pytest.raises(kind, match=message):
            strict.search("text")
        if isinstance(given, OSError):
            assert len(partial.search("text", 40)) == 27 and partial.missing[0].place == "second"
    for route, body, message in [
        ("/shard/nothing", b"{}", "shards are asked nothing at /shard/nothing"),
        ("/shard/search", b"{}", "body: "),
        ("/shard/info", b'{"generation": "other"}', "generation: "),
    ]:
        with pytest.raises(UsageError, match=message):
            shards[0].answer(route, body)
    assert shards[0].answer("/shard/fields", json.dumps(OTHER).encode()) is None


OTHER = {"snapshot": {"commit": 99, "checksum": "00000000", "generation": None}, "ask": {}}
