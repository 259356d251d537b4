#!/usr/bin/env python3
"""The table of results as `check.sh` writes them: python3 scripts/gpu/table_test.py"""
import json
import tempfile
import unittest

import table


def ours(shape, ms, **more):
    return {"what": "ours", "config": "mistral-7b", "drop_mlp": 0, "drop_attention": 0, "width": 1.0, "shape": shape, "device_ms": ms, "end_to_end_ms": ms + 1, "tflops": 480.0, **more}


def theirs(shape, ms, mode, config="full"):
    return {"what": "theirs", "config": config, "mode": mode, "shape": shape, "ms": ms, "end_to_end_ms": ms + 4}


EFFIR = {"drop_mlp": 16, "width": 0.7}
SAMPLE = [
    {"what": "card", "name": "a card"},
    {"what": "probe", "model": "bert 32", "cosine": 0.9996, "alone": 1.0, "passes": True},
    {"what": "probe", "model": "mistral 64", "cosine": 0.9992, "alone": 1.0, "passes": True},
    {"what": "our ceilings", "tflops": 600.0, "int8_tops": 1200.0, "copy_gb_s": 4000.0, "read_gb_s": 4100.0},
    ours("query1", 4.0),
    ours("query1", 2.0, **EFFIR),
    ours("query32", 6.0),
    ours("query32", 3.2, **EFFIR),
    ours("text1", 4.0),
    ours("ragged", 100.0),
    ours("doc512", 300.0),
    ours("doc130", 4.0, config="minilm"),
    {"what": "ours", "config": "minilm", "drop_mlp": 0, "width": 1.0, "shape": "doc512", "error": "no memory"},
    theirs("text1", 5.0, "default"),
    theirs("text1", 4.4, "captured"),
    theirs("ragged", 110.0, "default"),
    theirs("doc130", 8.0, "default", "minilm"),
    {"what": "ceilings", "error": "its seconds are over"},
    {"what": "train ours", "tokens_per_second": 9000.0, "seconds": 3.6, "used_gb": [0.5, 15.0, 50.0], "losses": [2.0, 1.0]},
    {"what": "train theirs", "tokens_per_second": 6000.0, "seconds": 5.4, "used_gb": 60.0, "losses": [2.0, 1.5]},
    {"what": "our search", "rows": 1000, "dim": 8, "queries": 1, "gpu_ms": 2.0, "compared_rows": 20, "cpu_ms": 3.0, "identical": False},
    {"what": "their search", "queries": 1, "ms": 5.0},
    {"what": "sanitizer", "skipped": "compute-sanitizer is not here"},
]


class Table(unittest.TestCase):
    def setUp(self):
        self.lines = list(table.lines(SAMPLE))

    def line(self, *parts):
        found = [line for line in self.lines if all(part in line for part in parts)]
        self.assertEqual(len(found), 1, (parts, self.lines))
        return found[0]

    def test_both_sides_stand_beside_each_other(self):
        # The device's time against their best mode, and end to end: 4.4 / 4 and 8.4 / 5.
        self.assertEqual(self.line("full     text1").split(), "full text1 4.000 480.0 80.0% 4.400 1.10 1.00 5.000 8.400 1.68".split())
        self.assertIn("2.00", self.line("effir    query1"))
        self.assertIn("OTHER HITS", self.line("search 1000 x 8"))
        self.assertIn("ratio 2.50", self.line("search 1000 x 8"))

    def test_goals_are_judged(self):
        self.assertIn("2.00, at least 1.97: reached", self.line("EffiR", "query1"))
        self.assertIn("1.88, at least 1.97: MISSED", self.line("EffiR", "query32"))
        self.assertIn("-, at least 1.82: not measured", self.line("EffiR", "doc130"))
        self.assertIn("1.10, at least 1.20: MISSED", self.line("goal: full", "ragged"))
        self.assertIn("1.68, at least 1.40: reached; the device's time 1.10", self.line("goal: full", "from text"))
        # PyTorch's rate failed, so that of ours is taken.
        self.assertIn("80%, at least 60%: reached", self.line("matrix rate"))
        self.assertIn("35.0 GB, at most 40.0: reached; tokens/s against PEFT 1.50", self.line("LoRA"))
        self.assertIn("2 models: 0.9992, at least 0.9990: reached", self.line("cosine"))
        self.assertIn("32000 documents/s, Transformers 16000, ratio 2.00", self.line("MiniLM, doc130"))

    def test_what_went_wrong_is_told(self):
        self.line("error: ours minilm doc512: no memory")
        self.line("error: ceilings: its seconds are over")
        self.line("skipped: sanitizer")

    def test_nothing_measured_is_a_table_as_well(self):
        self.assertIn("goal: LoRA beside its weights: - GB, at most 40.0: not measured", "\n".join(table.lines([])))

    def test_lines_that_were_cut_are_left_out(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write(json.dumps(SAMPLE[0]) + "\n[1]\nnot JSON\n" + '{"what": "probe", "cos')
            file.flush()
            self.assertEqual(table.read(file.name), SAMPLE[:1])


if __name__ == "__main__":
    unittest.main()
