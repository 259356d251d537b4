"""Runs are compared, and encoders measured side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import secateur
from secateur import Database, Encoder

QRELS = {f"q{n}": {"good": 1} for n in range(8)}


def run(firsts: str) -> dict[str, dict[str, float]]:
    """A run that has the good document first where there is a 1."""
    return {f"q{n}": {"good": float(first), "bad": 0.5} for n, first in enumerate(firsts)}


def test_runs_are_compared_with_the_first(tmp_path: Path) -> None:
    found = secateur.compare(QRELS, {"before": run("00000001"), "after": run("11111100")}, ["MRR@10"])
    assert found.num_queries == 8 and found.means == {"before": {"MRR@10": 0.5625}, "after": {"MRR@10": 0.875}}
    difference = found.against_first["after"].by_measure["MRR@10"]
    assert (difference.mean, difference.wins, difference.ties, difference.losses) == (0.3125, 6, 1, 1)
    # Of the 2^7 ways to swap the seven that differ, 16 are as far from 0: exact, as scipy.stats.permutation_test has it.
    assert difference.randomization == difference.randomization_holm == pytest.approx(16 / 128)
    # scipy.stats.ttest_rel of the two columns.
    assert difference.t_test == pytest.approx(0.0491737, abs=1e-7)
    (first, *others) = found.against_first["after"].moved
    assert len(others) == 4 and first.query_id == "q0" and first.values == (0.5, 1.0) and first.text is None
    assert [answer.doc_id for answer in first.answers[0]] == ["bad", "good"]
    assert first.answers[1][0].relevance == 1 and "7 queries" not in str(found) and "8 queries" in str(found)
    # Files, by their names.
    for name, firsts in (("a.run", "00000001"), ("b.run", "11111100")):
        secateur.datasets.write_run(tmp_path / name, run(firsts))
    secateur.datasets.write_qrels(tmp_path / "qrels", QRELS)
    files = secateur.compare(tmp_path / "qrels", [tmp_path / "a.run", tmp_path / "b.run"], ["MRR@10"])
    assert files.against_first["b.run"].by_measure["MRR@10"] == difference


def test_three_runs_are_adjusted_and_texts_shown(mini: secateur.BeirFolder, tmp_path: Path, encoder: Encoder) -> None:
    db = Database.build(tmp_path / "mini.db", mini.path, encoder=encoder)
    runs = {mode: db.run(mini.queries("test"), mode=mode) for mode in ("bm25", "dense", "hybrid")}
    found = secateur.compare(mini, runs, moved=1, answers=2)
    assert list(found.means) == ["bm25", "dense", "hybrid"] and list(found.against_first) == ["dense", "hybrid"]
    for mode, means in found.means.items():
        assert means == pytest.approx(secateur.evaluate(mini, runs[mode]).means)
    for against in found.against_first.values():
        for difference in against.by_measure.values():
            assert difference.randomization <= difference.randomization_holm <= 1
        (moved,) = against.moved
        assert moved.text == mini.queries()[moved.query_id] and len(moved.answers[0]) == 2
        assert moved.answers[0][0].title
    assert secateur.compare(mini.path, runs, moved=1, answers=2) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": {"one": run("1")}}, "two runs or more"),
        ({"runs": "a.run"}, "runs is one path, 'a.run'"),
        ({"runs": [run("1"), run("0")]}, "give a mapping of names and runs"),
        ({"runs": {"a": run("1"), "b": {"q": [("d", 1)]}}}, "run is .*expected a file"),
        ({"permutations": 0}, "permutations is 0"),
        ({"measures": ["nDGC"]}, "measures: .*nDGC"),
        ({"rules": "mtbe"}, "rules: .*mtbe"),
        ({"split": "test"}, "split='test' chooses"),
        ({"runs": {"a": run("1"), "b": {"other": {"d": 1.0}}}}, "none of the judged queries"),
    ],
)
def test_wrong_comparisons_are_named(arguments: dict[str, Any], message: str) -> None:
    given = {"qrels": QRELS, "runs": {"a": run("10"), "b": run("01")}, **arguments}
    with pytest.raises((secateur.UsageError, secateur.InputError), match=message):
        secateur.compare(**given)


QUICK: dict[str, Any] = {"repetitions": 1, "timed_queries": 4, "warm_up": 1, "concurrency": 2, "rate": 200.0}


def test_a_bench_measures_every_combination(mini: secateur.BeirFolder, tmp_path: Path) -> None:
    told: list[secateur.Progress] = []
    encoders = {"whole": "default", "short": Encoder("default", truncate_dim=64)}
    options = {"encoders": encoders, "indexes": ["flat"], "modes": ["dense", "bm25"], **QUICK}
    report = secateur.bench(mini, tmp_path / "out", progress=told.append, **options)
    systems = {(cell["key"]["encoder"], cell["key"]["mode"]) for cell in report.cells}
    assert systems == {("whole", "dense"), ("short", "dense"), (None, "bm25")}
    assert [one["dim"] for one in report.results["encoders"]] == [384, 64]
    measured = [one.done for one in told if one.what == "measuring"]
    assert measured == [1, 2, 3] and told[-1].total == 3 and any(one.what == "encoding" for one in told)
    for name in ("results.json", "report.html", "report.md", "queries.tsv", "ann.csv"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == report.results
    assert report.recommendation and "bm25" in str(report) and report.breaches == []
    # Its numbers are those of a database and of evaluate.
    db = Database.build(tmp_path / "mini.db", mini.path, encoder="default")
    own = secateur.evaluate(mini, db.run(mini.queries("test"), 100, mode="dense"), ["nDCG@10"], rules="mteb")
    (dense,) = (cell for cell in report.cells if cell["key"]["encoder"] == "whole")
    assert dense["quality"]["means"]["nDCG@10"]["mean"] == pytest.approx(own["nDCG@10"], abs=1e-9)
    # The same call measures nothing again; a worse baseline is no breach, a better one is.
    told.clear()
    again = secateur.bench(mini, tmp_path / "out", progress=told.append, **options)
    p50 = [[cell["closed"][0]["latency"]["p50"] for cell in one.cells] for one in (again, report)]
    assert p50[0] == pytest.approx(p50[1], rel=1e-12) and not any(one.what == "encoding" for one in told)
    better = json.loads((tmp_path / "out" / "results.json").read_text())
    for cell in better["cells"]:
        cell["quality"]["means"]["nDCG@10"]["mean"] += 0.1
    (tmp_path / "better.json").write_text(json.dumps(better))
    gated = secateur.bench(mini, tmp_path / "out", baseline=tmp_path / "better.json", max_ndcg_drop=0.05, **options)
    assert len(gated.breaches) == 3 and "nDCG@10 fell" in gated.breaches[0]


def test_a_bench_can_be_stopped_and_goes_on(mini: secateur.BeirFolder, tmp_path: Path) -> None:
    def stop(progress: secateur.Progress) -> None:
        if progress.what == "measuring":
            raise KeyboardInterrupt

    options = {"encoders": "default", "indexes": ["flat"], "modes": ["dense", "bm25"], **QUICK}
    with pytest.raises(KeyboardInterrupt):
        secateur.bench(mini, tmp_path / "out", progress=stop, **options)
    assert not (tmp_path / "out" / "results.json").exists()
    assert len(secateur.bench(mini, tmp_path / "out", **options).cells) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"datasets": []}, secateur.SecateurError, "name at least one"),
        ({"datasets": "absent"}, secateur.InputError, "absent"),
        ({"encoders": ["default", "default"], "indexes": ["flat"]}, secateur.UsageError, "two are called"),
        ({"modes": ["sparse"]}, secateur.UsageError, "modes: .*sparse"),
        ({"modes": "bm25"}, secateur.UsageError, "modes is one text"),
        ({"indexes": ["tree"]}, secateur.UsageError, "indexes: .*tree"),
        ({"modes": ["dense"]}, secateur.UsageError, "encoders: dense and hybrid"),
        ({"repetitions": 0}, secateur.UsageError, "repetitions: expected at least 1"),
        ({"k": 1000}, secateur.UsageError, "k: expected at most 100"),
        ({"baseline": "absent"}, secateur.SecateurError, "absent"),
        ({"max_ndcg_drop": 0.1}, secateur.UsageError, "baseline"),
        ({"device": "gpu"}, secateur.UsageError, "device: "),
        ({"encoders": "no/such/place"}, secateur.InputError, "no model directory"),
    ],
)
def test_wrong_benches_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str, mini: secateur.BeirFolder, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        secateur.bench(**{"datasets": mini, "out": tmp_path / "out", **QUICK, **arguments})
