"""Encoders and cross-encoders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur import CrossEncoder, Encoder

import models
from models import DEFAULT


def test_shapes_and_kinds(encoder: Encoder) -> None:
    assert encoder.encode("one").shape == (384,)
    vectors = encoder.encode(iter(["one", "two"]))
    assert vectors.shape == (2, 384) and vectors.dtype == np.float32
    assert encoder.encode([]).shape == (0, 384)
    np.testing.assert_array_equal(encoder.encode(["one"])[0], vectors[0])
    assert isinstance(encoder.encode(["a", "b"], convert_to_numpy=False), list)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert encoder.get_sentence_embedding_dimension() == encoder.dim == 384
    assert encoder.similarity_fn_name == "cosine" and len(encoder.fingerprint) == 64


def test_prompts_stand_before_texts() -> None:
    encoder = Encoder("default", prompts={"query": "query: ", "document": "passage: ", "title": "title: "})
    plain = Encoder("default")
    text = "Bees dance."
    for prompted, prompt in [
        (encoder.encode_query(text), "query: "),
        (encoder.encode_document(text), "passage: "),
        (encoder.encode(text, prompt_name="title"), "title: "),
        (encoder.encode(text, prompt="other: "), "other: "),
        (encoder.encode_query(text, prompt_name="title"), "title: "),
        (encoder.encode(text), ""),
    ]:
        np.testing.assert_array_equal(prompted, plain.encode(prompt + text))
    with pytest.raises(secateur.UsageError, match="no prompt 'absent'; the model has document, query, title"):
        encoder.encode(text, prompt_name="absent")
    by_default = Encoder("default", prompts={"title": "title: "}, default_prompt_name="title")
    np.testing.assert_array_equal(by_default.encode(text), plain.encode("title: " + text))


def test_dimensions_are_cut() -> None:
    whole, cut = Encoder("default"), Encoder("default", truncate_dim=128)
    vectors = whole.encode(["Bees dance."], truncate_dim=128)
    np.testing.assert_allclose(vectors, cut.encode(["Bees dance."]), rtol=1e-5, atol=1e-7)
    with pytest.raises(secateur.UsageError, match="truncate_dim is 999"):
        whole.encode("x", truncate_dim=999)


def test_precisions(encoder: Encoder) -> None:
    texts = ["Bees dance.", "Bread rises.", "Roses are pruned."]
    vectors = encoder.encode(texts)
    bits = encoder.encode(texts, precision="ubinary")
    assert bits.dtype == np.uint8 and bits.shape == (3, 48)
    np.testing.assert_array_equal(np.unpackbits(bits, axis=-1), vectors > 0)
    np.testing.assert_array_equal(encoder.encode(texts, precision="binary"), (bits.astype(int) - 128).astype(np.int8))
    assert encoder.encode(texts, precision="int8").dtype == np.int8
    with pytest.raises(secateur.UsageError, match="precision: 'int4'"):
        encoder.encode(texts, precision="int4")


def test_wrong_texts_and_models_are_named(tmp_path: Path) -> None:
    encoder = Encoder("default")
    with pytest.raises(secateur.UsageError, match="text 1 is 7: expected a string"):
        encoder.encode(["a", 7])  # type: ignore[list-item]
    with pytest.raises(secateur.InputError, match="config.json"):
        Encoder(tmp_path)
    with pytest.raises(secateur.UsageError, match="pooling: .*men"):
        Encoder("default", pooling="men")
    with pytest.raises(secateur.SecateurError, match="maximum length"):
        Encoder("default", max_length=0)


def test_it_is_the_model_of_its_directory(encoder: Encoder) -> None:
    directory = Encoder(DEFAULT)
    assert directory.fingerprint == encoder.fingerprint and directory.directory == DEFAULT
    np.testing.assert_array_equal(directory.encode("x"), encoder.encode("x"))
    assert secateur.inspect(DEFAULT)["fingerprint"] == encoder.fingerprint


def test_models_of_the_hub_are_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    snapshot = tmp_path / "models--me--tiny" / "snapshots" / "abc"
    shutil.copytree(DEFAULT, snapshot)
    (tmp_path / "models--me--tiny" / "refs").mkdir()
    (tmp_path / "models--me--tiny" / "refs" / "main").write_text("abc")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    assert Encoder("me/tiny").dim == 384
    with pytest.raises(secateur.InputError, match="me/absent is not to be had from the hub"):
        Encoder("me/absent")


def test_many_texts_are_told_and_equal_few(encoder: Encoder) -> None:
    texts = [f"text number {n}" for n in range(600)]
    told: list[secateur.Progress] = []
    vectors = encoder.encode(texts, progress=told.append)
    assert [one.done for one in told] == [0, 256, 512, 600] and told[0].total == 600 and told[0].what == "encoding"
    np.testing.assert_array_equal(vectors[[0, 300, 599]], encoder.encode([texts[n] for n in (0, 300, 599)]))


def test_similarities_are_those_of_numpy(encoder: Encoder) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 5, 7))
    cosine = a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    np.testing.assert_allclose(encoder.similarity(a, b), cosine, rtol=1e-4)
    np.testing.assert_allclose(encoder.similarity_pairwise(a, b), cosine.diagonal(), rtol=1e-4)


def test_cross_encoders(tmp_path: Path) -> None:
    model = CrossEncoder(models.cross_encoder(tmp_path / "model"))
    pairs = [("a query", "a passage"), ("a query", "another one")]
    logits = model.score(pairs)
    assert logits.shape == (2,) and logits[0] != logits[1]
    sigmoid = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(model.predict(pairs), sigmoid, rtol=1e-6)
    np.testing.assert_array_equal(model.predict(iter(pairs), activation_fn=lambda x: x), logits)
    assert model.predict(pairs[0]) == pytest.approx(float(sigmoid[0]))
    ranked = model.rank("a query", ["a passage", "another one"], return_documents=True)
    assert [hit["corpus_id"] for hit in ranked] == list(np.argsort(-logits)) and ranked[0]["score"] >= ranked[1]["score"]
    plain = CrossEncoder(models.cross_encoder(tmp_path / "plain", "torch.nn.modules.linear.Identity"))
    np.testing.assert_array_equal(plain.predict(pairs), logits)
    told: list[secateur.Progress] = []
    many = model.score([pairs[0]] * 300, progress=told.append)
    assert (many == logits[0]).all() and [one.done for one in told] == [0, 128, 256, 300]
    with pytest.raises(secateur.InputError):
        CrossEncoder(DEFAULT)
