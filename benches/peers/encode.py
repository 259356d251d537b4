"""Text encoding side by side: sentence-transformers on PyTorch, onnxruntime, OpenVINO and secateur, same texts, one run.

    cargo build --profile dist -p secateur-benches --bin encode_bench
    python3 benches/peers/encode.py --json encode.json
    python3 benches/peers/encode.py --decoder --documents 48
    python3 benches/peers/encode.py --engines torch-f32 onnxruntime-int8 openvino-f32 openvino-int8 secateur secateur-int8
    python3 benches/peers/encode.py --engines openvino-int8 secateur-int8 --quality scifact nfcorpus

Measured, tokenizing included: documents per second (about 125 tokens each, batches of 32 sorted by length for the
peers) and the time of one short query. Engines take turns, round by round; medians over the rounds are printed. The
run fails where an engine's vectors are not those of PyTorch f32. With --quality each engine encodes whole data sets
instead, and its rankings are measured. benches/peers/README.md has the details.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from encode_engines import ENGINES, ROOT, read_texts, work
from encode_quality import measure_quality, print_quality

OURS = "secateur"
# By its name what it is asked for.
PRECISIONS = {OURS: "f32", "secateur-bf16": "bf16", "secateur-int8": "int8"}
# Least cosine to PyTorch f32. f32 engines differ in the order of their sums only: measured 1 - 5e-7. bf16 keeps 8 bits:
# PyTorch's own bf16 of the random decoder has 0.998.
# int8: what still is the same text's vector. The table says how close each engine comes.
MIN_COSINE = {"f32": 0.9999, "bf16": 0.99, "int8": 0.95}
MEAN_TOKENS = 125
BF16_UNITS = {"avx512_bf16", "amx_bf16"}

class Peer:
    def __init__(self, engine, threads, args):
        self.name = engine
        command = [sys.executable, __file__, "--worker", engine, "--threads", str(threads), "--model", str(args.model)]
        self.process = subprocess.Popen(
            [*command, "--folder", str(args.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(threads),
            preexec_fn=lambda: pin(threads),
        )
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with exit code {self.process.wait()}; its message is above")
        return json.loads(line)

    def ask(self, request):
        print(request, file=self.process.stdin, flush=True)
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours:
    """The program of the benches crate; README.md says what it is asked and answers."""

    def __init__(self, name, threads, args):
        self.name, self.threads, self.args = name, threads, args

    def run(self, mode, texts, *more):
        command = [self.args.binary, "--model", self.args.model, "--texts", texts, "--threads", self.threads]
        command += ["--precision", PRECISIONS[self.name]]
        done = subprocess.run(
            [str(part) for part in [*command, "--mode", mode, *more]],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(self.threads),
            preexec_fn=lambda: pin(self.threads),
        )
        if done.returncode != 0:
            sys.exit(f"{self.args.binary} ended with exit code {done.returncode}; its message is above")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def ask(self, request):
        kind, *rest = request.split()
        if kind == "vectors":
            self.run("docs", self.args.folder / "all.jsonl", "--rounds", 1, "--vectors", *rest)
            return {}
        texts = self.args.folder / ("docs.jsonl" if kind == "docs" else "queries.jsonl")
        # The first round of a fresh process is its warm-up.
        return self.run(kind, texts, "--rounds", 2)[-1]

    def close(self):
        pass


def environment(threads):
    count = str(threads)
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"]
    parallel = {"TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}
    return os.environ | {name: count for name in names} | parallel | {"HF_HUB_OFFLINE": "1"}


def pin(threads):
    """As many cores as threads, so that no engine gains from helper threads that it does not count."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def make_decoder(directory, tokenizer):
    """A causal decoder with random weights, as a sentence-transformers directory: 12 layers, hidden 768, 12 heads that
    share 4 keys and values, MLPs of 2,048; the last token's state is the vector. 84 million parameters beside the
    embeddings, about those of BERT-base."""
    import shutil

    import torch
    from sentence_transformers import SentenceTransformer, models
    from transformers import MistralConfig, MistralModel, PreTrainedTokenizerFast

    torch.manual_seed(1)
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), pad_token="[PAD]", padding_side="right")
    config = MistralConfig(
        vocab_size=len(fast), hidden_size=768, num_hidden_layers=12, num_attention_heads=12, num_key_value_heads=4,
        intermediate_size=2048, max_position_embeddings=512, sliding_window=None, initializer_range=0.05,
    )
    unfinished = directory.with_suffix(".unfinished")
    plain = directory.with_suffix(".plain")
    for folder in (unfinished, plain):
        shutil.rmtree(folder, ignore_errors=True)
    MistralModel(config).save_pretrained(plain)
    fast.save_pretrained(plain)
    transformer = models.Transformer(str(plain), max_seq_length=256)
    pooling = models.Pooling(768, pooling_mode="lasttoken")
    SentenceTransformer(modules=[transformer, pooling, models.Normalize()]).save(str(unfinished))
    shutil.rmtree(plain)
    unfinished.rename(directory)


