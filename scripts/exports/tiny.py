"""Tiny models of random weights, whole and pruned, for the programs of this folder. Needs numpy and safetensors."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    "roses",
    "Prune roses in late winter, before the buds swell.",
    "Bees dance to tell where the food is and how far, and a shear cuts what a tree can do without.",
    "Crème brûlée, naïve façade " * 8,
]
LAYERS, WIDTH = 5, 72
# vLLM's attention on a CPU has no narrower heads.
DECODER = {
    "vocab_size": 600, "hidden_size": 64, "intermediate_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
}
BERT = {
    "vocab_size": 600, "hidden_size": 48, "intermediate_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "max_position_embeddings": 800, "type_vocab_size": 2,
}
# Windows are shorter than the texts, and which layers have one follows from their numbers where it can.
FAMILIES = {
    "llama": DECODER,
    "mistral": DECODER | {"sliding_window": 8},
    "qwen2": DECODER | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 3},
    "qwen3": DECODER,
    "gemma2": DECODER | {"sliding_window": 8, "query_pre_attn_scalar": 16, "hidden_activation": "gelu_pytorch_tanh"},
    "bert": BERT,
    "xlm-roberta": BERT | {"layer_norm_eps": 1e-5},
    "modernbert": {key: BERT[key] for key in BERT if key != "type_vocab_size"}
    | {"local_attention": 8, "global_attn_every_n_layers": 2, "pad_token_id": 0},
}
ALL = [True] * LAYERS
# What remains, and whether layers are alike without zeros.
CUTS = {
    "whole": (ALL, [WIDTH] * LAYERS, True),
    "alike": ([True, True, False, True, True], [40, 40, None, 40, 40], True),
    "unlike": ([False, True, False, True, True], [33, None, None, 72, 40], False),
}
# Rows or columns of an MLP, by what ends the tensor's name.
ROWS = ["gate_proj.weight", "up_proj.weight", "intermediate.dense.weight", "intermediate.dense.bias"]
COLUMNS = ["down_proj.weight", "mlp.Wo.weight"]


def run(*arguments):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done.stdout


def whole(secateur, family, folder):
    """A model with random weights, biases and norms: nothing is so small that it would not be missed."""
    config = folder.with_suffix(".json")
    config.write_text(json.dumps({"model_type": family, "tie_word_embeddings": family == "gemma2"} | FAMILIES[family]))
    run(secateur, "model", "create", config, "--vocabulary", ROOT / "datasets/mini", "--out", folder)
    rng = np.random.default_rng(7)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for name, tensor in sorted(tensors.items()):
        center = 1.0 if "norm" in name.lower() and name.endswith("weight") and family != "gemma2" else 0.0
        tensors[name] = (center + rng.uniform(-0.3, 0.3, tensor.shape)).astype(np.float32)
    save_file(tensors, file, metadata={"format": "pt"})
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    settings["prompts"] = {"query": "search: ", "document": ""}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    if family == "xlm-roberta":
        # Positions are counted from a token that no text has.
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        change(folder, pad_token_id=vocabulary["Ā"])


def change(folder, **keys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | keys))


def pruned(whole, cut, folder):
    """The same without what does not remain, in secateur's own layout."""
    attention, widths, _ = CUTS[cut]
    shutil.copytree(whole, folder)
    if cut == "whole":
        return
    change(folder, secateur={"attention": attention, "intermediate_sizes": widths})
    tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        parts = name.split(".")
        layer = next((int(part) for part in parts if part.isdigit()), None)
        if layer is not None:
            is_attention = any(part in name for part in ("attention", "self_attn", "input_layernorm", "attn", "post_attention_layernorm"))
            if "post_attention_layernorm" in name and "gemma2" not in str(folder):
                is_attention = False
            if not attention[layer] if is_attention else widths[layer] is None:
                continue
            width = widths[layer]
            if not is_attention and any(name.endswith(end) for end in ROWS):
                tensor = tensor[:width]
            elif name.endswith("mlp.Wi.weight"):
                tensor = np.concatenate([tensor[:width], tensor[WIDTH : WIDTH + width]])
            elif any(name.endswith(end) for end in COLUMNS) or (name.endswith("output.dense.weight") and not is_attention):
                tensor = tensor[:, :width]
        tensors[name] = np.ascontiguousarray(tensor)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def compare(secateur, model, vectors):
    """The least cosine of secateur's vectors of a model and these, by (text, kind)."""
    golden = model.with_suffix(".jsonl")
    lines = [json.dumps({"text": text, "kind": kind, "vector": [float(x) for x in vector]}) for (text, kind), vector in vectors.items()]
    golden.write_text("\n".join(lines) + "\n")
    report = json.loads(run(secateur, "model", "check", model, "--golden", golden, "--min-cosine", 0, "--json"))
    return report["comparison"]["least_cosine"]
