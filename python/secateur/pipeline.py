"""Encoders are pruned and trained: EffiR's pipeline, or training alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _native
from .documents import to_json
from .errors import UsageError
from .hub import locate
from .progress import ProgressCallback, native

__all__ = ["EffirReport", "TrainReport", "effir", "inspect", "train"]

_Path = str | os.PathLike[str]


@dataclass(frozen=True)
class TrainReport:
    """What has come of a training."""

    model: Path
    """The trained model, or the adapter."""
    num_trained: int
    """Numbers that were trained."""
    num_steps: int
    """Steps of the whole run."""
    loss: float | None
    """That of the last step, if any was taken."""
    best_step: int | None
    """The step with the best mean nDCG@10 over the dev data sets."""
    best_ndcg_at_10: float | None
    """That nDCG@10."""
    without_gradient: int
    """Steps that learned nothing."""
    notices: list[str]
    """What the model's files do not say, and what was assumed."""


@dataclass(frozen=True)
class EffirReport:
    """The models of a recipe and what they are worth. Printed, it is the file report.md."""

    model: str
    """What the recipe calls the model it began with."""
    measured: list[dict[str, Any]]
    """Each model: name, parameters, without_embeddings, results by data set. The last is what has come of it."""
    text: str

    def __str__(self) -> str:
        return self.text


def effir(
    recipe: _Path | Mapping[str, Any], out: _Path, *, progress: ProgressCallback | None = None
) -> EffirReport:
    """Scores, drops, slims, trains and measures an encoder, as a recipe says.

    :param recipe: a file of TOML or JSON, or a mapping with the same keys: see the guide.
    :param out: the folder of what comes of it. Stages that are done are not done again.

    Ctrl-C stops it; the same call continues from the last checkpoint.
    """
    if isinstance(recipe, Mapping):
        text = to_json(recipe)
        model = recipe.get("model")
        directory = locate(model) if isinstance(model, str | os.PathLike) else None
        return EffirReport(**_native.effir(None, text, directory, os.fspath(out), native(progress)))
    return EffirReport(**_native.effir(os.fspath(recipe), None, None, os.fspath(out), native(progress)))


def train(
    model: _Path,
    data: _Path | Iterable[_Path],
    out: _Path,
    *,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> TrainReport:
    """Trains an encoder to retrieve: InfoNCE, and a teacher's scores where there are any.

    :param data: files of examples in FlagEmbedding's or Tevatron's format.
    :param out: the run's folder. It gets ``model/``, a log and checkpoints.
    :param options: those of ``secateur train``, with underscores: ``full=True``, ``steps=600``, ``teacher=...``.

    Ctrl-C stops it; the same call continues from the last checkpoint and ends with the same weights.
    """
    files = [data] if isinstance(data, str | os.PathLike) else list(data)
    if not files:
        raise UsageError("there is no training data: name at least one file")
    options["data"] = [os.fspath(file) for file in files]
    recipe = {"model": os.fspath(model), "train": {key.replace("_", "-"): value for key, value in options.items()}}
    found = _native.train(locate(model), to_json(recipe), os.fspath(out), native(progress))
    return TrainReport(**{**found, "model": Path(found["model"])})


def inspect(model: _Path) -> dict[str, Any]:
    """What a model is, without loading its weights: layers, parameters, operations, bytes, settings."""
    found: dict[str, Any] = _native.inspect(locate(model))
    return found
