"""What `secateur bench` says of itself, said again by others: an outside clock, pytrec_eval, and scipy's bootstrap.

    cargo build --release
    pip install -r benches/peers/requirements.txt
    python3 benches/peers/bench.py --dataset datasets/mini --encoder default

Latency: the same queries go to `secateur search --queries -` on the database that the bench left, and this script's
clock runs from a query's line to its answer's. That has a pipe, JSON and snippets besides, so it is an upper bound;
what an empty question takes is printed beside it, and the ratio is without that. Tokenizing and encoding: the time of a
query as text less that of its vector. Bench and script take turns; medians over the rounds are printed, never asserted.

Asserted: each query's nDCG@10, Recall@100 and reciprocal rank, and their means, are those of pytrec_eval within 1e-9,
and the ends of each 95% interval are those of scipy's BCa bootstrap within a twentieth of the interval. Both draw
samples of their own.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytrec_eval
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
K = 10
WARM_UP = 20


def main():
    arguments = parsed()
    folder = Path(tempfile.mkdtemp(prefix="secateur-bench-"))
    queries = read_queries(arguments.dataset, arguments.split)
    vectors = query_vectors(arguments, folder)
    faults, times = [], {}
    for number in range(arguments.rounds):
        out = folder / f"bench-{number}"
        report = bench(arguments, out, len(queries))
        for cell in report["cells"]:
            if number == 0:
                faults += quality(arguments, cell, out)
            for name, values in latency(arguments, report, cell, out, queries, vectors).items():
                times.setdefault(cell["key"]["mode"], {}).setdefault(name, []).append(values)
    show(times)
    shutil.rmtree(folder)
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secateur", type=Path, default=ROOT / "target/release/secateur")
    parser.add_argument("--dataset", type=Path, default=ROOT / "datasets/mini", help="a BEIR folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--encoder", default="default")
    parser.add_argument("--index", default="flat")
    parser.add_argument("--modes", default="dense,bm25,hybrid")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def read_queries(dataset, split):
    """Ids and texts of the judged queries, in the order of the file."""
    judged = read_qrels(dataset, split)
    lines = (json.loads(line) for line in (dataset / "queries.jsonl").read_text().splitlines() if line.strip())
    return [(line["_id"], line["text"]) for line in lines if line["_id"] in judged]


def read_qrels(dataset, split):
    qrels = {}
    for line in (dataset / "qrels" / f"{split}.tsv").read_text().splitlines()[1:]:
        query, document, relevance = line.split("\t")
        qrels.setdefault(query, {})[document] = int(relevance)
    return qrels


def bench(arguments, out, num_queries):
    """The results of a bench that times every query; trec_eval's rules, which pytrec_eval follows."""
    command = [arguments.secateur, "bench", arguments.dataset, "--split", arguments.split, "--encoders",
               arguments.encoder, "--indexes", arguments.index, "--modes", arguments.modes,
               "--rules", "trec_eval", "--timed-queries", num_queries, "--repetitions", arguments.repetitions,
               "--warm-up", WARM_UP, "--threads", arguments.threads, "--out", out]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "results.json").read_text())


def quality(arguments, cell, out):
    """What differs from pytrec_eval and from scipy."""
    key = cell["key"]
    qrels = read_qrels(arguments.dataset, arguments.split)
    run = {}
    for line in (out / "runs" / f"{file_name(key)}.run").read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        run.setdefault(query, {})[document] = float(score)
    first = {query: dict(sorted(hits.items(), key=lambda hit: (hit[1], hit[0]), reverse=True)[:K])
             for query, hits in run.items()}
    evaluate = lambda run, measures: pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    deep, ranks = evaluate(run, {"ndcg_cut_10", "recall_100"}), evaluate(first, {"recip_rank"})
    theirs = {
        "nDCG@10": {query: deep.get(query, {}).get("ndcg_cut_10", 0.0) for query in qrels},
        "Recall@100": {query: deep.get(query, {}).get("recall_100", 0.0) for query in qrels},
        "MRR@10": {query: ranks.get(query, {}).get("recip_rank", 0.0) for query in qrels},
    }
    faults, worst, farthest = [], 0.0, 0.0
    for place, (measure, values) in enumerate(theirs.items()):
        ours = cell["quality"]["means"][measure]
        for query, values_of_query in cell["quality"]["per_query"].items():
            worst = max(worst, abs(values_of_query[place] - values[query]))
        worst = max(worst, abs(ours["mean"] - statistics.fmean(values.values())))
        if set(cell["quality"]["per_query"]) != set(values):
            faults.append(f"{key['mode']} {measure}: other queries are judged")
        sample = np.array([values[query] for query in sorted(values)])
        if len(set(sample)) < 2:
            continue
        interval = stats.bootstrap((sample,), np.mean, n_resamples=100_000, batch=10_000, method="BCa", vectorized=True,
                                   rng=np.random.default_rng(7)).confidence_interval
        width = interval.high - interval.low
        ends = [(ours["interval"]["low"], interval.low), (ours["interval"]["high"], interval.high)]
        distance = max(abs(mine - other) for mine, other in ends) / width
        farthest = max(farthest, distance)
        if distance > 0.05:
            faults.append(f"{key['mode']} {measure}: interval {ours['interval']}, scipy {interval}")
    if worst > 1e-9:
        faults.append(f"{key['mode']}: values differ from pytrec_eval's by up to {worst}")
    print(f"{key['mode']:8}{len(qrels)} queries: values and means differ from pytrec_eval's by {worst:.1e} at most, "
          f"ends of intervals from scipy's by {farthest:.3f} of the interval")
    return faults


