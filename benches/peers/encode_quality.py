"""Whether an engine's vectors rank as those of the exact model do: whole data sets, encoded by each engine."""

import gzip
import json
import subprocess
import sys

CUTOFF = 100


def lines_of(path):
    opened = open(path, encoding="utf-8") if path.exists() else gzip.open(f"{path}.gz", "rt", encoding="utf-8")
    with opened as file:
        return [json.loads(line) for line in file]


def judged_queries(data):
    judgments = (data / "qrels/test.tsv").read_text(encoding="utf-8").splitlines()
    return {line.split("\t")[0] for line in judgments[1:]}


def write_set(folder, data):
    """The texts as encode.py's engines take them; returns the ids of documents and queries."""
    documents, judged = lines_of(data / "corpus.jsonl"), judged_queries(data)
    queries = [query for query in lines_of(data / "queries.jsonl") if query["_id"] in judged]
    # As `secateur encode` joins them.
    texts = [" ".join(part for part in (document.get("title", ""), document["text"]) if part) for document in documents]
    asked = [query["text"] for query in queries]
    for name, rows in (("docs", texts), ("queries", asked), ("all", texts + asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows), encoding="utf-8")
    return [document["_id"] for document in documents], [query["_id"] for query in queries]


def write_run(path, vectors, document_ids, query_ids):
    """The best documents of each query by inner product: vectors have length 1."""
    import numpy as np

    rows, asked = np.split(vectors.astype(np.float64), [len(document_ids)])
    with path.open("w", encoding="utf-8") as run:
        for query_id, scores in zip(query_ids, asked @ rows.T):
            best = np.argsort(-scores, kind="stable")[:CUTOFF]
            for rank, row in enumerate(best, 1):
                run.write(f"{query_id} Q0 {document_ids[row]} {rank} {scores[row]:.9f} encode.py\n")


def ndcg(program, run, data):
    command = [program, "eval-run", run, data, "--measures", "nDCG@10", "--json"]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} eval-run ended with exit code {done.returncode}; its message is above")
    return json.loads(done.stdout)["means"]["nDCG@10"]


def measure_quality(open_engine, args):
    """nDCG@10 by data set and engine. `open_engine(name)` gives one that takes its texts from `args.folder`."""
    import numpy as np

    found = {}
    for data in args.quality:
        ids = write_set(args.folder, data)
        of_set = found[data.name] = {}
        for name in args.engines:
            engine = open_engine(name)
            path = args.folder / f"{name}.npy"
            engine.ask(f"vectors {path}")
            engine.close()
            run = args.folder / f"{name}.run"
            write_run(run, np.load(path), *ids)
            of_set[name] = ndcg(args.program, run, data)
            print(f"{data.name}: {name}: nDCG@10 {of_set[name]:.4f}", file=sys.stderr)
    return found


def print_quality(found, engines):
    sets = list(found)
    print(f"| engine | {' | '.join(sets)} |")
    print("|---" * (len(sets) + 1) + "|")
    for engine in engines:
        print(f"| {engine} | {' | '.join(f'{found[name][engine]:.4f}' for name in sets)} |")