# ---------------------------------------------------------------------------------------------------------------------
# The texts and the comparison.


def write_texts(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def prepare(args):
    """Abstracts cut to 62 to 188 tokens, evenly, so that lengths within a batch differ as in life; mean 125."""
    import gzip

    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    corpus = args.data / "corpus.jsonl"
    opened = open(corpus, encoding="utf-8") if corpus.exists() else gzip.open(f"{corpus}.gz", "rt", encoding="utf-8")
    with opened as file:
        passages = [f"{document['title']} {document['text']}" for document in map(json.loads, file)]
    chooser = random.Random(1)
    chooser.shuffle(passages)
    spread = MEAN_TOKENS // 2 + 1
    documents, lengths = [], []
    for passage in passages:
        if len(documents) == args.documents:
            break
        encoding = tokenizer.encode(passage)
        length = chooser.randint(MEAN_TOKENS - spread, MEAN_TOKENS + spread)
        if len(encoding.ids) > length:
            # [CLS], length - 2 tokens of the text, [SEP].
            documents.append(passage[: encoding.offsets[length - 2][1]])
            lengths.append(len(tokenizer.encode(documents[-1]).ids))
    queries = read_texts(args.data / "queries.jsonl")[: args.queries]
    write_texts(args.folder / "docs.jsonl", documents)
    write_texts(args.folder / "queries.jsonl", queries)
    write_texts(args.folder / "all.jsonl", documents + queries)
    query_lengths = [len(tokenizer.encode(query).ids) for query in queries]
    return {
        "documents": len(documents),
        "mean_document_tokens": round(statistics.mean(lengths), 1),
        "queries": len(queries),
        "mean_query_tokens": round(statistics.mean(query_lengths), 1),
    }


def check_vectors(engines, folder):
    """Least and mean cosine of every engine to PyTorch f32, all texts; exits where one is too low."""
    import numpy as np

    vectors = {}
    for engine in engines:
        path = folder / f"{engine.name}.npy"
        engine.ask(f"vectors {path}")
        vectors[engine.name] = np.load(path).astype(np.float64)
    reference = vectors["torch-f32"]
    found = {}
    for name, rows in vectors.items():
        if rows.shape != reference.shape:
            sys.exit(f"{name} gave vectors of shape {rows.shape}, torch-f32 {reference.shape}")
        norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(reference, axis=1)
        cosines = (rows * reference).sum(1) / norms
        least = MIN_COSINE[precision_of(name)]
        if not cosines.min() >= least:
            sys.exit(f"{name}: least cosine to torch-f32 is {cosines.min()}, expected at least {least}")
        found[name] = {"min_cosine_to_torch_f32": float(cosines.min()), "mean_cosine_to_torch_f32": float(cosines.mean())}
    return found


def precision_of(name):
    return next((precision for precision in MIN_COSINE if name.endswith(precision)), "f32")


def open_engine(name, threads, args):
    return (Ours if name in PRECISIONS else Peer)(name, threads, args)


def measure(threads, args):
    engines = [open_engine(name, threads, args) for name in args.engines]
    cosines = check_vectors(engines, args.folder)
    rounds = {engine.name: [] for engine in engines}
    for number in range(args.rounds):
        # The order turns with the rounds, so that no engine always follows the same one.
        turn = number % len(engines)
        for engine in engines[turn:] + engines[:turn]:
            time.sleep(0.3)  # lets the spinning threads of the engine before fall asleep
            answer = engine.ask("docs") | engine.ask("query")
            rounds[engine.name].append(answer)
            figures = ", ".join(f"{key} {value:.2f}" for key, value in answer.items())
            print(f"threads {threads}, round {number + 1}: {engine.name}: {figures}", file=sys.stderr)
    for engine in engines:
        engine.close()
    return [summary(name, threads, cosines[name], values) for name, values in rounds.items()]


def summary(name, threads, cosines, rounds):
    of = lambda key: [values[key] for values in rounds]
    return {
        "engine": name,
        "threads": threads,
        "docs_per_s": statistics.median(of("docs_per_s")),
        "docs_per_s_rounds": of("docs_per_s"),
        "p50_ms": statistics.median(of("p50_ms")),
        "p50_ms_rounds": of("p50_ms"),
        "p95_ms": statistics.median(of("p95_ms")),
    } | cosines


def print_table(rows):
    print("| threads | engine | documents/s (rounds) | p50 ms | p95 ms | mean cosine | secateur, documents | secateur, p50 |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        # In the same precision.
        precision = precision_of(row["engine"])
        name = next(ours for ours, of_ours in PRECISIONS.items() if of_ours == precision)
        ours = next((r for r in rows if r["engine"] == name and r["threads"] == row["threads"]), None)
        docs = f"{ours['docs_per_s'] / row['docs_per_s']:.2f}x" if ours else "-"
        query = f"{row['p50_ms'] / ours['p50_ms']:.2f}x" if ours else "-"
        spread = f"{min(row['docs_per_s_rounds']):.1f}-{max(row['docs_per_s_rounds']):.1f}"
        print(
            f"| {row['threads']} | {row['engine']} | {row['docs_per_s']:.1f} ({spread}) | {row['p50_ms']:.2f} "
            f"| {row['p95_ms']:.2f} | {row['mean_cosine_to_torch_f32']:.4f} | {docs} | {query} |"
        )


def machine():
    import importlib.metadata as metadata

    info = {}
    for name in ["torch", "transformers", "sentence-transformers", "onnxruntime", "openvino", "nncf", "tokenizers"]:
        try:
            info[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    info["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info["processor"] = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        info["processor"] = fields.get("model name", info["processor"])
        wanted = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
        info["instructions"] = [flag for flag in wanted if flag in fields.get("flags", "").split()]
    return info


def quality(parser, args):
    args.quality = [Path(name) if Path(name).is_dir() else args.data.parent / name for name in args.quality]
    for data in args.quality:
        if not (data / "qrels/test.tsv").exists():
            parser.error(f"{data} is no BEIR folder with qrels/test.tsv")
    if not args.program.exists():
        parser.error(f"{args.program} is not there: cargo build --profile dist, or name another by --program")
    threads = args.thread_counts[0]
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        found = measure_quality(lambda name: open_engine(name, threads, args), args)
    print_quality(found, args.engines)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "ndcg_at_10": found}, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / ".models/all-MiniLM-L6-v2", help="a sentence-transformers directory")
    parser.add_argument("--decoder", action="store_true", help="a causal decoder with random weights instead, made once")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/scifact", help="a BEIR folder to take texts from")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/dist/encode_bench", help="secateur's side")
    parser.add_argument("--engines", nargs="+", choices=[*ENGINES, *PRECISIONS], help="by default torch-f32, onnxruntime-f32, secateur and secateur-int8, and torch-bf16 and secateur-bf16 where the processor has bf16 products")
    parser.add_argument("--quality", nargs="+", metavar="DATASET", help="encode these BEIR folders, or those of that name beside --data, and measure nDCG@10 of their test queries; nothing is timed")
    parser.add_argument("--program", type=Path, default=ROOT / "target/dist/secateur", help="what measures rankings: its eval-run")
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--thread-counts", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path, help="also write the results here")
    for internal in ("--worker", "--folder", "--threads"):
        parser.add_argument(internal, help=argparse.SUPPRESS, type=str)
    args = parser.parse_args()
    if args.worker:
        args.folder, args.threads = Path(args.folder), int(args.threads)
        return work(args)
    if args.decoder:
        tokenizer = args.model / "tokenizer.json"
        args.model = ROOT / ".models/random-decoder"
        if not args.model.exists():
            make_decoder(args.model, tokenizer)
    if args.engines is None:
        # The graph for onnxruntime is exported for encoders with mean pooling only.
        args.engines = ["torch-f32", OURS] if args.decoder else ["torch-f32", "onnxruntime-f32", OURS]
        args.engines.append("secateur-int8")
        # Elsewhere PyTorch emulates bf16: 2 documents/s against 15 in f32 on an AVX2 processor.
        if BF16_UNITS & set(machine().get("instructions", [])):
            args.engines += ["torch-bf16", "secateur-bf16"]
    if "openvino-bf16" in args.engines and not BF16_UNITS & set(machine().get("instructions", [])):
        parser.error("openvino-bf16 computes in f32 on a processor without bf16 products")
    if "torch-f32" not in args.engines and not args.quality:
        parser.error("torch-f32 must take part: the vectors of the others are compared with its own")
    if not (args.model / "model.safetensors").exists():
        parser.error(f"{args.model} holds no model.safetensors; scripts/fetch-minilm.sh fetches the default model")
    if PRECISIONS.keys() & set(args.engines) and not args.binary.exists():
        parser.error(f"{args.binary} is not there: cargo build --profile dist -p secateur-benches --bin encode_bench")
    if args.quality:
        return quality(parser, args)
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        report = {"machine": machine(), "texts": prepare(args), "rounds": args.rounds, "load_before": os.getloadavg()[0]}
        print(json.dumps(report["machine"] | report["texts"]))
        if report["load_before"] > 0.5:
            print(f"load average {report['load_before']:.1f}: other programs disturb the figures", file=sys.stderr)
        report["results"] = [row for threads in args.thread_counts for row in measure(threads, args)]
    print_table(report["results"])
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
