"""The baseline that a trained encoder has to beat: bags of words hashed to as many numbers as its vectors have.

    python3 hashed.py [--dim 384] DATASET...

Words are lower-cased runs of letters and digits; each adds 1 or -1 (by its hash) to one of the numbers; counts enter by
1 + log. Vectors are compared by cosine. Prints nDCG@10 as trec_eval computes it. No weights are learned, so there is nothing to
download.
"""

import argparse
import re
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytrec_eval
from prune import lines

WORD = re.compile(r"[^\W_]+")


def vector(text, dim):
    values = np.zeros(dim, dtype=np.float32)
    for word, count in Counter(WORD.findall(text.lower())).items():
        code = zlib.crc32(word.encode())
        values[(code >> 1) % dim] += (1 if code & 1 else -1) * (1 + np.log(count))
    length = np.linalg.norm(values)
    return values / length if length else values


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("datasets", nargs="+", type=Path)
    args = parser.parse_args()
    means = []
    for folder in args.datasets:
        qrels = {}
        for line in (folder / "qrels/test.tsv").read_text().splitlines()[1:]:
            query, document, relevance = line.split("\t")
            qrels.setdefault(query, {})[document] = int(relevance)
        documents = lines(folder, "corpus.jsonl")
        rows = np.stack([vector(f"{d.get('title') or ''} {d['text']}", args.dim) for d in documents])
        run = {}
        for query in lines(folder, "queries.jsonl"):
            if query["_id"] in qrels:
                scores = rows @ vector(query["text"], args.dim)
                best = np.argsort(-scores)[:1000]
                run[query["_id"]] = {documents[i]["_id"]: float(scores[i]) for i in best}
        values = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run).values()
        means.append(sum(value["ndcg_cut_10"] for value in values) / len(values))
        print(f"{folder.name:12} {means[-1]:.4f}", flush=True)
    print(f"{'mean':12} {sum(means) / len(means):.4f}")


if __name__ == "__main__":
    main()
