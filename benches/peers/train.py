"""Training steps side by side: Hugging Face PEFT on PyTorch and secateur, same model, same pairs, one run.

    cargo build --profile dist -p secateur-benches --bin train_bench
    python3 benches/peers/train.py --model .models/all-MiniLM-L6-v2 [--full] [--threads 1]
    python3 benches/peers/train.py --model .models/all-MiniLM-L6-v2 --full --batch 48 --query-length 32 --max-length 64 \
        --precision bf16                                                # beside PyTorch's autocast, and f32 of both
    python3 benches/peers/train.py --shape 1b --rounds 1 --steps 2 --batch 4     # a random model of Llama-3.2-1B's shape

InfoNCE over pairs of titles and texts of the bundled collection, AdamW, LoRA of rank 32 on all linear layers (or all weights),
no dropout. Engines take turns; medians over all steps but the first of each process are printed, and the most memory that a
process had. The run fails where the losses of the first step, before anything has changed, are more than 1e-3 apart; in bf16,
more than 2e-2, which is what rounding changes. The collection has 63 documents: secateur leaves out negatives that are the
pair's own passage, so that a larger batch would have another loss.
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
SHAPES = {
    # Llama-3.2-1B's config.json, without its RoPE scaling and with a small vocabulary: the body is what is trained.
    "1b": {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
           "intermediate_size": 8192, "head_dim": 64},
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 128, "head_dim": 16},
}  # fmt: skip


def pairs():
    with open(ROOT / "datasets/mini/corpus.jsonl") as corpus:
        for document in map(json.loads, corpus):
            yield {"query": document["title"], "passage": document["text"]}


def write_model(shape, folder):
    """A random decoder with MiniLM's tokenizer."""
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=30522, max_position_embeddings=2048, tie_word_embeddings=True, **SHAPES[shape])
    LlamaModel(config).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(ROOT / ".models/all-MiniLM-L6-v2" / file, folder)


def peer(args):
    import torch
    import torch.nn.functional as F
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(args.threads)
    model = AutoModel.from_pretrained(args.model, dtype=torch.float32)
    causal = model.config.model_type not in ("bert", "xlm-roberta", "modernbert")
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.eval()  # no dropout on either side
    if not args.full:
        targets = [
            name
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and "layer" in name and not name.startswith("pooler")
        ]
        model = get_peft_model(model, LoraConfig(r=32, lora_alpha=64, lora_dropout=0.0, target_modules=targets))
        model.eval()
    if args.recompute:
        model.gradient_checkpointing_enable()
        model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, weight_decay=0.0)
    lines = [json.loads(line) for line in Path(args.pairs).read_text().splitlines()]

    def vectors(texts, max_length):
        batch = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        states = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        mask = batch["attention_mask"]
        if causal:
            pooled = states[torch.arange(len(texts)), mask.sum(1) - 1]
        else:
            pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(pooled, dim=-1)

    for step in range(args.steps):
        chosen = [lines[(step * args.batch + i) % len(lines)] for i in range(args.batch)]
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            queries = vectors([line["query"] for line in chosen], args.query_length or args.max_length).float()
            passages = vectors([line["passage"] for line in chosen], args.max_length).float()
        loss = F.cross_entropy(queries @ passages.T / 0.02, torch.arange(args.batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        print(json.dumps({"loss": float(loss.detach()), "ms": (time.perf_counter() - start) * 1000}), flush=True)
    status = Path("/proc/self/status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])
    print(json.dumps({"peak_mib": peak / 1024}))


def run(command, threads):
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--query-length", type=int)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--bench", default=str(ROOT / "target/dist/train_bench"))
    parser.add_argument("--pairs", help=argparse.SUPPRESS)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args)
    with tempfile.TemporaryDirectory() as folder:
        if args.shape:
            args.model = Path(folder) / "model"
            subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
                            f"import train; train.write_model({args.shape!r}, {str(args.model)!r})"], check=True)  # fmt: skip
        weights = sum(file.stat().st_size for file in args.model.glob("*.safetensors")) / 2**20
        file = Path(folder) / "pairs.jsonl"
        file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs()))
        shared = ["--model", str(args.model), "--pairs", str(file), "--threads", str(args.threads), "--steps", str(args.steps),
                  "--batch", str(args.batch), "--max-length", str(args.max_length)]  # fmt: skip
        shared += [flag for flag, on in (("--full", args.full), ("--recompute", args.recompute)) if on]
        shared += ["--query-length", str(args.query_length)] if args.query_length else []
        engines = {"pytorch": [sys.executable, __file__, "--peer"], "secateur": [args.bench]}
        commands = {
            f"{engine} {precision}": [*command, *shared, "--precision", precision]
            for precision in dict.fromkeys(["f32", args.precision])
            for engine, command in engines.items()
        }
        times, peaks, first = {name: [] for name in commands}, {}, {}
        for _ in range(args.rounds):
            for name, command in commands.items():
                lines = run(command, args.threads)
                times[name] += [line["ms"] for line in lines[1:-1]]
                first[name] = lines[0]["loss"]
                peaks[name] = max(peaks.get(name, 0), lines[-1]["peak_mib"])
        print(f"{args.model.name}, {args.threads} threads, batch {args.batch}, weights {weights:.0f} MiB")
        for name in commands:
            print(f"{name:13} {statistics.median(times[name]):9.1f} ms/step  peak {peaks[name]:7.0f} MiB  first loss {first[name]:.5f}")
        for precision in dict.fromkeys(["f32", args.precision]):
            theirs, ours = f"pytorch {precision}", f"secateur {precision}"
            print(f"ratio, {precision}: {statistics.median(times[theirs]) / statistics.median(times[ours]):.2f}")
            limit = 1e-3 if precision == "f32" else 2e-2
            if abs(first[theirs] - first[ours]) > limit * max(1.0, first[theirs]):
                sys.exit("the losses of the first step differ")


if __name__ == "__main__":
    main()
