"""Approximate vector search side by side: faiss, hnswlib, usearch, hnsw_rs and secateur, same vectors, one run.

    cargo build --profile dist -p secateur-benches --bin ann_search
    python3 benches/peers/ann.py --json ann.json

Every engine builds a graph with M 16 and efConstruction 200 (--ef-construction) and searches with the same list of ef. For each the queries
per second at a recall@10 of 0.95 and 0.99 are interpolated (log of the speed, linear in recall) between the two nearest ef.
The engines take turns, round by round, in an order that rotates; figures are medians over the rounds.
"""

import argparse
import bisect
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
K, M, EF_CONSTRUCTION = 10, 16, 200
EFS = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536]


def clustered(n, num_queries, dim, seed):
    """Unit vectors around 1,000 centers with noise in 48 common directions; the tenth neighbor's cosine is about 0.43."""
    import numpy as np

    generator = np.random.default_rng(seed)
    normal = lambda *shape: generator.standard_normal(shape, dtype=np.float32)
    centers = normal(1000, dim) / math.sqrt(dim)
    directions, _ = np.linalg.qr(normal(dim, 48))
    total = n + num_queries
    x = centers[generator.integers(0, 1000, total)]
    x += normal(total, 48) @ directions.T * np.float32(NOISE / math.sqrt(48))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x[:n], x[n:]


NOISE = 2.0


def processor_seconds(pid):
    """Processor time of a process: of this one with all its threads, of another one with those that live."""
    if pid is None:
        return time.process_time()
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


class Clock:
    """Seconds by the wall; or, where other programs take turns with the one measured, its processor time by its threads."""

    by_processor = False

    def __init__(self, pid=None, threads=1):
        self.pid, self.threads, self.start = pid, threads, self.now(pid)

    def now(self, pid):
        return processor_seconds(pid) if Clock.by_processor else time.perf_counter()

    def seconds(self):
        return (self.now(self.pid) - self.start) / (self.threads if Clock.by_processor else 1)


class Secateur:
    def __init__(self, binary, folder, build_threads, database=None, backend="hnsw"):
        # What searches, where it is not our own graph.
        self.name = f"index {backend}" if backend != "hnsw" else "secateur, mapped" if database else "secateur"
        self.build_threads = build_threads
        self.command = [binary, "--rows", folder / "rows", "--queries", folder / "queries", "--k", K, "--m", M,
                        "--ef-construction", EF_CONSTRUCTION, "--build-threads", build_threads, "--backend", backend] + (["--database", database] if database else [])

    def build(self, rows, queries):
        command = self.command + ["--dim", rows.shape[1]]
        # The threads that faiss builds on.
        threads = {name: str(self.build_threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | threads)
        built = self.answer()
        seconds = built["build_s"]
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) / 1024
            opened = f", opened in {built['open_ms']:.1f} ms" if "open_ms" in built else ""
            print(f"{self.name}: {peak:.0f} MiB at most, of which the rows as they are read {rows.nbytes / 2**20:.0f}{opened}", flush=True)
        self.num_queries = len(queries)
        return processor_seconds(self.process.pid) / self.build_threads if Clock.by_processor else seconds

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("ann_search ended early")
        return json.loads(line)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def qps(self, ef, threads):
        clock = Clock(self.process.pid, threads)
        qps = self.ask(f"time {ef} {threads}")["qps"]
        return self.num_queries / clock.seconds() if Clock.by_processor else qps

    def hits(self, ef, threads):
        return self.ask(f"hits {ef} {threads}")["hits"]


class Library:
    """A peer that is called from Python."""

    def build(self, rows, queries):
        self.queries = queries
        clock = Clock(None, self.build_threads)
        self.add(rows)
        return clock.seconds()

    def qps(self, ef, threads):
        self.prepare(ef, threads)
        clock = Clock(None, threads)
        self.search(threads)
        return len(self.queries) / clock.seconds()

    def hits(self, ef, threads):
        self.prepare(ef, threads)
        return self.search(threads).tolist()


