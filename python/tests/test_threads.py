"""Threads, processes and Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur import Database, Encoder


def searched(path: Path, rows: int, **options: str) -> tuple[Database, np.ndarray]:
    vectors = np.random.default_rng(0).normal(size=(rows, 64)).astype(np.float32)
    db = Database.create(path, dim=64, **options)
    with db:
        db.add(((str(n), "x") for n in range(rows)), vectors=vectors)
    return db, vectors


def test_the_gil_is_released_while_it_searches(tmp_path: Path, gil_switches: object) -> None:
    """Python counts on, in one thread, while another searches: with the GIL held it would stand still."""
    db, vectors = searched(tmp_path / "db", 60_000)
    queries = vectors[:256]

    def count(while_alive: threading.Thread) -> int:
        n = 0
        while while_alive.is_alive():
            n += 1
            time.sleep(0.0005)
        return n

    thread = threading.Thread(target=lambda: db.search_batch(queries, k=10))
    start = time.perf_counter()
    thread.start()
    counted = count(thread)
    seconds = time.perf_counter() - start
    # One count takes 0.5 ms and what the machine adds; a call that held the GIL would leave one or two.
    assert counted > max(3, seconds / 0.05), (counted, seconds)


def test_eight_threads_search_faster_than_one(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        pytest.skip("there is one core")
    # A walk through a graph takes one thread, so that threads of Python are what makes many faster.
    db, vectors = searched(tmp_path / "db", 20_000, index="hnsw")
    queries = [vectors[n] for n in range(240)]
    want = [db.search(query, k=5, ef_search=4000) for query in queries]

    def seconds(threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            assert list(pool.map(lambda query: db.search(query, k=5, ef_search=4000), queries)) == want
            return time.perf_counter() - start

    one, eight = min(seconds(1) for _ in range(3)), min(seconds(8) for _ in range(3))
    load = os.getloadavg()[0]
    print(f"1 thread {one:.3f} s, 8 threads {eight:.3f} s: {one / eight:.2f} times as fast on {cores} cores, load {load:.1f}")
    if load > cores:
        pytest.skip("the cores are busy with other work")
    assert one / eight > 1.2, (one, eight)


def test_searches_do_not_wait_for_changes(tmp_path: Path, encoder: Encoder) -> None:
    db = Database.build(tmp_path / "db", [("a", "Bees dance.")], encoder=encoder)
    begun, finish = threading.Event(), threading.Event()

    def slow() -> object:
        yield ("b", "Bread rises.")
        begun.set()
        finish.wait(30)
        yield ("c", "Roses are pruned.")

    thread = threading.Thread(target=lambda: db.add(slow()))
    thread.start()
    assert begun.wait(30)
    assert [hit.id for hit in db.search("bees")] == ["a"] and len(db) == 1
    finish.set()
    thread.join()
    db.commit()
    assert len(db) == 3


def test_threads_change_and_search_at_once(tmp_path: Path) -> None:
    db = Database.create(tmp_path / "db")
    errors = []

    def change(part: int) -> None:
        for n in range(20):
            db.upsert([(f"{part}-{n}", f"text of part {part}")])

    def search() -> None:
        try:
            for _ in range(50):
                hits = db.search("text", k=100, documents=True)
                assert all(hit.document is not None for hit in hits)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=change, args=(part,)) for part in range(4)]
    threads += [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db.commit()
    assert not errors and len(db) == 80


def test_callbacks_and_iterators_run_on_the_calling_thread(tmp_path: Path) -> None:
    names = set()

    def documents() -> object:
        for n in range(600):
            names.add(threading.current_thread().name)
            yield (str(n), "text")

    Database.build(tmp_path / "db", documents(), progress=lambda _: names.add(threading.current_thread().name))
    assert names == {threading.current_thread().name}


def test_a_callback_that_raises_stops_the_work(tmp_path: Path, encoder: Encoder) -> None:
    texts = ["text"] * 5000

    def stop(progress: secateur.Progress) -> None:
        if progress.done >= 512:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        encoder.encode(texts, progress=stop)
    db = Database.create(tmp_path / "db")
    with pytest.raises(RuntimeError, match="enough"), db:
        db.add(((str(n), "x") for n in range(5000)), progress=stop)
    assert len(db) == 0 and not db.has_changes
    with pytest.raises(RuntimeError, match="enough"):
        db.add_from(((str(n), "x") for n in range(5000)), progress=stop)
    assert len(db) == 0 and not db.has_changes
    with db:
        db.add([("a", "x")])
    assert len(db) == 1


def test_one_thread_serves_an_iterator_that_needs_it(tmp_path: Path) -> None:
    before = secateur.num_threads()
    secateur.set_num_threads(1)
    try:
        with Database.create(tmp_path / "a") as old:
            old.add((str(n), "a word") for n in range(3000))
        copy = Database.build(tmp_path / "b", old.documents())
        assert len(copy) == 3000
        added = Database.create(tmp_path / "c")
        added.add_from(old.documents(), progress=lambda progress: old.search("word"))
        assert len(added) == 3000
    finally:
        secateur.set_num_threads(before)


LONG = "a text of some length, again and again"
WORK = {
    "encode": """
encoder = secateur.Encoder("default")
ready()
while True:
    encoder.encode([LONG] * 20000)
""",
    "build": """
ready()
secateur.Database.build(folder / "db", ((str(n), f"{LONG} {n}") for n in itertools.count()), encoder="default")
""",
    "add": """
db = secateur.Database.create(folder / "db", encoder="default")
ready()
db.add((str(n), f"{LONG} {n}") for n in itertools.count())
""",
    "search": """
