"""Changing a database side by side: LanceDB, Qdrant Edge and secateur, same vectors, one run.

    pip install -r benches/peers/requirements.txt
    cargo build --profile dist -p secateur-benches --bin churn_bench
    python3 benches/peers/churn.py --json churn.json

Adds N vectors at once, replaces documents one by one with a commit each while searches go on, deletes half, searches,
and compacts. Unit vectors from a seeded normal distribution; every search is exact, and its answer is asserted against
numpy: the run fails below a recall of 0.99. Each peer is a process's only work at its time; nothing else may run.

secateur always indexes the words of the texts for BM25. LanceDB does so only if it is asked to: `lancedb-words` is
LanceDB with an index of the same words, made after the bulk add, in its time, and brought up to date by the compaction.
Qdrant Edge has no such index. `*_cpu_s` is the processor time of all threads, where the system has /proc, in
hundredths of a second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
K = 10
NUM_SEARCHES = 20


def size(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def processor_seconds(process="self"):
    """What a process has computed so far, in user and system mode; nan where it cannot be told."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Secateur:
    name = "secateur"

    def __init__(self, binary, folder, rows):
        self.rows, self.folder = rows, folder / "secateur"
        rows.tofile(folder / "rows")
        command = [binary, "--db", self.folder, "--rows", folder / "rows", "--dim", rows.shape[1]]
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("churn_bench ended early")
        return json.loads(line)

    def bulk(self, first, end):
        return self.ask("bulk", first, end)["seconds"]

    def upsert(self, document, row, count):
        return self.ask("upsert", document, row, count)["seconds"]

    def delete(self, first, end):
        return self.ask("delete", first, end)["seconds"]

    def search(self, first, end):
        answer = self.ask("search", first, end)
        return answer["seconds"], [[int(hit) for hit in hits] for hits in answer["hits"]]

    def compact(self):
        return self.ask("compact")["seconds"]

    def bytes(self):
        return size(self.folder)

    def cpu(self):
        return processor_seconds(self.process.pid)


class LanceDb:
    name = "lancedb"

    def __init__(self, folder, rows):
        import lancedb
        import pyarrow

        self.pyarrow, self.rows, self.folder = pyarrow, rows, folder / "lance"
        self.connection = lancedb.connect(str(self.folder))
        vector = pyarrow.list_(pyarrow.float32(), rows.shape[1])
        schema = pyarrow.schema([("id", pyarrow.int64()), ("text", pyarrow.string()), ("vector", vector)])
        self.schema, self.table = schema, self.connection.create_table("documents", schema=schema)

    def records(self, ids, first):
        rows = self.rows[first : first + len(ids)]
        vectors = self.pyarrow.FixedSizeListArray.from_arrays(self.pyarrow.array(rows.ravel()), rows.shape[1])
        texts = [f"document {number}" for number in ids]
        return self.pyarrow.table([self.pyarrow.array(ids), self.pyarrow.array(texts), vectors], schema=self.schema)

    def bulk(self, first, end):
        return timed(lambda: self.table.add(self.records(list(range(first, end)), first)))[0]

    def upsert(self, document, row, count):
        def work():
            for number in range(count):
                merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(self.records([document + number], row + number))

        return timed(work)[0]

    def delete(self, first, end):
        return timed(lambda: self.table.delete(f"id >= {first} and id < {end}"))[0]

    def search(self, first, end):
        def work():
            found = []
            for row in self.rows[first:end]:
                hits = self.table.search(row).select(["id", "_distance"]).limit(K).to_list()
                found.append([hit["id"] for hit in hits])
            return found

        return timed(work)

    def compact(self):
        from datetime import timedelta

        return timed(lambda: self.table.optimize(cleanup_older_than=timedelta(0)))[0]

    def bytes(self):
        return size(self.folder)

    def cpu(self):
        return processor_seconds()


class LanceDbWords(LanceDb):
    """With the words of the texts indexed: stems of English without stop words and positions, as secateur has them."""

    name = "lancedb-words"

    def bulk(self, first, end):
        from lancedb.index import FTS

        def index():
            self.table.create_index("text", config=FTS(language="English", stem=True, remove_stop_words=True))
            self.check()

        return super().bulk(first, end) + timed(index)[0]

    def compact(self):
        seconds = super().compact()
        self.check()
        return seconds

    def check(self):
        """Whether the words of all documents are indexed."""
        statistics = self.table.index_stats("text_idx")
        if statistics.num_unindexed_rows or statistics.num_indexed_rows != self.table.count_rows():
            sys.exit(f"{self.name}: {statistics}")


