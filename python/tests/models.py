"""Tiny models with random weights, made of nothing but numpy and the tokenizer of the encoder in the box."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DEFAULT = Path(__file__).resolve().parents[2] / "encoders" / "default"
HIDDEN, INNER, LAYERS = 32, 48, 3


def write_safetensors(path: Path, tensors: dict[str, NDArray[np.float32]]) -> None:
    header, data = {}, b""
    for name, tensor in tensors.items():
        start, data = len(data), data + tensor.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def _directory(path: Path, config: dict[str, object], tensors: dict[str, NDArray[np.float32]]) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEFAULT / name, path / name)
    write_safetensors(path / "model.safetensors", tensors)
    return path


def _vocabulary() -> int:
    vocabulary: int = json.loads((DEFAULT / "config.json").read_text())["vocab_size"]
    return vocabulary


def llama(path: Path, seed: int = 0) -> Path:
    """A model that can be pruned and trained."""
    rng = np.random.default_rng(seed)

    def of(*shape: int) -> NDArray[np.float32]:
        return rng.normal(scale=0.2, size=shape).astype(np.float32)

    ones = np.ones(HIDDEN, dtype=np.float32)
    tensors = {"embed_tokens.weight": of(_vocabulary(), HIDDEN), "norm.weight": ones}
    for layer in range(LAYERS):
        at = f"layers.{layer}."
        for name in "qkvo":
            tensors[f"{at}self_attn.{name}_proj.weight"] = of(HIDDEN, HIDDEN)
        tensors[f"{at}mlp.gate_proj.weight"] = of(INNER, HIDDEN)
        tensors[f"{at}mlp.up_proj.weight"] = of(INNER, HIDDEN)
        tensors[f"{at}mlp.down_proj.weight"] = of(HIDDEN, INNER)
        tensors[f"{at}input_layernorm.weight"] = tensors[f"{at}post_attention_layernorm.weight"] = ones
    config: dict[str, object] = {
        "model_type": "llama",
        "architectures": ["LlamaModel"],
        "vocab_size": _vocabulary(),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
    }
    return _directory(path, config, tensors)


def cross_encoder(path: Path, activation: str | None = None) -> Path:
    """A BERT with a head of one label. `activation` is what its files name for sentence-transformers."""
    rng = np.random.default_rng(1)
    tensors: dict[str, NDArray[np.float32]] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        tensors[f"{name}.weight"] = rng.normal(scale=0.3, size=(outputs, inputs)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(scale=0.1, size=outputs).astype(np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = np.ones(HIDDEN, dtype=np.float32)
        tensors[f"{name}.bias"] = np.zeros(HIDDEN, dtype=np.float32)

    for name, rows in (("word", _vocabulary()), ("position", 128), ("token_type", 2)):
        weight = rng.normal(scale=0.3, size=(rows, HIDDEN)).astype(np.float32)
        tensors[f"bert.embeddings.{name}_embeddings.weight"] = weight
    norm("bert.embeddings.LayerNorm")
    for layer in range(2):
        at = f"bert.encoder.layer.{layer}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{at}.attention.{name}", HIDDEN, HIDDEN)
        norm(f"{at}.attention.output.LayerNorm")
        linear(f"{at}.intermediate.dense", INNER, HIDDEN)
        linear(f"{at}.output.dense", HIDDEN, INNER)
        norm(f"{at}.output.LayerNorm")
    linear("bert.pooler.dense", HIDDEN, HIDDEN)
    linear("classifier", 1, HIDDEN)
    config: dict[str, object] = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "vocab_size": _vocabulary(),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "id2label": {"0": "LABEL_0"},
    }
    if activation is not None:
        config["sentence_transformers"] = {"activation_fn": activation}
    return _directory(path, config, tensors)