class Faiss(Library):
    name = "faiss"

    def __init__(self, dim, build_threads):
        import faiss

        self.faiss, self.build_threads = faiss, build_threads
        self.index = faiss.IndexHNSWFlat(dim, M, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION

    def add(self, rows):
        self.faiss.omp_set_num_threads(self.build_threads)
        self.index.add(rows)

    def prepare(self, ef, threads):
        self.faiss.omp_set_num_threads(threads)
        self.index.hnsw.efSearch = ef

    def search(self, threads):
        return self.index.search(self.queries, K)[1]


class Hnswlib(Library):
    name = "hnswlib"

    def __init__(self, dim, build_threads):
        import hnswlib

        self.index, self.build_threads = hnswlib.Index(space="ip", dim=dim), build_threads

    def add(self, rows):
        self.index.init_index(max_elements=len(rows), M=M, ef_construction=EF_CONSTRUCTION, random_seed=7)
        self.index.add_items(rows, num_threads=self.build_threads)

    def prepare(self, ef, threads):
        self.index.set_ef(ef)

    def search(self, threads):
        return self.index.knn_query(self.queries, k=K, num_threads=threads)[0]


class Usearch(Library):
    def __init__(self, dim, build_threads, dtype):
        from usearch.index import Index

        self.name, self.build_threads = f"usearch {dtype}", build_threads
        self.index = Index(ndim=dim, metric="ip", dtype=dtype, connectivity=M, expansion_add=EF_CONSTRUCTION)

    def add(self, rows):
        import numpy as np

        self.index.add(np.arange(len(rows)), rows, threads=self.build_threads)

    def prepare(self, ef, threads):
        self.index.expansion_search = ef

    def search(self, threads):
        return self.index.search(self.queries, K, threads=threads).keys


def at_recall(points, target):
    """Queries per second at a recall, from (recall, qps) by ascending ef; None if it is not reached."""
    recalls = [recall for recall, _ in points]
    place = bisect.bisect_left(recalls, target)
    if place == len(points):
        return None
    if place == 0:
        return points[0][1]
    (r0, q0), (r1, q1) = points[place - 1], points[place]
    share = (target - r0) / (r1 - r0) if r1 > r0 else 1.0
    return math.exp(math.log(q0) + share * (math.log(q1) - math.log(q0)))


def main():
    global EF_CONSTRUCTION
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--num-queries", type=int, default=1000)
    parser.add_argument("--vectors", type=Path, help=".npy of unit vectors (N, D); the last ones are the queries")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--build-threads", type=int, default=2)
    parser.add_argument("--ef-construction", type=int, default=EF_CONSTRUCTION)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", nargs="+", default=["faiss", "hnswlib", "usearch-f32", "usearch-bf16", "usearch-i8", "secateur", "secateur-mapped"])
    parser.add_argument("--efs", type=int, nargs="+", default=EFS)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/dist/ann_search")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="processor: on a busy Linux machine")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    EF_CONSTRUCTION = args.ef_construction
    Clock.by_processor = args.clock == "processor"
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.build_threads)
    import numpy as np

    if args.vectors:
        vectors = np.load(args.vectors)
        vectors = vectors[np.random.default_rng(7).permutation(len(vectors))]
        rows, queries = vectors[: args.rows].copy(), vectors[-args.num_queries :].copy()
        if args.rows + args.num_queries > len(vectors):
            sys.exit(f"{args.vectors} has {len(vectors)} vectors, too few")
    else:
        rows, queries = clustered(args.rows, args.num_queries, args.dim, 7)
    best = np.concatenate([np.argsort(-(part @ rows.T), axis=1)[:, :K] for part in np.array_split(queries, 10)])
    truth = [set(map(int, ids)) for ids in best]
    tenth = float(np.mean([(rows[ids[-1]] * query).sum() for ids, query in zip(best, queries)]))
    print(f"{len(rows)} x {rows.shape[1]}, {len(queries)} queries, mean cosine of the tenth neighbor {tenth:.3f}", flush=True)
    report = []
    all_cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows.tofile(folder / "rows")
        queries.tofile(folder / "queries")
        make = {
            "faiss": lambda: Faiss(rows.shape[1], args.build_threads),
            "hnswlib": lambda: Hnswlib(rows.shape[1], args.build_threads),
            "secateur": lambda: Secateur(args.binary, folder, args.build_threads),
            "secateur-mapped": lambda: Secateur(args.binary, folder, args.build_threads, folder / "db"),
        } | {f"usearch-{dtype}": lambda dtype=dtype: Usearch(rows.shape[1], args.build_threads, dtype) for dtype in ("f32", "bf16", "f16", "i8")}
        make |= {name: lambda name=name: Secateur(args.binary, folder, args.build_threads, backend=name) for name in ("hnsw-rs", "faiss-flat", "faiss-hnsw", "faiss-ivf-pq")}
        engines = [make[name]() for name in args.engines]
        builds = {}
        for engine in engines:
            builds[engine.name] = engine.build(rows, queries)
            print(f"{engine.name}: built in {builds[engine.name]:.1f} s", flush=True)
        recalls = {}
        for engine in engines:
            for ef in args.efs:
                hits = engine.hits(ef, max(args.threads))
                recalls[engine.name, ef] = sum(len(true & set(found)) for true, found in zip(truth, hits)) / (K * len(truth))
        for threads in args.threads:
            if all_cores:
                cores = all_cores[:threads]
                for pid in [0] + [engine.process.pid for engine in engines if isinstance(engine, Secateur)]:
                    for task in os.listdir(f"/proc/{pid or 'self'}/task"):
                        os.sched_setaffinity(int(task), cores)
            qps = {key: [] for key in recalls}
            for round_number in range(args.rounds):
                shift = round_number % len(engines)
                for ef in args.efs:
                    for engine in engines[shift:] + engines[:shift]:
                        qps[engine.name, ef].append(engine.qps(ef, threads))
            print(f"\n{threads} thread{'s' * (threads > 1)}\n\n| engine | build s | qps at 0.95 | qps at 0.99 | recall: qps |\n|---|---|---|---|---|")
            speeds = {}
            for engine in engines:
                points = [(recalls[engine.name, ef], statistics.median(qps[engine.name, ef])) for ef in args.efs]
                speeds[engine.name] = [at_recall(points, target) for target in (0.95, 0.99)]
                cells = [f"{speed:.0f}" if speed else "-" for speed in speeds[engine.name]]
                curve = ", ".join(f"{recall:.3f}: {speed:.0f}" for recall, speed in points)
                print(f"| {engine.name} | {builds[engine.name]:.1f} | {cells[0]} | {cells[1]} | {curve} |", flush=True)
                report.append({"engine": engine.name, "threads": threads, "build_s": builds[engine.name], "at": speeds[engine.name],
                               "points": [{"ef": ef, "recall": recalls[engine.name, ef], "qps": qps[engine.name, ef]} for ef in args.efs]})
            for name in (name for name in speeds if name.startswith("secateur")):
                for number, target in enumerate((0.95, 0.99)):
                    peers = [speed[number] for peer, speed in speeds.items() if not peer.startswith("secateur") and speed[number]]
                    ours = speeds[name][number]
                    print(f"{name} at {target}: {ours / max(peers):.2f} times the best peer" if ours and peers else f"{name} at {target}: not reached")
    if args.json:
        args.json.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
