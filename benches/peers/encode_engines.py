"""The peers of encode.py: sentence-transformers, onnxruntime and OpenVINO. Each runs in a process of its own, so that its
thread count is set before its libraries load."""

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BATCH_SIZE = 32
WARM_UP = 32
# Texts that static scales are calibrated on.
CALIBRATED = 300


def make_torch(dtype, args):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(args.threads)
    model = SentenceTransformer(str(args.model), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})

    def encode(texts):
        # Sorts by length and restores the order. NumPy has no bf16, so the result is widened.
        vectors = model.encode(texts, batch_size=BATCH_SIZE, convert_to_tensor=True, show_progress_bar=False)
        return vectors.float().numpy()

    return encode


def make_onnxruntime(kind, args):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    graph = onnx_graph(args.model, kind)
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return in_batches(args, lambda feed: session.run(None, feed)[0])


def make_openvino(kind, args):
    import openvino

    hint = "bf16" if kind == "bf16" else "f32"
    settings = {"INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    graph = openvino_graph(args) if kind == "int8" else onnx_graph(args.model, "plain")
    compiled = openvino.Core().compile_model(str(graph), "CPU", settings)
    request = compiled.create_infer_request()
    return in_batches(args, lambda feed: request.infer(feed)[0])


def feed_of(encodings):
    import numpy as np

    ids = np.array([encoding.ids for encoding in encodings])
    mask = np.array([encoding.attention_mask for encoding in encodings])
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def padding_tokenizer(args):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.enable_truncation(json.loads((args.model / "sentence_bert_config.json").read_text())["max_seq_length"])
    tokenizer.enable_padding()
    return tokenizer


def in_batches(args, run):
    """Texts by their length, padded in each batch."""
    import numpy as np

    tokenizer = padding_tokenizer(args)

    def encode(texts):
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = None
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            batch = run(feed_of(tokenizer.encode_batch([texts[i] for i in rows])))
            if vectors is None:
                vectors = np.empty((len(texts), batch.shape[1]), np.float32)
            vectors[rows] = batch
        return vectors

    return encode


def onnx_graph(model_dir, kind):
    """The model with mean pooling and normalization as one graph, made once, in a folder that git ignores. `kind` is
    plain, fused (onnxruntime's own optimizer), or int8 (onnxruntime's own dynamic quantization of the fused one)."""
    folder = ROOT / ".models/onnx"
    plain, optimized = folder / f"{model_dir.name}.onnx", folder / f"{model_dir.name}.fused.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    if not plain.exists():
        export_onnx(model_dir, plain)
    if kind == "plain":
        return plain
    if not optimized.exists():
        from onnxruntime.transformers.optimizer import optimize_model

        config = json.loads((model_dir / "config.json").read_text())
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        optimize_model(str(plain), "bert", num_heads=heads, hidden_size=hidden, opt_level=1).save_model_to_file(
            str(optimized)
        )
    quantized = folder / f"{model_dir.name}.int8.onnx"
    if kind == "int8" and not quantized.exists():
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # The types of the fused operations' outputs are not known to onnx.
        types = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(
            str(optimized), str(quantized), per_channel=True, weight_type=QuantType.QInt8, extra_options=types
        )
    return quantized if kind == "int8" else optimized


def openvino_graph(args):
    """The graph in 8 bits by nncf: SmoothQuant and static scales, calibrated on documents of the first run."""
    import nncf
    import openvino

    path = ROOT / f".models/onnx/{args.model.name}.int8.xml"
    if not path.exists():
        tokenizer = padding_tokenizer(args)
        texts = read_texts(args.folder / "docs.jsonl")[:CALIBRATED]
        feeds = [feed_of(tokenizer.encode_batch([text])) for text in texts]
        model = openvino.Core().read_model(str(onnx_graph(args.model, "plain")))
        quantized = nncf.quantize(model, nncf.Dataset(feeds), model_type=nncf.ModelType.TRANSFORMER)
        openvino.save_model(quantized, str(path), compress_to_fp16=False)
    return path


def export_onnx(model_dir, path):
    import torch
    from transformers import AutoModel

    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            # Eager attention traces into the pattern that onnxruntime knows.
            self.model = AutoModel.from_pretrained(model_dir, attn_implementation="eager", dtype=torch.float32).eval()

        def forward(self, input_ids, attention_mask, token_type_ids):
            output = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            mask = attention_mask.unsqueeze(-1).to(output.last_hidden_state.dtype)
            mean = (output.last_hidden_state * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(mean, dim=1)

    pooling = json.loads((model_dir / "1_Pooling/config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"], "the exported graph pools by the mean"
    ids = torch.ones(2, 9, dtype=torch.long)
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 5:] = 0
    names = ["input_ids", "attention_mask", "token_type_ids"]
    unfinished = path.with_suffix(".unfinished")
    torch.onnx.export(
        Pooled(),
        (ids, mask, torch.zeros_like(ids)),
        str(unfinished),
        # The tracing exporter needs no package beyond torch.
        dynamo=False,
        opset_version=17,
        input_names=names,
        output_names=["vectors"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names} | {"vectors": {0: "batch"}},
    )
    unfinished.rename(path)


ENGINES = {
    "torch-f32": lambda args: make_torch("float32", args),
    "torch-bf16": lambda args: make_torch("bfloat16", args),
    "onnxruntime-f32": lambda args: make_onnxruntime("plain", args),
    "onnxruntime-fused": lambda args: make_onnxruntime("fused", args),
    "onnxruntime-int8": lambda args: make_onnxruntime("int8", args),
    "openvino-f32": lambda args: make_openvino("f32", args),
    "openvino-bf16": lambda args: make_openvino("bf16", args),
    "openvino-int8": lambda args: make_openvino("int8", args),
}


def work(args):
    """A peer's process: loads, warms up, then answers each line of standard input with one line."""
    # Whatever libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import numpy as np

    documents, queries = read_texts(args.folder / "docs.jsonl"), read_texts(args.folder / "queries.jsonl")
    encode = ENGINES[args.worker](args)
    encode(documents[:WARM_UP])
    for query in queries[:WARM_UP]:
        encode([query])
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = line.split()
        if request[0] == "vectors":
            np.save(request[1], encode(documents + queries))
            answer = {}
        elif request[0] == "docs":
            start = time.perf_counter()
            encode(documents)
            answer = {"docs_per_s": len(documents) / (time.perf_counter() - start)}
        else:
            times = []
            for query in queries:
                start = time.perf_counter()
                encode([query])
                times.append((time.perf_counter() - start) * 1e3)
            answer = {"p50_ms": percentile(times, 50), "p95_ms": percentile(times, 95)}
        print(json.dumps(answer), file=answers, flush=True)


def read_texts(path):
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def percentile(values, percent):
    """Nearest rank."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
