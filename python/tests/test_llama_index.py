"""LlamaIndex: every mode and operator of its vector stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import models
import secateur
from secateur import Database, Encoder

pytest.importorskip("llama_index.core")
pytestmark = pytest.mark.filterwarnings("ignore")

from llama_index.core.schema import NodeRelationship, NodeWithScore, QueryBundle, RelatedNodeInfo, TextNode  # noqa: E402
from llama_index.core.vector_stores.types import (  # noqa: E402
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from secateur.llama_index import SecateurEmbedding, SecateurReranker, SecateurVectorStore  # noqa: E402

TEXTS = {"a": "Prune roses in late winter.", "b": "Bread rises overnight.", "c": "Bees dance to tell where food is."}
METADATA: dict[str, dict[str, Any]] = {"a": {"year": 2021, "tags": ["garden", "rose"]}, "b": {"year": 2019}, "c": {}}


@pytest.fixture
def embedding(encoder: Encoder) -> SecateurEmbedding:
    return SecateurEmbedding(encoder)


@pytest.fixture
def store(tmp_path: Path, embedding: SecateurEmbedding) -> SecateurVectorStore:
    store = SecateurVectorStore(Database.create(tmp_path / "store.db", dim=384))
    nodes = []
    for id, text in TEXTS.items():
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{id}")}
        node = TextNode(id_=id, text=text, metadata=METADATA[id], relationships=source)
        node.embedding = embedding.get_text_embedding(text)
        nodes.append(node)
    assert store.add(nodes) == ["a", "b", "c"]
    return store


def asked(store: SecateurVectorStore, embedding: SecateurEmbedding, text: str, **options: Any) -> list[str]:
    query = VectorStoreQuery(query_str=text, query_embedding=embedding.get_query_embedding(text), **options)
    return store.query(query).ids or []


def test_modes(store: SecateurVectorStore, embedding: SecateurEmbedding) -> None:
    assert asked(store, embedding, "when to cut rose bushes") == ["a"]
    for mode in (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH):
        assert asked(store, embedding, "bread", mode=mode, similarity_top_k=3) == ["b"]
    hybrid = VectorStoreQueryMode.HYBRID
    assert asked(store, embedding, "bread", mode=hybrid, alpha=0.0, similarity_top_k=3)[0] == "b"
    assert set(asked(store, embedding, "bread", mode=hybrid, hybrid_top_k=2)) >= {"b"}
    assert len(asked(store, embedding, "bees", mode=VectorStoreQueryMode.MMR, similarity_top_k=2)) == 2
    with pytest.raises(secateur.UsageError, match="mode svm is none of"):
        asked(store, embedding, "bees", mode=VectorStoreQueryMode.SVM)
    with pytest.raises(secateur.UsageError, match="give query_embedding"):
        store.query(VectorStoreQuery(query_str="x"))


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ([("year", 2021, "==")], "a"),
        ([("year", 2021, "!=")], "bc"),
        ([("year", 2020, "<")], "b"),
        ([("year", [2019, 2021], "in")], "ab"),
        ([("year", [2019], "nin")], "ac"),
        ([("tags", ["rose", "x"], "any")], "a"),
        ([("tags", ["rose", "garden"], "all")], "a"),
        ([("tags", ["rose", "x"], "all")], ""),
        ([("tags", "garden", "contains")], "a"),
        ([("tags", "gard", "text_match")], "a"),
        ([("year", None, "is_empty")], "c"),
        ([("absent", 1, "==")], ""),
    ],
)
def test_filters(
    filters: list[tuple[str, Any, str]], ids: str, store: SecateurVectorStore, embedding: SecateurEmbedding
) -> None:
    given = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=op) for key, value, op in filters])
    assert sorted(asked(store, embedding, "anything", similarity_top_k=9, filters=given)) == list(ids)
    assert sorted(node.node_id for node in store.get_nodes(filters=given)) == list(ids)
    contrary = MetadataFilters(filters=[given], condition=FilterCondition.NOT)
    assert sorted(node.node_id for node in store.get_nodes(filters=contrary)) == sorted(set("abc") - set(ids))


def test_nodes_come_back_whole(store: SecateurVectorStore, embedding: SecateurEmbedding) -> None:
    (node,) = store.get_nodes(["a"])
    assert node.metadata == METADATA["a"] and node.ref_doc_id == "doc-a" and node.get_content() == TEXTS["a"]
    assert asked(store, embedding, "bread", similarity_top_k=9, doc_ids=["doc-a"]) == ["a"]
    assert asked(store, embedding, "bread", node_ids=["c"]) == ["c"]
    store.delete("doc-a")
    store.delete_nodes(["b"])
    assert [one.node_id for one in store.get_nodes()] == ["c"]
    store.clear()
    assert store.get_nodes() == [] and asked(store, embedding, "bread") == []


def test_an_index_is_built_and_asked(tmp_path: Path, embedding: SecateurEmbedding) -> None:
    from llama_index.core import StorageContext, VectorStoreIndex
    from llama_index.core.schema import Document

    store = SecateurVectorStore(Database.create(tmp_path / "index.db", dim=384))
    context = StorageContext.from_defaults(vector_store=store)
    documents = [Document(text=text, id_=id) for id, text in TEXTS.items()]
    index = VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=embedding)
    found = index.as_retriever(similarity_top_k=1).retrieve("when to cut rose bushes")
    assert [one.node.get_content() for one in found] == [TEXTS["a"]] and found[0].score is not None


def test_the_reranker_keeps_the_best(tmp_path: Path) -> None:
    reranker = SecateurReranker(models.cross_encoder(tmp_path / "model"), top_n=2)
    nodes = [NodeWithScore(node=TextNode(id_=id, text=text)) for id, text in TEXTS.items()]
    kept = reranker.postprocess_nodes(nodes, query_bundle=QueryBundle("bees"))
    want = reranker._model.rank("bees", list(TEXTS.values()), 2)
    assert [one.node.node_id for one in kept] == [list(TEXTS)[hit["corpus_id"]] for hit in want]
