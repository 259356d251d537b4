"""Training and recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import models
import secateur


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few layers, with random weights."""
    return models.llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    path = tmp_path / "examples.jsonl"
    texts = ["bees dance", "bread rises", "roses are pruned", "pears ripen"]
    lines = [{"query": text, "pos": [f"{text} in spring"], "neg": [f"{text} never"]} for text in texts]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_training_makes_a_model(tiny: Path, examples: Path, tmp_path: Path) -> None:
    told: list[secateur.Progress] = []
    options: dict[str, Any] = {"full": True, "steps": 3, "batch_size": 2}
    report = secateur.train(tiny, examples, tmp_path / "run", progress=told.append, **options)
    assert report.num_steps == 3 and report.loss is not None and report.model == tmp_path / "run" / "model"
    assert [one.done for one in told if one.loss is not None] == [1, 2, 3]
    assert secateur.Encoder(report.model).fingerprint != secateur.Encoder(tiny).fingerprint
    with pytest.raises(secateur.SecateurError, match="model"):
        secateur.train(tiny, examples, tmp_path / "run", **options)


def test_an_interrupted_training_goes_on_to_the_same_weights(tiny: Path, examples: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"full": True, "steps": 6, "batch_size": 2, "save_every": 2}
    whole = secateur.train(tiny, examples, tmp_path / "whole", **options)

    def stop(progress: secateur.Progress) -> None:
        if progress.loss is not None and progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        secateur.train(tiny, examples, tmp_path / "parts", progress=stop, **options)
    assert not (tmp_path / "parts" / "model").exists()
    parts = secateur.train(tiny, examples, tmp_path / "parts", **options)
    assert secateur.Encoder(parts.model).fingerprint == secateur.Encoder(whole.model).fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [({"learnign_rate": 1}, "learnign-rate; its keys are"), ({"steps": "two"}, "steps is"), ({"full": True, "rank": 4}, "rank")],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str, tiny: Path, examples: Path, tmp_path: Path) -> None:
    with pytest.raises(secateur.UsageError, match=message):
        secateur.train(tiny, examples, tmp_path / "run", **options)


def test_a_recipe_makes_a_smaller_model(tiny: Path, mini: secateur.BeirFolder, tmp_path: Path) -> None:
    recipe = {
        "model": tiny,
        "score": {"calibration": mini.path},
        "drop": {"mlp": 1},
        "evaluate": {"datasets": [mini.path], "baseline": True},
    }
    told: list[secateur.Progress] = []
    report = secateur.effir(recipe, tmp_path / "out", progress=told.append)
    before, after = report.measured
    assert after["parameters"] < before["parameters"] and after["results"][0]["num_queries"] == 12
    assert {one.stage for one in told} >= {"score", "evaluate"}
    assert "parameters" in str(report) and (tmp_path / "out" / "report.md").exists()
    assert secateur.inspect(tmp_path / "out" / "model")["total_parameters"] < secateur.inspect(tiny)["total_parameters"]
    with pytest.raises(secateur.UsageError, match="another recipe"):
        secateur.effir({**recipe, "drop": {"mlp": 2}}, tmp_path / "out")
    with pytest.raises(secateur.SecateurError, match="absent.toml"):
        secateur.effir(tmp_path / "absent.toml", tmp_path / "new")
