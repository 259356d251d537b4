"""Texts become vectors: sentence-transformers' way of calling, without PyTorch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import _native, arguments
from .errors import UsageError
from .hub import locate
from .progress import ProgressCallback, native, show
from .vectors import matrix, quantized, similarity, similarity_pairwise, unit

__all__ = ["Encoder"]

Floats = NDArray[np.float32]
Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]


class Encoder:
    """A model that maps texts to vectors.

    >>> encoder = Encoder("default")
    >>> encoder.encode(["Roses are pruned in winter.", "Bread rises."]).shape
    (2, 384)
    >>> query = encoder.encode_query("when to cut rose bushes")
    >>> documents = encoder.encode_document(["Bread rises overnight.", "Prune roses in late winter."])
    >>> int(encoder.similarity(query, documents).argmax())
    1

    Several threads may use one encoder. On a CPU a text's vector does not depend on the other texts, bit for bit.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "default",
        *,
        name: str | None = None,
        device: str | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        pooling: str | None = None,
        precision: Literal["f32", "bf16", "int8"] | None = None,
        quantize: Literal["nf4"] | None = None,
        base: str | os.PathLike[str] | None = None,
        batch_tokens: int | None = None,
        ignore_settings: Iterable[str] = (),
        strict: bool = False,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        """Loads a model directory, a model of the hub, or the encoder in the box (``default``).

        :param device: ``cpu`` unless given, ``cuda:0``, or ``auto`` for a GPU if there is one.
        :param prompts: what is put before texts, by name. ``query`` and ``document`` replace the model's own.
        :param default_prompt_name: the prompt of `encode` where none is named.
        :param max_length: texts are cut to this many tokens.
        :param truncate_dim: vectors are cut to this many numbers, and then scaled if the model scales.
        :param pooling: how the vectors of tokens become one: ``mean``, ``cls``, ``last-token``, ...
        :param precision: how linear layers are multiplied. Vectors of different precisions do not mix.
        :param quantize: how linear layers are held in memory.
        :param base: the model that an adapter is merged into.
        :param batch_tokens: how many tokens are computed together; it changes no vector.
        :param ignore_settings: settings of the model's files that are read as if they were not there.
        :param strict: refuse a model whose files leave open what is assumed otherwise; `notices` has it.
        :param cache: a folder in which fingerprints of models are remembered.
        """
        directory = locate(model)
        given = _prompts(prompts)
        if isinstance(ignore_settings, str):
            raise UsageError(f"ignore_settings is one text, {ignore_settings!r:.40}: give a list")
        options: dict[str, Any] = {
            "name": name,
            "device": device,
            "query_prompt": given.get("query"),
            "passage_prompt": given.get("document", given.get("passage")),
            "max_length": max_length,
            "truncate_dim": truncate_dim,
            "pooling": pooling,
            "precision": precision,
            "quantize": quantize,
            "base": None if base is None else locate(base),
            "batch_tokens": batch_tokens,
            "ignore_settings": arguments.texts("ignore_settings", ignore_settings, "setting"),
            "strict": strict,
            "cache": None if cache is None else os.fspath(cache),
        }
        arguments.of_kinds(_KINDS, options)
        if batch_tokens is not None:
            arguments.whole("batch_tokens", batch_tokens, 1)
        self._set(_native.Encoder(directory, options), given, default_prompt_name)

    def _set(self, encoder: _native.Encoder, prompts: Mapping[str, str], default: str | None) -> None:
        self._native = encoder
        self._settings = encoder.settings
        stated = _stated(encoder.directory)
        own = {"query": self._settings["query_prompt"], "document": self._settings["passage_prompt"]}
        self.prompts: dict[str, str] = {**(stated.get("prompts") or {}), **prompts, **own}
        """What is put before texts, by name."""
        self.default_prompt_name: str | None = default or stated.get("default_prompt_name")
        """The prompt of `encode` where none is named; none unless given."""
        if self.default_prompt_name is not None:
            self._prompt(self.default_prompt_name)

    @classmethod
    def _of(cls, encoder: _native.Encoder) -> Encoder:
        self = cls.__new__(cls)
        self._set(encoder, {}, None)
        return self

    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Any:
        """Encodes texts as they are, or with a prompt: B texts -> (B, D), and one text -> (D).

        :param prompt_name: the name of a prompt in `prompts`.
        :param prompt: what is put before each text; it goes before `prompt_name`.
        :param batch_size: accepted and not needed: batches are formed by tokens, see ``batch_tokens``.
        :param show_progress_bar: print how far it is on standard error.
        :param precision: what vectors are rounded to: signed or unsigned bytes, or bits, eight in a byte.
        :param convert_to_numpy: false for a list of arrays.
        :param convert_to_tensor: give a tensor of PyTorch, which must be installed.
        :param normalize_embeddings: scale vectors to length 1, whatever the model does.
        :param truncate_dim: cut vectors to this many numbers; then they are scaled if the model scales.
        :param progress: is called with how far it is.

        >>> Encoder("default").encode("Bees dance.", precision="ubinary").shape
        (48,)
        """
        if prompt is None:
            name = prompt_name if prompt_name is not None else self.default_prompt_name
            prompt = "" if name is None else self._prompt(name)
        del batch_size
        return self._encoded(
            sentences,
            "document",
            prompt,
            show_progress_bar=show_progress_bar,
            precision=precision,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            progress=progress,
        )

    def encode_query(self, sentences: str | Iterable[str], **options: Any) -> Any:
        """Encodes queries: with the model's prompt for queries. The options are those of `encode`.

        >>> Encoder("default").encode_query("pruning roses").shape
        (384,)
        """
        return self._of_kind(sentences, "query", options)

    def encode_document(self, sentences: str | Iterable[str], **options: Any) -> Any:
        """Encodes documents: with the model's prompt for documents. The options are those of `encode`.

        >>> Encoder("default").encode_document(["Roses are pruned in winter."]).shape
        (1, 384)
        """
        return self._of_kind(sentences, "document", options)

    def _of_kind(self, sentences: str | Iterable[str], kind: str, options: dict[str, Any]) -> Any:
        prompt = options.pop("prompt", None)
        name = options.pop("prompt_name", None)
        options.pop("batch_size", None)
        if prompt is None and name is not None:
            prompt = self._prompt(name)
        return self._encoded(sentences, kind, prompt, **options)

    def _encoded(
        self,
        sentences: str | Iterable[str],
        kind: str,
        prompt: str | None,
        *,
        show_progress_bar: bool | None = None,
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Any:
        single = isinstance(sentences, str)
        texts = arguments.texts("sentences", [sentences] if isinstance(sentences, str) else sentences)
        if prompt is not None:
            arguments.text("prompt", prompt)
        if truncate_dim is not None:
            arguments.whole("truncate_dim", truncate_dim, 1)
        if progress is None and show_progress_bar:
            progress = show
        vectors: Any = self._native.encode(texts, kind, prompt, native(progress))
        if truncate_dim is not None:
            if truncate_dim > self.dim:
                raise UsageError(f"truncate_dim is {truncate_dim}: the vectors have {self.dim} numbers")
            vectors = vectors[:, :truncate_dim]
            if self._settings["normalize"]:
                vectors = unit(vectors)
        if normalize_embeddings:
            vectors = unit(vectors)
        vectors = quantized(vectors, precision)
        if convert_to_tensor:
            try:
                import torch
            except ImportError as error:
                raise UsageError("convert_to_tensor takes PyTorch, which is not here: pip install torch") from error
            tensor = torch.from_numpy(np.ascontiguousarray(vectors))
            return tensor[0] if single else tensor
        if single:
            return vectors[0]
        return vectors if convert_to_numpy else list(vectors)

    def _prompt(self, name: str) -> str:
        try:
            return self.prompts[name]
        except KeyError:
            known = ", ".join(sorted(self.prompts))
            raise UsageError(f"there is no prompt {name!r}; the model has {known}") from None

    def similarity(self, a: Any, b: Any) -> Floats:
        """How alike vectors are, as the model's authors compare them: (A, D), (B, D) -> (A, B). Higher is more alike.

        >>> encoder = Encoder("default")
        >>> vectors = encoder.encode(["Bees dance.", "Bread rises."])
        >>> bool((encoder.similarity(vectors, vectors).diagonal() > 0.999).all())
        True
        """
        return similarity(self.similarity_fn_name, matrix(a), matrix(b))

    def similarity_pairwise(self, a: Any, b: Any) -> Floats:
        """How alike the vectors of each pair are: (B, D), (B, D) -> (B)."""
        return similarity_pairwise(self.similarity_fn_name, matrix(a), matrix(b))

    @property
    def similarity_fn_name(self) -> str:
        """``cosine``, ``dot``, ``euclidean`` or ``manhattan``; ``cosine`` where the model does not say."""
        return self._settings["similarity"] or "cosine"

    def tokenize(self, texts: Iterable[str], kind: Literal["query", "document"] = "document") -> list[list[int]]:
        """The token ids of each text, with those of the prompt and of special tokens."""
        if kind not in ("query", "document"):
            raise UsageError(f"kind: {kind!r:.40} is none of query, document")
        return self._native.tokenize(arguments.texts("texts", texts), kind)

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""
        return self._native.dim

    def get_embedding_dimension(self) -> int:
        """How many numbers a vector has, as sentence-transformers asks for it."""
        return self.dim

    get_sentence_embedding_dimension = get_embedding_dimension

    @property
    def name(self) -> str:
        """What the encoder is called."""
        return self._native.name

    @property
    def directory(self) -> Path:
        """Where it was loaded from."""
        return Path(self._native.directory)

    @property
    def max_seq_length(self) -> int:
        """How many tokens of a text count."""
        return self._native.max_length

    @property
    def device(self) -> str:
        """What computes, and why, if ``auto`` found no GPU."""
        return self._native.computes_on

    @property
    def fingerprint(self) -> str:
        """What makes it the encoder it is: 64 hexadecimal digits. Only vectors of one fingerprint are comparable."""
        return self._native.fingerprint

    @property
    def num_cut_texts(self) -> int:
        """How many texts so far were longer than `max_seq_length`."""
        return self._native.num_cut_texts

    @property
    def notices(self) -> list[str]:
        """What is assumed where the model's files say nothing."""
        return self._native.notices

    @property
    def settings(self) -> dict[str, Any]:
        """How texts are encoded: pooling, prompts, lengths, scaling."""
        return dict(self._settings)

    def __repr__(self) -> str:
        return f"<secateur.Encoder {self.name!r}, {self.dim} dimensions, {self.device}>"


_KINDS = {
    **dict.fromkeys(("name", "device", "pooling", "precision", "quantize"), "str"),
    **dict.fromkeys(("query_prompt", "passage_prompt"), "str"),
    **dict.fromkeys(("max_length", "truncate_dim", "batch_tokens"), "int"),
    "strict": "bool",
}


def _prompts(given: Any) -> dict[str, str]:
    """The prompts by their names."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UsageError(f"prompts is {given!r:.40}: expected a mapping of names and prompts")
    return {arguments.text("a prompt's name", name): arguments.text(f"prompt {name}", text) for name, text in given.items()}


def _stated(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """What sentence-transformers' file says of prompts that are neither for queries nor for documents."""
    try:
        with open(os.path.join(directory, "config_sentence_transformers.json"), encoding="utf-8") as file:
            stated = json.load(file)
    except (OSError, ValueError):
        return {}
    return stated if isinstance(stated, dict) else {}
