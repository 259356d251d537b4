#!/usr/bin/env python3
"""What `check.sh` found, as tables for people: python3 scripts/gpu/table.py results.jsonl

Both sides beside each other, then each goal with what was measured and whether that reaches it.
"""
import json
import sys

# By the MLPs and attentions that are left out, and the width of the other MLPs.
NAMES = {
    (0, 0, 1.0): "full",
    (16, 0, 0.7): "effir",
    **{(mlps, 0, 1.0): f"drop{mlps}" for mlps in (8, 16, 20)},
    **{(0, attentions, 1.0): f"drop{attentions}A" for attentions in (8, 16)},
}
QUERIES, DOCUMENTS = ["query1", "query32"], ["doc130", "ragged", "doc512"]


class Results:
    def __init__(self, rows):
        self.rows = rows
        self.ours = {(name_of(row), row["shape"]): row for row in self.of("ours", "device_ms")}
        self.theirs = {}
        for row in self.of("theirs", "ms"):
            self.theirs.setdefault((row["config"], row["shape"]), []).append(row)

    def of(self, what, key):
        return [row for row in self.rows if row.get("what") == what and row.get(key) is not None]

    def first(self, what, key):
        return next(iter(self.of(what, key)), None)

    def their_least(self, model, shape, key):
        """By the mode of torch.compile that suits it best."""
        return min((row[key] for row in self.theirs.get((model, shape), []) if key in row), default=None)

    def our(self, model, shape, key):
        return self.ours.get((model, shape), {}).get(key)

    def rate(self):
        """The card's matrix rate as PyTorch measures it; where that failed, as we do."""
        row = self.first("ceilings", "tflops") or self.first("our ceilings", "tflops")
        return row and row["tflops"]


def name_of(row):
    if row["config"] != "mistral-7b":
        return row["config"]
    return NAMES.get((row["drop_mlp"], row.get("drop_attention", 0), row["width"]), "other")


def ratio(numerator, denominator):
    return numerator / denominator if numerator and denominator else None


def number(value, form):
    return "" if value is None else format(value, form)


def troubles(results):
    for row in results.rows:
        for key in ("failed", "skipped", "error"):
            if key in row:
                about = [row["what"], *(str(row[part]) for part in ("config", "mode", "shape", "model") if part in row)]
                yield f"{key}: {' '.join(about)}: {row[key]}"


def speeds(results):
    head = f"{'model':8} {'shape':8} {'ours ms':>9} {'TFLOP/s':>8} {'of rate':>8} {'theirs ms':>10} {'ratio':>6} {'full/this':>9} {'end to end':>11} {'theirs':>9} {'ratio':>6}"
    yield head
    for (model, shape), row in results.ours.items():
        theirs, their_end = (results.their_least(model, shape, key) for key in ("ms", "end_to_end_ms"))
        share = ratio(row["tflops"], results.rate())
        over_full = ratio(results.our("full", shape, "device_ms"), row["device_ms"]) if row["config"] == "mistral-7b" else None
        yield (
            f"{model:8} {shape:8} {row['device_ms']:9.3f} {row['tflops']:8.1f} {number(share, '.1%'):>8} {number(theirs, '.3f'):>10} "
            f"{number(ratio(theirs, row['device_ms']), '.2f'):>6} {number(over_full, '.2f'):>9} {row['end_to_end_ms']:11.3f} "
            f"{number(their_end, '.3f'):>9} {number(ratio(their_end, row['end_to_end_ms']), '.2f'):>6}"
        ).rstrip()


def ceilings(results):
    for what in ("ceilings", "our ceilings"):
        row = results.first(what, "tflops")
        if row:
            names = ("tflops", "int8_tops", "copy_gb_s", "read_gb_s")
            yield f"{what}: " + ", ".join(f"{name} {row[name]:.0f}" for name in names if name in row)


def trainings(results):
    for row in results.of("train ours", "tokens_per_second") + results.of("train theirs", "tokens_per_second"):
        used = row["used_gb"][-1] if isinstance(row["used_gb"], list) else row["used_gb"]
        first, last = row["losses"]
        yield f"{row['what']}: {row['tokens_per_second']:.0f} tokens/s, {row['seconds']:.2f} s a step, {number(used, '.1f')} GB, loss {first:.3f} to {last:.3f}"


