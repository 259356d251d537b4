"""What SmoothQuant would gain secateur's int8: cosines to f32 of vectors whose linear layers are quantized as `--precision int8` does.

    python3 benches/peers/smoothing.py --model .models/all-MiniLM-L6-v2 --data scifact

PyTorch computes the model with inputs and weights of its linear layers rounded to 8 bits, in groups of 128 numbers with a
scale each. Smoothing (Xiao et al. 2023, arXiv 2211.10438) divides input j by s_j and multiplies column j of the weights by
it, where s_j = max|x_j|^alpha / max|w_j|^(1 - alpha) over calibration texts. Printed are the mean and the least cosine:

- none: without smoothing;
- foldable: smoothed where another layer can take the division over, which changes no speed. In a BERT that is attention's
  output alone, whose inputs are sums of values. A norm there feeds the residual too.
- everywhere: all linear layers, as if dividing cost nothing: no calibration of this kind gains more.
- per token: without groups, a scale for each token and each row of weights. It shows that the test can tell methods apart.
"""

import argparse
import gzip
import json
from pathlib import Path

GROUP = 128
ALPHAS = (0.25, 0.5, 0.75)


def read_texts(folder, count, first):
    path = folder / "corpus.jsonl"
    opened = open(path, encoding="utf-8") if path.exists() else gzip.open(f"{path}.gz", "rt", encoding="utf-8")
    with opened as file:
        documents = [json.loads(line) for line, _ in zip(file, range(first + count))][first:]
    return [f"{document.get('title', '')} {document['text']}".strip() for document in documents]


def rounded(x, group):
    """Numbers of 8 bits, a scale for each group along the last dimension."""
    import torch

    columns = x.shape[-1]
    padded = torch.nn.functional.pad(x, (0, -columns % group)).unflatten(-1, (-1, group))
    scale = padded.abs().amax(-1, keepdim=True).clamp_min(1e-30) / 127
    return ((padded / scale).round() * scale).flatten(-2)[..., :columns]


class Quantized:
    """The linear layers of a model, exact or quantized."""

    def __init__(self, model):
        import torch

        modules = dict(model.named_modules()).items()
        self.layers = {name: m for name, m in modules if isinstance(m, torch.nn.Linear) and ".layer" in f".{name}"}
        self.largest = {}
        self.mode = None
        for name, layer in self.layers.items():
            layer.forward = lambda x, name=name, layer=layer: self.forward(name, layer, x)

    def forward(self, name, layer, x):
        import torch

        weight = layer.weight
        if self.mode is None:
            return torch.nn.functional.linear(x, weight, layer.bias)
        if self.mode == "calibrate":
            most = x.detach().abs().flatten(0, -2).amax(0)
            self.largest[name] = torch.maximum(self.largest.get(name, most), most)
            return torch.nn.functional.linear(x, weight, layer.bias)
        group, alpha, chosen = self.mode
        if alpha is not None and chosen(name):
            of_weight = weight.abs().amax(0).clamp_min(1e-5)
            s = (self.largest[name].clamp_min(1e-5) ** alpha / of_weight ** (1 - alpha)).clamp_min(1e-5)
            x, weight = x / s, weight * s
        group = group or x.shape[-1]
        return torch.nn.functional.linear(rounded(x, group), rounded(weight, group), layer.bias)


def main():
    import torch
    from sentence_transformers import SentenceTransformer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="a BEIR folder")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--calibration", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = SentenceTransformer(str(args.model), device="cpu")
    layers = Quantized(model[0].auto_model)
    texts = read_texts(args.data, args.texts, 0)

    def encode(texts, mode):
        layers.mode = mode
        return model.encode(texts, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False).double()

    encode(read_texts(args.data, args.calibration, args.texts), "calibrate")
    exact = encode(texts, None)
    cases = [("none", (GROUP, None, None)), ("per token", (None, None, None))]
    for what, chosen in (("foldable", lambda name: "attention.output" in name), ("everywhere", lambda name: True)):
        cases += [(f"{what}, alpha {alpha}", (GROUP, alpha, chosen)) for alpha in ALPHAS]
    print("| smoothing | mean cosine | least |\n|---|---|---|")
    for what, mode in cases:
        cosines = (encode(texts, mode) * exact).sum(1)
        print(f"| {what} | {cosines.mean():.5f} | {cosines.min():.5f} |", flush=True)


if __name__ == "__main__":
    main()