db = secateur.Database.build(folder / "db", ((str(n), f"{LONG} {n}") for n in range(500)), encoder="default")
ready()
while True:
    db.search_batch([LONG] * 20000)
""",
    "train": """
model = models.llama(folder / "model")
lines = ({"query": f"{LONG} {n}", "pos": [LONG], "neg": [f"{n}"]} for n in range(64))
(folder / "data.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
ready()
secateur.train(model, folder / "data.jsonl", folder / "run", full=True, steps=100_000, batch_size=8)
""",
}


@pytest.mark.parametrize("work", WORK)
def test_ctrl_c_is_heard(work: str, tmp_path: Path) -> None:
    body = textwrap.indent(WORK[work], "    ")
    program = f"""
import itertools, json, pathlib, sys
import models, secateur
LONG, folder = {LONG!r}, pathlib.Path(sys.argv[1])
def ready():
    print("ready", flush=True)
try:
{body}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    assert secateur.Encoder("default").encode("goes on").shape == (384,)
    sys.exit(7)
"""
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(tests)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    start = time.perf_counter()
    out, _ = child.communicate(timeout=60)
    assert (out, child.returncode) == ("interrupted\n", 7)
    assert time.perf_counter() - start < 30


def test_numpy_is_found_before_long_work() -> None:
    # An import in the middle of work could be ended by Ctrl-C.
    program = """
import builtins, secateur
encoder = secateur.Encoder("default")
def refused(*arguments, **named):
    raise KeyboardInterrupt
builtins.__import__ = refused
print(encoder._native.encode(["a"], "query", None, None).shape, flush=True)
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert out.stdout == "(1, 384)\n", out.stderr


def searches_in_a_child(path: str) -> list[str]:
    return [hit.id for hit in Database.open(path).search("bees")]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_processes_compute(method: str, tmp_path: Path, encoder: Encoder) -> None:
    """A fork takes no threads along; the parent's pool has some by now."""
    path = tmp_path / "db"
    Database.build(path, [("a", "Bees dance."), ("b", "Bread rises.")], encoder=encoder)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(searches_in_a_child, (str(path),)).get(60)[0] == "a"


def test_the_number_of_threads_changes_no_vector(encoder: Encoder) -> None:
    texts = [f"text number {n}" for n in range(40)]
    before, want = secateur.num_threads(), encoder.encode(texts)
    try:
        for threads in (1, 3):
            secateur.set_num_threads(threads)
            assert secateur.num_threads() == threads
            np.testing.assert_array_equal(encoder.encode(texts), want)
        with pytest.raises(secateur.UsageError, match="0 threads"):
            secateur.set_num_threads(0)
    finally:
        secateur.set_num_threads(before)


def test_arrays_are_neither_copied_in_nor_out(tmp_path: Path, encoder: Encoder) -> None:
    vectors = np.zeros((4, 8), dtype=np.float32)
    assert secateur.vectors.matrix(vectors) is vectors
    # Rows of a part are read where they lie, in any order.
    for part in (vectors[1:3], vectors[:, 2:5], vectors[::-1]):
        assert secateur.vectors.matrix(part) is part and part.base is vectors
    db, numbers = searched(tmp_path / "db", 20)
    wide = np.concatenate([numbers, numbers], axis=1)
    assert db.search_batch(wide[::-2, 64:], k=2) == db.search_batch(numbers[::-2].copy(), k=2)
    # What the processor cannot read in one piece is copied.
    odd = np.frombuffer(b"\0" + numbers.tobytes(), np.float32, offset=1).reshape(20, 64)
    assert not odd.flags.aligned and db.search_batch(odd, k=2) == db.search_batch(numbers, k=2)
    out = encoder.encode(["a", "b"])
    # The numbers are in the Vec that the library made, which numpy keeps alive.
    assert not out.flags.owndata and out.flags.c_contiguous and out.flags.writeable


FORKED = """
import os, sys, threading
from secateur import Database, DatabaseError
db = Database.create(sys.argv[1])
with db:
    db.add([("a", "x")])
begun, end = threading.Event(), threading.Event()
def documents():
    yield ("b", "x")
    begun.set()
    end.wait(30)
if sys.argv[2] == "while":
    thread = threading.Thread(target=lambda: db.add(documents()))
    thread.start()
    begun.wait(30)
else:
    db.add([("b", "x")])
child = os.fork()
if child == 0:
    assert [hit.id for hit in db.search("x")] == ["a"]
    for change in (lambda: db.add([("c", "x")]), db.commit, db.rollback):
        try:
            change()
        except DatabaseError as error:
            assert "its changes are not committed: open the database anew" in str(error)
        else:
            os._exit(3)
    del db  # What ends here is a copy, and the parent's lock is not.
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
if sys.argv[2] == "while":
    end.set()
    thread.join()
try:
    Database.open(sys.argv[1]).add([("d", "x")])
except DatabaseError as error:
    assert f"is being written by process {os.getpid()}" in str(error)
else:
    sys.exit(4)
db.commit()
assert [document.id for document in Database.open(sys.argv[1])] == ["a", "b"]
child = os.fork()
if child == 0:
    with db:
        db.add([("e", "x")])
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
db.reload()
assert "e" in db and db.verify().num_documents == 3
"""


@pytest.mark.parametrize("when", ["after", "while"])
def test_a_fork_leaves_changes_to_its_parent(when: str, tmp_path: Path) -> None:
    """Both have the changes, and the lock, which the system gives to both."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path / "db"), when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
