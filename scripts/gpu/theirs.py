#!/usr/bin/env python3
"""Hugging Face Transformers on the shapes of `secateur bench gpu`: random weights, bf16, torch.compile, sdpa.

One JSON line a measurement: CUDA events after warm-up, the median of what fits its seconds. A part that fails or runs out of its
seconds is a line with "error", and the others go on. `--device cpu --tiny` tries the script without a GPU.

Modes are those of torch.compile, layer by layer: all layers share the compiled code, so it takes seconds and not minutes. Beside
them: `eager` compiles nothing; `captured` is `default` with the whole forward in one CUDA graph; `whole` compiles the model as one,
with CUDA graphs (reduce-overhead).
"""
import argparse
import json
import pathlib
import signal
import statistics
import time

SHAPES = [("query1", 1, 10), ("query32", 32, 10), ("doc130", 128, 130), ("doc512", 32, 512)]
# What `bench gpu` has as well: a query from its text on, and the tokenizer of both sides.
QUERY = "what is the best time to prune roses"
TOKENIZER = pathlib.Path(__file__).resolve().parents[2] / "encoders" / "default" / "tokenizer.json"
MLPS = {"full": (32, 1.0), "drop8": (24, 1.0), "drop16": (16, 1.0), "drop20": (12, 1.0), "effir": (16, 0.7)}


