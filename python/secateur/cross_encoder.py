"""A query and a document become a score: sentence-transformers' way of calling, without PyTorch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native, arguments
from .errors import UsageError
from .hub import locate
from .progress import ProgressCallback, native

__all__ = ["CrossEncoder"]

Floats = NDArray[np.float32]


def _sigmoid(logits: Floats) -> Floats:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _identity(logits: Floats) -> Floats:
    return logits


class CrossEncoder:
    """A model that reads a query and a document together and says how well they match."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        name: str | None = None,
        device: str | None = None,
        max_length: int | None = None,
        base: str | os.PathLike[str] | None = None,
        batch_tokens: int | None = None,
        activation_fn: Callable[[Floats], Floats] | None = None,
    ) -> None:
        """Loads a model directory or a model of the hub: BERT, XLM-RoBERTa or ModernBERT with one label.

        :param activation_fn: what becomes of logits in `predict`. Unless given it is what the model's files name for
            sentence-transformers, or the sigmoid.
        """
        arguments.of_kinds(
            {"name": "str", "device": "str", "max_length": "int", "batch_tokens": "int"},
            {"name": name, "device": device, "max_length": max_length, "batch_tokens": batch_tokens},
        )
        options = {
            "name": name,
            "device": device,
            "max_length": max_length,
            "base": None if base is None else locate(base),
            "batch_tokens": batch_tokens,
        }
        self._native = _native.CrossEncoder(locate(model), options)
        self.activation_fn = activation_fn or _stated_activation(self._native.directory)
        """What becomes of logits in `predict`."""

    def score(self, pairs: Iterable[tuple[str, str]], *, progress: ProgressCallback | None = None) -> Floats:
        """The logit of each pair of a query and a document: (B) -> (B), higher is better."""
        return self._native.score([_pair(number, pair) for number, pair in enumerate(_listed(pairs))], native(progress))

    def predict(
        self,
        sentences: tuple[str, str] | Iterable[tuple[str, str]],
        batch_size: int | None = None,
        *,
        activation_fn: Callable[[Floats], Floats] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Any:
        """The score of each pair, through the activation: (B) -> (B), and one pair -> a number.

        :param batch_size: accepted and not needed: batches are formed by tokens.
        """
        del batch_size
        pairs = _listed(sentences)
        single = len(pairs) == 2 and all(isinstance(text, str) for text in pairs)
        logits = self.score([pairs] if single else pairs, progress=progress)  # type: ignore[list-item]
        scores = (activation_fn or self.activation_fn)(logits)
        return float(scores[0]) if single else scores

    def rank(
        self, query: str, documents: Iterable[str], top_k: int | None = None, *, return_documents: bool = False
    ) -> list[dict[str, Any]]:
        """Documents, best first: ``corpus_id`` is the place in the list, ``score`` what `predict` gives."""
        texts = arguments.texts("documents", documents, "document")
        if top_k is not None:
            arguments.whole("top_k", top_k)
        scores = self.predict([(query, document) for document in texts])
        ranked = []
        for place in np.argsort(-scores, kind="stable")[:top_k]:
            hit: dict[str, Any] = {"corpus_id": int(place), "score": float(scores[place])}
            if return_documents:
                hit["text"] = texts[place]
            ranked.append(hit)
        return ranked

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._native.name

    @property
    def directory(self) -> Path:
        """Where it was loaded from."""
        return Path(self._native.directory)

    @property
    def max_length(self) -> int:
        """How many tokens of a pair count."""
        return self._native.max_length

    @property
    def fingerprint(self) -> str:
        """What makes it the model it is."""
        return self._native.fingerprint

    def __repr__(self) -> str:
        return f"<secateur.CrossEncoder {self.name!r}>"


def _listed(pairs: Any) -> list[Any]:
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise UsageError(f"pairs are {pairs!r:.40}: expected pairs of a query and a document")
    return list(pairs)


def _pair(number: int, pair: Any) -> tuple[str, str]:
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        raise UsageError(f"pair {number} is {pair!r:.40}: expected a query and a document")
    query, document = pair
    return arguments.text(f"the query of pair {number}", query), arguments.text(f"the document of pair {number}", document)


def _stated_activation(directory: str | os.PathLike[str]) -> Callable[[Floats], Floats]:
    """The activation that config.json names for sentence-transformers."""
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    stated = (config.get("sentence_transformers") or {}).get("activation_fn") or config.get(
        "sbert_ce_default_activation_function"
    )
    return _identity if stated is not None and str(stated).endswith("Identity") else _sigmoid