class QdrantEdge:
    name = "qdrant-edge"

    def __init__(self, folder, rows):
        import qdrant_edge

        self.edge, self.rows, self.folder = qdrant_edge, rows, folder / "qdrant"
        self.folder.mkdir()
        params = qdrant_edge.EdgeVectorParams(size=rows.shape[1], distance=qdrant_edge.Distance.Euclid)
        self.shard = qdrant_edge.EdgeShard.create(str(self.folder), qdrant_edge.EdgeConfig(vectors=params))

    def points(self, ids, first):
        rows = self.rows[first : first + len(ids)].tolist()
        point = self.edge.Point
        return [point(number, row, {"text": f"document {number}"}) for number, row in zip(ids, rows)]

    def put(self, ids, first):
        self.shard.update(self.edge.UpdateOperation.upsert_points(self.points(ids, first)))

    def bulk(self, first, end):
        def work():
            for start in range(first, end, 10_000):
                self.put(list(range(start, min(start + 10_000, end))), start)
            self.shard.flush()

        return timed(work)[0]

    def upsert(self, document, row, count):
        def work():
            for number in range(count):
                self.put([document + number], row + number)
                # A commit: without it a power failure takes what was written.
                self.shard.flush()

        return timed(work)[0]

    def delete(self, first, end):
        def work():
            self.shard.update(self.edge.UpdateOperation.delete_points(list(range(first, end))))
            self.shard.flush()

        return timed(work)[0]

    def search(self, first, end):
        params = self.edge.SearchParams(exact=True)

        def work():
            found = []
            for row in self.rows[first:end].tolist():
                query = self.edge.Query.Nearest(row)
                hits = self.shard.search(self.edge.SearchRequest(query=query, limit=K, params=params))
                found.append([hit.id for hit in hits])
            return found

        return timed(work)

    def compact(self):
        return timed(self.shard.optimize)[0]

    def bytes(self):
        return size(self.folder)

    def cpu(self):
        return processor_seconds()


def recall(rows, ids, vectors, found, queries):
    """The share of the true neighbors that was found."""
    hits = 0
    for query, answer in zip(queries, found):
        distances = ((vectors - query) ** 2).sum(axis=1)
        hits += len(set(ids[np.argpartition(distances, K)[:K]]) & set(answer))
    return hits / (K * len(found))


def run(peer, rows, arguments):
    """Every phase, in seconds; sizes in bytes."""
    count, upserts = arguments.documents, arguments.upserts
    figures = {}

    def measure(phase, work, *given):
        before = peer.cpu()
        figures[f"{phase}_s"] = work(*given)
        figures[f"{phase}_cpu_s"] = peer.cpu() - before

    measure("bulk", peer.bulk, 0, count)
    figures["bulk_bytes"] = peer.bytes()
    # The rows behind the documents are the new vectors and the queries.
    seconds = searches = 0.0
    step = max(upserts // NUM_SEARCHES, 1)
    for number, start in enumerate(range(0, upserts, step)):
        seconds += peer.upsert(start, count + start, min(step, upserts - start))
        searches += peer.search(count + upserts + number, count + upserts + number + 1)[0]
    figures["upserts_s"], figures["search_meanwhile_ms"] = seconds, 1000 * searches / (number + 1)
    measure("delete", peer.delete, count // 2, count)

    ids = np.arange(count // 2)
    vectors = rows[: count // 2].copy()
    vectors[:upserts] = rows[count : count + upserts]
    first = count + upserts
    queries = rows[first : first + NUM_SEARCHES]
    for phase in ["deleted", "compacted"]:
        if phase == "compacted":
            measure("compact", peer.compact)
        seconds, found = peer.search(first, first + NUM_SEARCHES)
        figures[f"search_{phase}_ms"] = 1000 * seconds / NUM_SEARCHES
        figures[f"{phase}_bytes"] = peer.bytes()
        figures[f"recall_{phase}"] = recall(rows, ids, vectors, found, queries)
        if figures[f"recall_{phase}"] < 0.99:
            sys.exit(f"{peer.name}: a recall of {figures[f'recall_{phase}']} when {phase}")
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--upserts", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--peers", nargs="+", default=["secateur", "lancedb", "lancedb-words", "qdrant-edge"])
    parser.add_argument("--binary", type=Path, default=ROOT / "target/dist/churn_bench")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    rows = random.standard_normal((arguments.documents + arguments.upserts + NUM_SEARCHES, arguments.dim), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    make = {
        "secateur": lambda folder: Secateur(arguments.binary, folder, rows),
        "lancedb": lambda folder: LanceDb(folder, rows),
        "lancedb-words": lambda folder: LanceDbWords(folder, rows),
        "qdrant-edge": lambda folder: QdrantEdge(folder, rows),
    }
    results = {}
    for name in arguments.peers:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = run(make[name](Path(folder)), rows, arguments)
        # After each peer: some take half an hour.
        if arguments.json:
            told = vars(arguments) | {"json": None, "binary": None}
            arguments.json.write_text(json.dumps({"arguments": told, "results": results}, indent=1))
    names = list(results)
    print(f"{'':24}" + "".join(f"{name:>16}" for name in names))
    for figure in results[names[0]]:
        print(f"{figure:24}" + "".join(f"{results[name][figure]:>16,.4g}" for name in names))


main()