def ragged():
    """128 lengths around 130, as `bench gpu` has them: the middles of equal parts of a normal distribution."""
    normal = statistics.NormalDist(130, 45)
    return sorted((min(256, max(20, round(normal.inv_cdf((part + 0.5) / 128)))) for part in range(128)), reverse=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try the script on a CPU")
    parser.add_argument("--seconds", type=float, default=200, help="of everything")
    parser.add_argument("--configs", default="full,effir", help="of " + ", ".join([*MLPS, "minilm"]))
    parser.add_argument("--modes", default="default", help="see above")
    parser.add_argument("--shapes", default="text1,ragged,doc130,doc512,query1,query32")
    parser.add_argument("--only", choices=["ceilings", "search", "train"])
    parser.add_argument("--rows", type=int, default=1_000_000, help="vectors of --only search")
    parser.add_argument("--dim", type=int, default=4096, help="their components")
    return Measurement(parser.parse_args()).run()


class OutOfTime(Exception):
    pass


class Measurement:
    def __init__(self, arguments):
        self.begin, self.arguments = time.time(), arguments
        self.cuda = arguments.device == "cuda"

        def alarm(*_):
            raise OutOfTime("its seconds are over")

        signal.signal(signal.SIGALRM, alarm)

    def left(self):
        return self.arguments.seconds - (time.time() - self.begin)

    def say(self, **row):
        print(json.dumps(row), flush=True)

    def attempt(self, seconds, what, part):
        """`part`, for at most so many seconds; a line with what it gives or with its error."""
        if self.left() < 8:
            return self.say(**what, error="no time is left")
        signal.alarm(max(5, int(min(seconds, self.left()))))
        try:
            self.say(**what, **part())
        except Exception as error:
            self.say(**what, error=repr(error)[:300])
        finally:
            signal.alarm(0)

    def synchronize(self):
        if self.cuda:
            self.torch.cuda.synchronize()

    def median_ms(self, run, seconds=1.5):
        run()
        run()
        self.synchronize()
        times, stop = [], time.time() + seconds
        while len(times) < 3 or (time.time() < stop and len(times) < 500):
            if self.cuda:
                start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                run()
                end.record()
                self.torch.cuda.synchronize()
                times.append(start.elapsed_time(end))
            else:
                start = time.time()
                run()
                times.append(1e3 * (time.time() - start))
        return {"ms": statistics.median(times), "n": len(times)}

    def ceilings(self):
        torch, device = self.torch, self.arguments.device
        size = 8192 if self.cuda else 256
        x, y = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
        products = self.median_ms(lambda: x @ y)["ms"]
        big = torch.empty((2 << 30) if self.cuda else 1 << 20, dtype=torch.uint8, device=device)
        other = torch.empty_like(big)
        copy = self.median_ms(lambda: other.copy_(big))["ms"]
        read = self.median_ms(lambda: big.view(torch.int64).sum())["ms"]
        return {
            "device": torch.cuda.get_device_name() if self.cuda else "cpu",
            "torch": torch.__version__,
            "tflops": 2e-9 * size**3 / products,
            "copy_gb_s": 2e-6 * big.numel() / copy,
            "read_gb_s": 1e-6 * big.numel() / read,
        }

    def search(self, queries):
        """The 100 best of bf16 rows by inner product, with the copies of queries and hits. Scores are rounded: hits are approximate."""
        torch, device = self.torch, self.arguments.device
        if not hasattr(self, "rows"):
            self.rows = torch.randn(self.arguments.rows, self.arguments.dim, device=device, dtype=torch.bfloat16)
        asked = torch.randn(queries, self.arguments.dim, dtype=torch.bfloat16)

        def run():
            scores, rows = (asked.to(device) @ self.rows.T).topk(min(100, self.arguments.rows), dim=1)
            return scores.cpu(), rows.cpu()

        run()
        times = []
        for _ in range(20):
            start = time.time()
            run()
            times.append(1e3 * (time.time() - start))
        return {"ms": statistics.median(times)}

    def model(self, name):
        import transformers

        torch = self.torch
        if name == "minilm":
            sizes = dict(vocab_size=30522, hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=12)
            config, kind = transformers.BertConfig(**sizes, attn_implementation="sdpa"), transformers.BertModel
        else:
            sizes = dict(vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8)
            if self.arguments.tiny:
                sizes.update(hidden_size=64, intermediate_size=128, num_hidden_layers=32, num_attention_heads=4, num_key_value_heads=2)
            config = transformers.MistralConfig(**sizes, max_position_embeddings=32768, sliding_window=None, use_cache=False, attn_implementation="sdpa")
            kind = transformers.MistralModel
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device(self.arguments.device):
                model = kind(config)
        finally:
            torch.set_default_dtype(torch.float32)
        return self.pruned(model, *MLPS[name]) if name in MLPS else model.eval().requires_grad_(False)

    def pruned(self, model, keep, width):
        """The MLPs of the last layers gone, the others narrower. A missing MLP adds nothing and costs nothing."""
        import types

        torch = self.torch

        def without_mlp(layer, hidden_states, *args, **kwargs):
            out = layer.self_attn(layer.input_layernorm(hidden_states), *args, **kwargs)
            return hidden_states + (out[0] if isinstance(out, tuple) else out)

        def narrow(neurons):
            return -(-int(neurons * width) // 128) * 128  # rows that are not aligned would slow it down

        for number, layer in enumerate(model.layers):
            if number >= keep:
                layer.mlp = layer.post_attention_layernorm = None
                layer.forward = types.MethodType(without_mlp, layer)
            elif width < 1:
                like = dict(bias=False, device=layer.mlp.down_proj.weight.device, dtype=layer.mlp.down_proj.weight.dtype)
                for part in ("gate_proj", "up_proj"):
                    old = getattr(layer.mlp, part)
                    setattr(layer.mlp, part, torch.nn.Linear(old.in_features, narrow(old.out_features), **like))
                old = layer.mlp.down_proj
                layer.mlp.down_proj = torch.nn.Linear(narrow(old.in_features), old.out_features, **like)
        return model.eval().requires_grad_(False)

    def runner(self, model, mean, ids, mode):
        """Computes vectors of `ids`, whatever they are by then; not yet of length 1."""
        torch = self.torch
        more = {} if mean else {"use_cache": False}

        def run():
            hidden = model(input_ids=ids, **more).last_hidden_state
            return hidden.mean(1) if mean else hidden[:, -1]

        if mode != "captured":
            return run
        run()  # what is compiled or chosen at the first call is none of the graph's
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = run()

        def replay():
            graph.replay()
            return out

        return replay

    def end_to_end(self, run, ids, new_ids):
        """Milliseconds from `new_ids()` to unit vectors in the program's memory."""
        torch, times = self.torch, []
        for _ in range(12):
            start = time.time()
            ids.copy_(new_ids())
            torch.nn.functional.normalize(run().float(), dim=-1).cpu()
            times.append(1e3 * (time.time() - start))
        return statistics.median(times[2:])

    def shape(self, model, mean, mode, batch, length):
        torch = self.torch
        if self.arguments.tiny:
            batch = min(batch, 4)
        host = torch.randint(3, 30000, (batch, length))
        ids = host.to(self.arguments.device)
        start = time.time()
        run = self.runner(model, mean, ids, mode)
        run()
        self.synchronize()
        first = time.time() - start
        return {"batch": batch, "length": length, **self.median_ms(run), "end_to_end_ms": self.end_to_end(run, ids, lambda: host), "first_s": first}

    def text(self, model, mean, mode):
        """A query from its text on."""
        import transformers

        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER))
        new_ids = lambda: tokenizer(QUERY, return_tensors="pt").input_ids
        ids = new_ids().to(self.arguments.device)
        run = self.runner(model, mean, ids, mode)
        return {"batch": 1, "length": ids.shape[1], **self.median_ms(run), "end_to_end_ms": self.end_to_end(run, ids, new_ids)}

    def padded(self, model, mean):
        """As sentence-transformers does it: sorted by length, 32 at a time, padded to the longest, with a mask."""
        torch, device = self.torch, self.arguments.device
        lengths = ragged()
        parts = [lengths[first : first + 32] for first in range(0, 128, 32)]
        if self.arguments.tiny:
            parts = [part[:2] for part in parts[:2]]
        batches = []
        for part in parts:
            mask = torch.zeros(len(part), -(-part[0] // 8) * 8, dtype=torch.long, device=device)
            for row, length in enumerate(part):
                mask[row, :length] = 1
            batches.append((torch.randint(3, 30000, mask.shape, device=device), mask))
        more = {} if mean else {"use_cache": False}

        def run():
            for ids, mask in batches:
                model(input_ids=ids, attention_mask=mask, **more).last_hidden_state

        return {"texts": sum(map(len, parts)), "tokens": sum(map(sum, parts)), "padded": sum(m.numel() for _, m in batches), **self.median_ms(run)}

    def lora(self, model):
        """Low-rank additions to all linear layers, by PEFT where it is installed, else the same by hand."""
        torch = self.torch
        names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        try:
            import peft
        except ImportError:
            pass
        else:
            config = peft.LoraConfig(r=32, lora_alpha=64, lora_dropout=0.0, target_modules=names, task_type="FEATURE_EXTRACTION")
            return peft.get_peft_model(model, config), "peft " + peft.__version__

        class Lora(torch.nn.Module):
            def __init__(self, base):
                super().__init__()
                like = dict(device=base.weight.device, dtype=torch.float32)
                self.base, bound = base, base.in_features**-0.5
                self.a = torch.nn.Parameter(torch.empty(32, base.in_features, **like).uniform_(-bound, bound))
                self.b = torch.nn.Parameter(torch.zeros(base.out_features, 32, **like))

            def forward(self, x):
                return self.base(x) + 2 * torch.nn.functional.linear(torch.nn.functional.linear(x, self.a), self.b)

        for module in list(model.modules()):
            for name in names:
                if isinstance(getattr(module, name, None), torch.nn.Linear):
                    setattr(module, name, Lora(getattr(module, name)))
        return model, "plain torch, for peft is not installed"

    def train(self):
        """Steps as those of `bench gpu --train`: the same shape, rank, texts of equal lengths, loss and optimizer."""
        torch, device = self.torch, self.arguments.device
        groups, passages, passage, query = (2, 2, 16, 8) if self.arguments.tiny else (8, 8, 512, 32)
        model, lora = self.lora(self.model("full"))
        model.train()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.0)
        texts = [torch.randint(3, 30000, shape, device=device) for shape in ((groups, query), (groups * passages, passage))]
        target = torch.arange(groups, device=device) * passages

        def step():
            with torch.autocast(device, dtype=torch.bfloat16):
                last = [model(input_ids=ids, use_cache=False).last_hidden_state[:, -1] for ids in texts]
            queries, answers = (torch.nn.functional.normalize(x.float(), dim=-1) for x in last)
            loss = torch.nn.functional.cross_entropy(queries @ answers.T / 0.02, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            return loss.item()

        losses, times = [], []
        while len(times) < 3 and (len(times) < 2 or self.left() > 2 * times[-1] + 8):
            start = time.time()
            losses.append(step())
            self.synchronize()
            times.append(time.time() - start)
        seconds, tokens = statistics.median(times[1:]), sum(ids.numel() for ids in texts)
        return {
            "lora": lora, "steps": len(times) - 1, "tokens": tokens, "trained": sum(p.numel() for p in trained), "seconds": seconds,
            "tokens_per_second": tokens / seconds, "losses": [losses[0], losses[-1]],
            "used_gb": torch.cuda.max_memory_allocated() / 1e9 if self.cuda else None,
        }

    def run(self):
        try:
            import torch
        except ImportError as error:
            raise SystemExit(f"PyTorch is not here: {error}")
        self.torch = torch
        if self.cuda and not torch.cuda.is_available():
            raise SystemExit("no card: PyTorch finds no GPU")
        if self.arguments.only == "train":
            return self.attempt(self.arguments.seconds, {"what": "train theirs", "config": "full"}, self.train)
        with torch.inference_mode():
            if self.arguments.only == "ceilings":
                return self.attempt(30, {"what": "ceilings"}, self.ceilings)
            if self.arguments.only == "search":
                for queries in (1, 32, 256):
                    what = {"what": "their search", "rows": self.arguments.rows, "dim": self.arguments.dim, "queries": queries}
                    self.attempt(20, what, lambda: self.search(queries))
                return None
            # The first mode of all models comes before the second of any.
            for mode in self.arguments.modes.split(","):
                for name in self.arguments.configs.split(","):
                    what = {"what": "theirs", "config": name, "mode": mode}
                    if self.left() < 8:
                        self.say(**what, error="no time is left")
                        continue
                    try:
                        model = self.model(name)
                    except Exception as error:
                        self.say(**what, error=repr(error)[:300])
                        continue
                    self.of_mode(model, name, mode)
                    del model
                    if self.cuda:
                        torch.cuda.empty_cache()
        self.say(what="theirs", config="all", seconds=time.time() - self.begin)

    def compile(self, model, mean, mode):
        dynamo = self.torch._dynamo
        dynamo.reset()
        # Each shape is compiled for itself, for layers with an MLP and without: beyond its limit PyTorch would give up.
        for limit in ("recompile_limit", "cache_size_limit"):
            if hasattr(dynamo.config, limit):
                setattr(dynamo.config, limit, 64)
        if mode == "whole":
            model.compile(mode="reduce-overhead", dynamic=False)
        elif mode != "eager":
            for layer in model.encoder.layer if mean else model.layers:
                layer.compile(mode=None if mode in ("default", "captured") else mode, dynamic=False)

    def of_mode(self, model, name, mode):
        mean = name == "minilm"
        what = {"what": "theirs", "config": name, "mode": mode}
        self.compile(model, mean, mode)
        parts = {shape: lambda batch=batch, length=length: self.shape(model, mean, mode, batch, length) for shape, batch, length in SHAPES}
        parts["text1"] = lambda: self.text(model, mean, mode)
        parts["ragged"] = lambda: self.padded(model, mean)
        for shape in self.arguments.shapes.split(","):
            self.attempt(60, {**what, "shape": shape}, parts[shape])


if __name__ == "__main__":
    main()