def searches(results):
    theirs = {row["queries"]: row["ms"] for row in results.of("their search", "ms")}
    for row in results.of("our search", "gpu_ms"):
        other = theirs.get(row["queries"])
        beside = f", matmul and topk {other:.2f} ms, ratio {other / row['gpu_ms']:.2f}" if other else ""
        same = "identical hits" if row["identical"] else "OTHER HITS"
        yield (
            f"search {row['rows']} x {row['dim']}, {row['queries']} queries: {row['gpu_ms']:.2f} ms{beside}; "
            f"CPU on {row['compared_rows']} rows {row['cpu_ms']:.0f} ms, {same}"
        )


def goals(results):
    def judged(what, value, least, form=".2f", beside=""):
        verdict = "not measured" if value is None else "reached" if value >= least else "MISSED"
        return f"goal: {what}: {number(value, form) or '-'}, at least {format(least, form)}: {verdict}{beside}"

    over_full = lambda shape: ratio(results.our("full", shape, "device_ms"), results.our("effir", shape, "device_ms"))
    for shapes, least in ((QUERIES, 1.97), (DOCUMENTS, 1.82)):
        for shape in shapes:
            yield judged(f"EffiR against full, {shape}", over_full(shape), least)
    over_theirs = lambda model, shape, ours, theirs: ratio(results.their_least(model, shape, theirs), results.our(model, shape, ours))
    equal = over_theirs("full", "doc130", "device_ms", "ms")
    yield judged("full against Transformers, ragged", over_theirs("full", "ragged", "device_ms", "ms"), 1.2, beside=f"; equal lengths {number(equal, '.2f') or '-'}")
    device = over_theirs("full", "text1", "device_ms", "ms")
    whole = over_theirs("full", "text1", "end_to_end_ms", "end_to_end_ms")
    yield judged("full against Transformers, a query from text to vector", whole, 1.4, beside=f"; the device's time {number(device, '.2f') or '-'}")
    share = ratio(results.our("full", "doc512", "tflops"), results.rate())
    yield judged("of the card's matrix rate at 512 tokens", share, 0.6, ".0%", "; the aim is 75%")
    train, peer = results.first("train ours", "used_gb"), results.first("train theirs", "tokens_per_second")
    beyond = train and train["used_gb"][2] - train["used_gb"][1]
    verdict = "not measured" if beyond is None else "reached" if beyond <= 40 else "MISSED"
    speed = ratio(train and train["tokens_per_second"], peer and peer["tokens_per_second"])
    yield f"goal: LoRA beside its weights: {number(beyond, '.1f') or '-'} GB, at most 40.0: {verdict}; tokens/s against PEFT {number(speed, '.2f') or '-'}"
    cosines = [row["cosine"] for row in results.of("probe", "cosine")]
    yield judged(f"cosine to the CPU's f32, {len(cosines)} models", min(cosines, default=None), 0.999, ".4f")
    for shape in ("doc130", "ragged"):
        per_second = lambda ms: ratio(128e3, ms)
        ours, theirs = per_second(results.our("minilm", shape, "device_ms")), per_second(results.their_least("minilm", shape, "ms"))
        yield f"MiniLM, {shape}: {number(ours, '.0f') or '-'} documents/s, Transformers {number(theirs, '.0f') or '-'}, ratio {number(ratio(ours, theirs), '.2f') or '-'}"
    ours, theirs = results.our("minilm", "text1", "end_to_end_ms"), results.their_least("minilm", "text1", "end_to_end_ms")
    yield f"MiniLM, a query from text to vector: {number(ours, '.3f') or '-'} ms, Transformers {number(theirs, '.3f') or '-'}, ratio {number(ratio(theirs, ours), '.2f') or '-'}"


def lines(rows):
    results = Results(rows)
    for part in (speeds, ceilings, trainings, searches, goals, troubles):
        yield from part(results)


def read(path):
    rows = []
    with open(path, errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # a line that was cut when its step was stopped
            if isinstance(row, dict) and "what" in row:
                rows.append(row)
    return rows


if __name__ == "__main__":
    print("\n".join(lines(read(sys.argv[1]))))