def file_name(key):
    parts = [key["encoder"], key["index"], key["mode"]]
    return ".".join([key["dataset"], *(part for part in parts if part)])


def query_vectors(arguments, folder):
    if arguments.modes == "bm25":
        return {}
    out = folder / "queries.npy"
    command = [arguments.secateur, "encode", arguments.dataset, "--queries", "--encoder", arguments.encoder, "--out", out]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    ids = (folder / "queries.npy.ids").read_text().splitlines()
    return dict(zip(ids, np.load(out)))


class Search:
    """`secateur search --queries -`, kept open."""

    def __init__(self, arguments, database, mode):
        command = [arguments.secateur, "search", database, "--queries", "-", "--mode", mode, "-k", K,
                   "--threads", arguments.threads]
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, question):
        """Milliseconds from a line of JSON to the answer's."""
        line = question.encode() + b"\n"
        start = time.perf_counter()
        self.process.stdin.write(line)
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        elapsed = 1000.0 * (time.perf_counter() - start)
        if not answer:
            sys.exit(f"search ended early with {self.process.wait()}")
        return elapsed, json.loads(answer)

    def times(self, questions, repetitions):
        for question in (questions * WARM_UP)[:WARM_UP]:
            self.ask(question)
        taken = []
        for _ in range(repetitions):
            for question in questions:
                elapsed, answer = self.ask(question)
                if "error" in answer and question != "{}":
                    sys.exit(f"{question[:80]}: {answer['error']}")
                taken.append(elapsed)
        return taken

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def latency(arguments, report, cell, out, queries, vectors):
    """By name: median, 95th percentile and mean in milliseconds."""
    key, load = cell["key"], cell["closed"][0]
    dataset = next(facts for facts in report["datasets"] if facts["name"] == key["dataset"])
    work = out / "work" / f"{dataset['name']}-{dataset['fingerprint']}"
    if key["encoder"]:
        fingerprint = report["encoders"][0]["fingerprint"]
        database = work / f"{key['encoder']}-{fingerprint[:8]}.{key['index']}.db"
    else:
        database = work / "words.db"
    search = Search(arguments, database, key["mode"])
    texts = [json.dumps({"query": text}) for _, text in queries]
    found = {
        "bench": [load["latency"][name] for name in ("p50", "p95", "mean")],
        "outside": of(search.times(texts, arguments.repetitions)),
        "empty": of(search.times(["{}"] * len(texts), arguments.repetitions)),
    }
    if key["mode"] == "dense":
        asked = [json.dumps({"vector": [float(x) for x in vectors[query]]}) for query, _ in queries]
        found["by vector"] = of(search.times(asked, arguments.repetitions))
        stages = [load["stages"][stage] for stage in ("tokenize", "encode")]
        found["encoding"] = [sum(stage[name] for stage in stages) for name in ("p50", "p95", "mean")]
    search.close()
    return found


def of(times):
    return [np.quantile(times, 0.5), np.quantile(times, 0.95), statistics.fmean(times)]


def show(times):
    print(f"\n{'mode':8}{'':26}{'p50 ms':>10}{'p95 ms':>10}{'mean ms':>10}")
    for mode, by_name in times.items():
        medians = {name: np.median(values, axis=0) for name, values in by_name.items()}
        row(mode, "bench", medians["bench"])
        row("", "outside", medians["outside"])
        row("", "outside, an empty question", medians["empty"])
        row("", "ratio", (medians["outside"] - medians["empty"]) / medians["bench"])
        if "by vector" in medians:
            difference = medians["outside"] - medians["by vector"]
            row("", "bench: encoding", medians["encoding"])
            row("", "outside: text less vector", difference)
            row("", "ratio", difference / medians["encoding"])


def row(mode, name, values):
    print(f"{mode:8}{name:26}" + "".join(f"{value:10.4f}" for value in values))


if __name__ == "__main__":
    main()
