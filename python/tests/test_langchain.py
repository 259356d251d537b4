"""LangChain's own conformance tests, and what they leave out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import models
import secateur
from secateur import CrossEncoder, Database, Encoder

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

from langchain_core.documents import Document  # noqa: E402
from langchain_core.embeddings import DeterministicFakeEmbedding  # noqa: E402
from langchain_tests.integration_tests import (  # noqa: E402
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests  # noqa: E402

from secateur.langchain import (  # noqa: E402
    SecateurEmbeddings,
    SecateurReranker,
    SecateurRetriever,
    SecateurVectorStore,
)


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[SecateurVectorStore]:  # type: ignore[override]
        yield SecateurVectorStore.create(tmp_path / "store.db", self.get_embeddings())


class TestVectorStoreThatEncodes(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[SecateurVectorStore]:  # type: ignore[override]
        yield SecateurVectorStore.create(tmp_path / "store.db", encoder="default")


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[SecateurEmbeddings]:
        return SecateurEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": "default"}


class TestEmbeddingsOffline(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[SecateurEmbeddings]:
        return SecateurEmbeddings


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _made(self, store: SecateurVectorStore) -> None:
        self.database = store.database

    @property
    def retriever_constructor(self) -> type[SecateurRetriever]:
        return SecateurRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"database": self.database}

    @property
    def retriever_query_example(self) -> str:
        return "what to do in the garden"


DOCUMENTS = [
    Document(id="a", page_content="Prune roses in late winter.", metadata={"year": 2021, "tag": "garden"}),
    Document(id="b", page_content="Bread rises overnight.", metadata={"year": 2019, "tag": "kitchen"}),
    Document(id="c", page_content="Bees dance to tell where food is."),
]


@pytest.fixture
def store(tmp_path: Path, encoder: Encoder) -> SecateurVectorStore:
    store = SecateurVectorStore.create(tmp_path / "store.db", encoder=encoder)
    store.add_documents(DOCUMENTS)
    return store


def test_searches(store: SecateurVectorStore) -> None:
    assert store.similarity_search("when to cut rose bushes", k=1) == [DOCUMENTS[0]]
    assert store.similarity_search("bread", k=1, mode="bm25") == [DOCUMENTS[1]]
    scores = store.similarity_search_with_relevance_scores("pruning roses", k=3)
    assert all(0 <= score <= 1 for _, score in scores) and scores[0][0].id == "a"
    assert {one.id for one in store.max_marginal_relevance_search("roses", k=2, fetch_k=3)} <= {"a", "b", "c"}
    vector = store.database.vectors(["c"])[0].tolist()
    assert store.similarity_search_by_vector(vector, k=1)[0].id == "c"
    retriever = store.as_retriever(search_kwargs={"k": 1, "mode": "hybrid"})
    assert [one.id for one in retriever.invoke("dancing bees")] == ["c"]


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        ({"tag": "garden"}, "a"),
        ({"year": {"$gte": 2000, "$lt": 2020}}, "b"),
        ({"$or": [{"tag": "garden"}, {"year": 2019}]}, "ab"),
        ({"$not": {"year": {"$in": [2019, 2021]}}}, "c"),
        ({"year": {"$nin": [2019]}}, "ac"),
        ({"year": {"$exists": False}}, "c"),
        ({"absent": 1}, ""),
        ({"absent": {"$ne": 1}}, "abc"),
        ({"tag": 7}, ""),
        ('tag == "garden" or year is missing', "ac"),
    ],
)
def test_filters(filter: Any, ids: str, store: SecateurVectorStore) -> None:
    found = store.similarity_search("anything", k=9, filter=filter)
    assert sorted(one.id or "" for one in found) == list(ids)


def test_wrong_calls_are_named(store: SecateurVectorStore, tmp_path: Path) -> None:
    with pytest.raises(secateur.UsageError, match="\\$regex is none of"):
        store.similarity_search("x", filter={"tag": {"$regex": "a"}})
    with pytest.raises(secateur.UsageError, match="2 texts come with 1 metadatas"):
        store.add_texts(["a", "b"], [{}])
    with pytest.raises(secateur.UsageError, match="name it by `path`"):
        SecateurVectorStore.from_texts(["a"], DeterministicFakeEmbedding(size=4))
    made = SecateurVectorStore.from_texts(["a", "b"], DeterministicFakeEmbedding(size=4), path=tmp_path / "new", ids=["1", "2"])
    assert made.similarity_search("a", k=1)[0].id == "1" and made.embeddings is not None


def test_retriever_and_reranker(store: SecateurVectorStore, tmp_path: Path) -> None:
    retriever = SecateurRetriever(database=store.database, k=2, options={"mode": "bm25"})
    found = retriever.invoke("bread")
    assert [one.id for one in found] == ["b"] and found[0].metadata["score"] > 0
    assert [one.id for one in retriever.invoke("bread roses", k=1, filter="year > 2020")] == ["a"]
    model = CrossEncoder(models.cross_encoder(tmp_path / "model"))
    kept = SecateurReranker(model=model, top_n=2).compress_documents(DOCUMENTS, "bees")
    want = model.rank("bees", [one.page_content for one in DOCUMENTS], 2)
    assert [one.id for one in kept] == [DOCUMENTS[hit["corpus_id"]].id for hit in want]
    assert kept[0].metadata["relevance_score"] == want[0]["score"]
