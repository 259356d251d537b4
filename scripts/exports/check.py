"""Exports tiny models, whole and pruned, and loads each with the program that it was written for.

    python3 scripts/exports/check.py SECATEUR WORK [FAMILY...]      needs tests/fixtures/checkpoints/requirements.txt

sentence-transformers has to give the vectors that secateur gives of the model before its export: a cosine of 0.999999 at
least. What is written for transformers is the same but for files beside the weights. Of nemotron-nas the configuration is loaded; vllm_check.py loads the model.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig

from tiny import CUTS, FAMILIES, TEXTS, compare, pruned, run, whole

torch.set_num_threads(1)
secateur, work = sys.argv[1], Path(sys.argv[2]).resolve()


def check_blocks(folder):
    """Widths of block_configs, by the rule of their readers, are those of the tensors."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert config.model_type == "nemotron-nas" and len(config.block_configs) == config.num_hidden_layers
    json.loads(config.to_json_string())
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
        for layer, block in enumerate(config.block_configs):
            gate, query = (f"model.layers.{layer}.{name}.weight" for name in ("mlp.gate_proj", "self_attn.q_proj"))
            assert block.attention.no_op == (query not in names) and block.ffn.no_op == (gate not in names), layer
            if not block.ffn.no_op:
                width = -(-int(2 * block.ffn.ffn_mult * config.hidden_size / 3) // 256) * 256
                assert file.get_slice(gate).get_shape() == [width, config.hidden_size], layer


failed = 0
for family in sys.argv[3:] or FAMILIES:
    whole(secateur, family, work / family)
    for cut, (_, _, is_alike) in CUTS.items():
        model = work / f"{family}-{cut}"
        pruned(work / family, cut, model)
        plain, out = (work / f"{family}-{cut}-for-{form}" for form in ("transformers", "sentence-transformers"))
        for folder, form in (plain, "transformers"), (out, "sentence-transformers"):
            run(secateur, "model", "export", model, "--to", form, "--out", folder, *([] if is_alike else ["--pad"]))
        for file in ("config.json", "model.safetensors"):
            assert (plain / file).read_bytes() == (out / file).read_bytes(), (model, file)
        reader = SentenceTransformer(str(out), device="cpu", model_kwargs={"attn_implementation": "eager", "dtype": "float32"})
        vectors = {(text, "query"): vector for text, vector in zip(TEXTS, reader.encode_query(TEXTS))}
        vectors |= {(text, "passage"): vector for text, vector in zip(TEXTS, reader.encode_document(TEXTS))}
        cosines = compare(secateur, model, vectors), compare(secateur, out, vectors)
        is_equal = min(cosines) >= 0.999999
        failed += not is_equal
        print(f"{'equal  ' if is_equal else 'DIFFERS'}  {out.name}: 1 - {1 - min(cosines):.1e}", flush=True)
        if family in ("llama", "mistral", "qwen2"):
            out = work / f"{family}-{cut}-for-nemotron-nas"
            run(secateur, "model", "export", model, "--to", "nemotron-nas", "--out", out)
            check_blocks(out)
            print(f"read     {out.name}: its configuration", flush=True)
sys.exit(failed > 0)
