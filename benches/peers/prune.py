"""The variants of a `secateur prune sweep`, evaluated with PyTorch: the same sub-layers taken out of transformers' model.

    secateur prune sweep .models/all-MiniLM-L6-v2 --variants full,1M,... --datasets NFCORPUS --scores FILE --out SWEEP
    python3 prune.py .models/all-MiniLM-L6-v2 SWEEP NFCORPUS [VARIANT ...]

Prints both values of nDCG@10 for each variant of the sweep, and fails where they are more than 0.002 apart. BERT only.
"""

import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytrec_eval
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer

TOLERANCE = 0.002
MAX_LENGTH = 256
BATCH = 32


class PassAttention(torch.nn.Module):
    """A dropped attention gives its input back; its LayerNorm is gone with it."""

    def forward(self, hidden_states, *_, **__):
        return hidden_states, None


class PassSecond(torch.nn.Module):
    def forward(self, _, input_tensor):
        return input_tensor


def load(directory, cell):
    model = AutoModel.from_pretrained(directory).eval()
    for layer in cell["dropped_attention"]:
        model.encoder.layer[layer].attention = PassAttention()
    for layer in cell["dropped_mlp"]:
        block = model.encoder.layer[layer]
        block.intermediate, block.output = torch.nn.Identity(), PassSecond()
    return model


@torch.inference_mode()
def encode(model, tokenizer, texts):
    ids = [tokenizer(text, truncation=True, max_length=MAX_LENGTH)["input_ids"] for text in texts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    vectors = np.empty((len(ids), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        batch = tokenizer.pad({"input_ids": [ids[i] for i in part]}, return_tensors="pt")
        mask = batch["attention_mask"]
        hidden = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).float()
        mean = (hidden * weights).sum(1) / weights.sum(1)
        vectors[part] = F.normalize(mean, dim=-1).numpy()
    return vectors


def lines(folder, name):
    path = folder / name
    opened = open(path) if path.exists() else gzip.open(f"{path}.gz", "rt")
    with opened as file:
        return [json.loads(line) for line in file if line.strip()]


def main():
    directory, sweep, folder = map(Path, sys.argv[1:4])
    qrels = {}
    path = folder / "qrels/test.tsv"
    for line in path.read_text().splitlines()[1:]:
        query, document, relevance = line.split("\t")
        qrels.setdefault(query, {})[document] = int(relevance)
    documents = lines(folder, "corpus.jsonl")
    queries = [query for query in lines(folder, "queries.jsonl") if query["_id"] in qrels]
    passages = [f"{d.get('title') or ''} {d['text']}".strip() for d in documents]
    tokenizer = AutoTokenizer.from_pretrained(directory)
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"})
    worst = 0.0
    for variant in sys.argv[4:] or sorted(path.name.split(".")[0] for path in sweep.glob(f"*.{folder.name}.json")):
        cell = json.loads((sweep / f"{variant}.{folder.name}.json").read_text())
        model = load(directory, cell)
        start = time.perf_counter()
        vectors = encode(model, tokenizer, passages)
        seconds = time.perf_counter() - start
        scores = encode(model, tokenizer, [query["text"] for query in queries]) @ vectors.T
        run = {}
        for query, row in zip(queries, scores):
            best = np.argsort(-row)[:1000]
            run[query["_id"]] = {documents[i]["_id"]: float(row[i]) for i in best}
        values = evaluator.evaluate(run).values()
        mean = sum(value["ndcg_cut_10"] for value in values) / len(values)
        worst = max(worst, abs(mean - cell["ndcg_at_10"]))
        print(
            f"{variant:9} PyTorch {mean:.4f}  secateur {cell['ndcg_at_10']:.4f}  "
            f"({len(passages) / seconds:.1f} documents/s, secateur {cell['documents_per_second']:.1f})",
            flush=True,
        )
    print(f"largest difference {worst:.5f}")
    assert worst <= TOLERANCE, "PyTorch and secateur differ"


if __name__ == "__main__":
    main()
