"""MTEB's own evaluation gives the numbers of ours, on local data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur import Database, Encoder

mteb = pytest.importorskip("mteb")
pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def task(mini: secateur.BeirFolder) -> Any:
    """The bundled data set as a task of MTEB."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    corpus = [{"id": document.id, "title": document.title, "text": document.text} for document in mini.corpus()]
    queries = [{"id": id, "text": text} for id, text in mini.queries("test").items()]

    class Mini(AbsTaskRetrieval):  # type: ignore[misc]
        metadata = mteb.TaskMetadata(
            name="MiniRetrieval",
            description="The bundled collection",
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            dataset={"path": "local", "revision": "1"},
        )

        def load_data(self, *args: Any, **kwargs: Any) -> None:
            from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData

            split = RetrievalSplitData(
                corpus=Dataset.from_list(corpus),
                queries=Dataset.from_list(queries),
                relevant_docs=mini.qrels(),
                top_ranked=None,
            )
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Mini()


def scores(model: Any, task: Any) -> dict[str, float]:
    result = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
    found: dict[str, float] = result.task_results[0].scores["test"][0]
    return found


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_a_database_gets_the_numbers_of_our_evaluation(
    mode: str, task: Any, mini: secateur.BeirFolder, encoder: Encoder, tmp_path: Path
) -> None:
    from secateur.mteb import DatabaseSearch

    theirs = scores(DatabaseSearch(tmp_path, encoder, mode=mode), task)
    db = Database.build(tmp_path / "own.db", mini.path, encoder=encoder)
    candidates = {"candidates": 1000} if mode == "hybrid" else {}
    run = db.run(mini.queries("test"), mode=mode, **candidates)
    ours = secateur.evaluate(mini, run, ["nDCG@10", "Recall@100", "MAP@100", "MRR@10", "P@10"], rules="mteb")
    names = {"nDCG@10": "ndcg_at_10", "Recall@100": "recall_at_100", "MAP@100": "map_at_100", "P@10": "precision_at_10"}
    # MTEB rounds to five places.
    assert {name: theirs[key] for name, key in names.items()} == pytest.approx(
        {name: ours[name] for name in names}, abs=6e-6
    )
    assert theirs["main_score"] > 0.3


def test_an_encoder_gets_the_same(task: Any, mini: secateur.BeirFolder, encoder: Encoder, tmp_path: Path) -> None:
    from secateur.mteb import MtebEncoder

    theirs = scores(MtebEncoder(encoder), task)
    db = Database.build(tmp_path / "own.db", mini.path, encoder=encoder)
    ours = secateur.evaluate(mini, db.run(mini.queries("test"), mode="dense"), ["nDCG@10"], rules="mteb")
    assert theirs["ndcg_at_10"] == pytest.approx(ours["nDCG@10"], abs=6e-6)


def test_protocols_and_metadata(encoder: Encoder, tmp_path: Path) -> None:
    from mteb.models.models_protocols import EncoderProtocol, SearchProtocol

    from secateur.mteb import DatabaseSearch, MtebEncoder, model_meta

    assert isinstance(MtebEncoder(encoder), EncoderProtocol)
    search = DatabaseSearch(tmp_path)
    assert isinstance(search, SearchProtocol) and search.mteb_model_meta.name == "secateur/bm25"
    with pytest.raises(ValueError, match="before index"):
        search.search([], top_k=1)
    directory = Path(__file__).resolve().parents[2] / "encoders" / "default"
    meta = model_meta(Encoder(directory), name="me/small", adapted_from="me/large")
    assert (meta.name, meta.adapted_from, meta.embed_dim) == ("me/small", "me/large", 384)
    assert meta.n_parameters > meta.n_embedding_parameters > 0 and meta.memory_usage_mb > 0
    # The encoder in the box is that directory, and what it was loaded with holds.
    box = model_meta(Encoder("default", truncate_dim=64, max_length=32))
    assert (box.name, box.embed_dim, box.max_tokens) == ("secateur/default", 64, 32)
    assert (box.n_parameters, box.memory_usage_mb) == (meta.n_parameters, meta.memory_usage_mb)
    assert box.revision != meta.revision == secateur.inspect(directory)["fingerprint"][:16]
    pair = np.eye(2, 384, dtype=np.float32)
    assert MtebEncoder(encoder).similarity(pair, pair).tolist() == [[1.0, 0.0], [0.0, 1.0]]
