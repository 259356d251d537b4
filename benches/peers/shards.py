"""A set of shards beside one database of the same documents, and what larger sets would take.

    cargo build --profile dist -p secateur -p secateur-benches --bin secateur --bin shard_search
    python3 benches/peers/shards.py --texts ../shared/data/papers-title-abstract/corpus.jsonl.gz --documents 5000000 \\
        --shards 8 --folder scale --json shards.json

Each document is two sentences of the texts, drawn with a seed. Queries are sentences, cut to their first six words. Both
are encoded by the encoder in the box. The set and the database are built with all threads, then searched one query after
the other; `shard_search` fails if they disagree about a hit or a score.

Then sets of more shards are simulated, each shard on a machine of its own with one thread for a query. A query takes as
long as the slowest of its shards, whose times are drawn from those that were measured of single shards. Hedging asks a
replica, too, when a shard has not answered after the 95th percentile of all times. The simulation is checked where it can be: a set on
one thread or two of this machine is simulated with the same times, and stands beside the measurement.

A query that is slow in one shard is slow in all, because it has frequent words. So times are drawn for one query at a
time. What a network adds is left out.
"""

import argparse
import gzip
import json
import os
import random
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODES = ["dense", "bm25", "hybrid"]
DRAWN = 2_000


def main():
    args = parsed()
    args.folder.mkdir(parents=True, exist_ok=True)
    queries = make(args)
    results = {"documents": args.documents, "shards": args.shards, "built": build(args)}
    results["searches"] = {mode: search(args, queries, mode) for mode in MODES}
    show_built(results["built"])
    for mode, measured in results["searches"].items():
        show_searches(mode, measured, args)
    if args.json:
        args.json.write_text(json.dumps(results))


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, nargs="+", required=True, help="JSON lines with a text, plain or .gz")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--vectors", default="f32", help="what vectors are stored as")
    parser.add_argument("--simulated", type=int, nargs="+", default=[8, 64, 256, 1024], help="numbers of shards")
    parser.add_argument("--folder", type=Path, default=Path("scale"), help="for documents and databases; what is there is kept")
    parser.add_argument("--bin", type=Path, default=ROOT / "target/dist", help="the folder of the executables")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def sentences(paths):
    """The distinct sentences of 5 to 60 words, in their order."""
    found = {}
    for path in paths:
        opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
        with opened as lines:
            for line in lines:
                for sentence in re.split(r"(?<=[.!?])\s+", json.loads(line)["text"]):
                    if 5 <= len(sentence.split()) <= 60:
                        found[sentence.strip()] = None
    return list(found)


def make(args):
    texts = sentences(args.texts)
    if len(texts) < 1000:
        sys.exit(f"{args.texts}: {len(texts)} sentences are too few")
    corpus = args.folder / "documents.jsonl"
    if not corpus.exists():
        draw = random.Random(1)
        with corpus.with_suffix(".part").open("w", encoding="utf-8") as out:
            for number in range(args.documents):
                text = f"{draw.choice(texts)} {draw.choice(texts)}"
                out.write(json.dumps({"id": str(number), "text": text}) + "\n")
        corpus.with_suffix(".part").rename(corpus)
    draw = random.Random(2)
    queries = args.folder / "queries.txt"
    lines = (" ".join(draw.choice(texts).split()[:6]) for _ in range(args.queries))
    queries.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return queries


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def build(args):
    """Seconds, processor seconds and bytes of the set and of the database; nothing where they were there before."""
    secateur, corpus = args.bin / "secateur", args.folder / "documents.jsonl"
    made, database = args.folder / "set", args.folder / "database"
    options = ["--encoder", "default", "--vectors", args.vectors]
    plan = ["shards", "plan", corpus, "--shards", args.shards, *options, "--out", made]
    shards = [["shards", "build", made, number] for number in range(args.shards)]
    steps = {"database": (database, [["index", corpus, *options, "--out", database]]),
             "set": (made, [plan, *shards, ["shards", "finish", made]])}
    took = {}
    for name, (folder, commands) in steps.items():
        if folder.exists():
            print(f"{folder} was there before", file=sys.stderr)
            continue
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        longest = 0.0
        for command in commands:
            since = time.perf_counter()
            subprocess.run([str(part) for part in [secateur, *command]], check=True, stdout=subprocess.DEVNULL)
            longest = max(longest, time.perf_counter() - since)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        took[name] = {"seconds": time.perf_counter() - start, "processor_seconds": spent, "longest_step": longest,
                      "bytes": size(folder)}
    return took


def search(args, queries, mode):
    command = [args.bin / "shard_search", "--set", args.folder / "set", "--database", args.folder / "database",
               "--queries", queries, "--mode", mode]
    done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True)
    return {found["what"]: found["ms"] for found in map(json.loads, done.stdout.splitlines())}


def percentile(times, percent):
    times = sorted(times)
    return times[min(len(times) - 1, len(times) * percent // 100)]


def on_threads(times, threads):
    """How long shards take that are searched in their order, each by the thread that is free first."""
    free = [0.0] * threads
    for one in times:
        place = free.index(min(free))
        free[place] += one
    return max(free)


def fanned_out(by_query, count, patience, draw):
    """The time of a query over so many shards, each on its own machine. `by_query`: ms of one query each, of all shards
    and rounds. After `patience` ms a replica is asked, too."""
    of_query = draw.choice(by_query)
    slowest = 0.0
    for one in draw.choices(of_query, k=count):
        slowest = max(slowest, one if one <= patience else min(one, patience + draw.choice(of_query)))
    return slowest


def show_built(built):
    print("| what | s | processor s | longest step, s | GB |\n|---|---|---|---|---|")
    for name, took in built.items():
        print(f"| {name} | {took['seconds']:.0f} | {took['processor_seconds']:.0f} | {took['longest_step']:.0f} | {took['bytes'] / 1e9:.2f} |")


def show_searches(mode, measured, args):
    draw = random.Random(3)
    shards = [times for what, times in measured.items() if what.startswith("shard")]
    per_query = list(zip(*shards, strict=True))
    by_query = [[one for times in per_query[query :: args.queries] for one in times] for query in range(args.queries)]
    every = [one for times in shards for one in times]
    rows = {"one database, one thread": measured["database"], "a shard": every}
    for threads in (1, 2):
        rows[f"the set, {threads} thread{'s'[:threads - 1]}"] = measured[f"set, {threads}"]
        rows[f"the set, {threads} thread{'s'[:threads - 1]}, simulated"] = [on_threads(times, threads) for times in per_query]
    for count in args.simulated:
        for patience, hedged in ((float("inf"), ""), (percentile(every, 95), ", hedged")):
            name = f"{count} shards on {count} machines, simulated{hedged}"
            rows[name] = [fanned_out(by_query, count, patience, draw) for _ in range(DRAWN)]
    print(f"\n| {mode} | p50 ms | p95 ms | p99 ms |\n|---|---|---|---|")
    for name, times in rows.items():
        print(f"| {name} | {percentile(times, 50):.2f} | {percentile(times, 95):.2f} | {percentile(times, 99):.2f} |")


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    main()
