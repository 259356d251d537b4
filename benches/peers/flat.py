"""Exact vector search side by side: faiss IndexFlatIP and secateur, same vectors, one run.

    cargo build --profile dist -p secateur-benches --bin flat_search
    python3 benches/peers/flat.py --json flat.json

Unit vectors from a seeded normal distribution; 256 queries, one at a time and all at once; top 10. The two take turns,
round by round, in an order that rotates. Printed are the medians over the rounds and, because other programs may run on
the machine, the minima. The run fails where the answers differ by more than ties.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
K = 10
NUM_QUERIES = 256


class Secateur:
    name = "secateur"

    def __init__(self, binary, folder, rows, queries, threads):
        rows.tofile(folder / "rows")
        queries.tofile(folder / "queries")
        command = [binary, "--rows", folder / "rows", "--queries", folder / "queries", "--k", K,
                   "--dim", rows.shape[1], "--threads", threads]
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit("flat_search ended early")
        return json.loads(answer)

    def run(self, mode):
        return self.ask(mode)["ms"]

    def hits(self):
        answers = [self.ask("hits")] + [json.loads(line) for line in self.process.stdout]
        if self.process.wait() != 0 or len(answers) != NUM_QUERIES:
            sys.exit("flat_search failed")
        return [[row for row, _ in hits] for hits in answers]


class Faiss:
    name = "faiss"

    def __init__(self, rows, queries, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        self.version = f"{faiss.__version__} {faiss.get_compile_options().strip()}"
        self.index = faiss.IndexFlatIP(rows.shape[1])
        self.index.add(rows)
        self.queries = queries

    def run(self, mode):
        times = []
        for queries in [self.queries] if mode == "batch" else [self.queries[i : i + 1] for i in range(NUM_QUERIES)]:
            start = time.perf_counter()
            self.index.search(queries, K)
            times.append((time.perf_counter() - start) * 1e3)
        return times

    def hits(self):
        return self.index.search(self.queries, K)[1].tolist()


def check(rows, queries, ours, theirs):
    """The f64 scores of both rankings must agree rank by rank.

    Each side rounds a score by at most gamma_D = D u / (1 - D u), u = 2^-24, times the lengths of the vectors, which
    are 1 (Higham, eq. 3.5), so wrongly ordered neighbours differ by at most twice that.
    """
    import numpy as np

    unit = rows.shape[1] * 2.0**-24
    tolerance = 2 * unit / (1 - unit) * np.linalg.norm(queries.astype(np.float64), axis=1).max()
    different = 0
    for query, a, b in zip(queries.astype(np.float64), ours, theirs):
        scores = [rows[ids].astype(np.float64) @ query for ids in (a, b)]
        if len(set(a)) != K or np.abs(scores[0] - scores[1]).max() > tolerance:
            sys.exit(f"the answers differ: {a} and {b}")
        different += a != b
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["3633x4096", "100000x384"], help="rows x dimensions")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/dist/flat_search")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
    if hasattr(os, "sched_setaffinity"):
        # Inherited by flat_search: both run on the same cores, one after the other.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    import numpy as np

    report = []
    print("| N x D | queries | faiss median (min) ms | secateur median (min) ms | faster by median (min) |")
    print("|---|---|---|---|---|")
    for size in args.sizes:
        n, d = map(int, size.split("x"))
        generator = np.random.default_rng(7)
        rows = generator.standard_normal((n, d), dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        queries = generator.standard_normal((NUM_QUERIES, d), dtype=np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        with tempfile.TemporaryDirectory() as folder:
            ours = Secateur(args.binary, Path(folder), rows, queries, args.threads)
            engines = [Faiss(rows, queries, args.threads), ours]
            for mode, label in (("single", "1"), ("batch", str(NUM_QUERIES))):
                times = {engine.name: [] for engine in engines}
                for engine in engines:
                    engine.run("batch")  # Not counted: the first touch of memory.
                for round_number in range(args.rounds):
                    for engine in engines if round_number % 2 else engines[::-1]:
                        times[engine.name] += engine.run(mode)
                median = {name: statistics.median(values) for name, values in times.items()}
                least = {name: min(values) for name, values in times.items()}
                cells = [f"{median[name]:.2f} ({least[name]:.2f})" for name in ("faiss", "secateur")]
                ratio = [values["faiss"] / values["secateur"] for values in (median, least)]
                print(f"| {n} x {d} | {label} | {cells[0]} | {cells[1]} | {ratio[0]:.2f} ({ratio[1]:.2f}) |", flush=True)
                report.append({"rows": n, "dim": d, "mode": mode, "threads": args.threads, "ms": times,
                               "faiss": engines[0].version})
            different = check(rows, queries, ours.hits(), engines[0].hits())
        print(f"{NUM_QUERIES} answers agree, {different} of them up to ties within rounding", file=sys.stderr)
    if args.json:
        args.json.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
