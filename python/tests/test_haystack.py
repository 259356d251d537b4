"""Haystack's own test mixins, and a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("haystack")
pytestmark = pytest.mark.filterwarnings("ignore")

from haystack import Document, Pipeline  # noqa: E402
from haystack.core.serialization import allow_deserialization_module  # noqa: E402
from haystack.document_stores.errors import DuplicateDocumentError  # noqa: E402
from haystack.document_stores.types import DuplicatePolicy  # noqa: E402
from haystack.testing import document_store as mixins  # noqa: E402
from haystack.testing import document_store_async as async_mixins  # noqa: E402

from secateur.haystack import (  # noqa: E402
    SecateurBM25Retriever,
    SecateurDocumentEmbedder,
    SecateurDocumentStore,
    SecateurEmbeddingRetriever,
    SecateurTextEmbedder,
)


class TestDocumentStore(
    mixins.DocumentStoreBaseExtendedTests,
    mixins.CountDocumentsByFilterTest,
    mixins.CountUniqueMetadataByFilterTest,
    mixins.GetMetadataFieldsInfoTest,
    mixins.GetMetadataFieldMinMaxTest,
    mixins.GetMetadataFieldUniqueValuesTest,
    async_mixins.CountDocumentsAsyncTest,
    async_mixins.CountDocumentsByFilterAsyncTest,
    async_mixins.CountUniqueMetadataByFilterAsyncTest,
    async_mixins.DeleteAllAsyncTest,
    async_mixins.DeleteByFilterAsyncTest,
    async_mixins.DeleteDocumentsAsyncTest,
    async_mixins.FilterDocumentsAsyncTest,
    async_mixins.GetMetadataFieldsInfoAsyncTest,
    async_mixins.GetMetadataFieldMinMaxAsyncTest,
    async_mixins.GetMetadataFieldUniqueValuesAsyncTest,
    async_mixins.UpdateByFilterAsyncTest,
    async_mixins.WriteDocumentsAsyncTest,
):
    @pytest.fixture
    def document_store(self, tmp_path: Path) -> SecateurDocumentStore:
        return SecateurDocumentStore(tmp_path / "store.db")

    def assert_documents_are_equal(self, received: list[Document], expected: list[Document]) -> None:
        """In any order; embeddings are kept in f32."""

        def plain(documents: list[Document]) -> list[dict[str, Any]]:
            return [one.to_dict(flatten=False) for one in sorted(documents, key=lambda one: one.id)]

        want = [{**one, "embedding": one["embedding"] and pytest.approx(one["embedding"], rel=1e-6)} for one in plain(expected)]
        assert plain(received) == want

    def test_write_documents(self, document_store: SecateurDocumentStore) -> None:
        """What is written without a policy is there, and an id that is taken is an error."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        assert document_store.filter_documents() == [document]
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document], DuplicatePolicy.NONE)

    async def test_write_documents_async(self, document_store: SecateurDocumentStore) -> None:
        """The same on a thread of its own."""
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        assert await document_store.filter_documents_async() == [document]
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document], DuplicatePolicy.NONE)


def test_a_pipeline_finds_and_comes_back(tmp_path: Path) -> None:
    store = SecateurDocumentStore(tmp_path / "store.db", embedding_dim=384)
    texts = ["Prune roses in late winter.", "Bread rises overnight.", "Bees dance to tell where food is."]
    documents = [Document(content=text, meta={"number": n}) for n, text in enumerate(texts)]
    embedded = SecateurDocumentEmbedder(meta_fields_to_embed=["number"]).run(documents)["documents"]
    assert store.write_documents([*embedded, Document(content="bees without a vector")]) == 4

    pipeline = Pipeline()
    pipeline.add_component("embedder", SecateurTextEmbedder())
    pipeline.add_component("retriever", SecateurEmbeddingRetriever(store, top_k=9))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    allow_deserialization_module("secateur.haystack")
    again = Pipeline.from_dict(pipeline.to_dict())
    for one in (pipeline, again):
        found = one.run({"embedder": {"text": "when to cut rose bushes"}})["retriever"]["documents"]
        assert [document.content for document in found][0] == texts[0] and len(found) == 3
        assert found[0].score > found[1].score and len(found[0].embedding) == 384
    words = SecateurBM25Retriever(store, top_k=5)
    assert {one.content for one in words.run("bees")["documents"]} == {texts[2], "bees without a vector"}
    only = {"field": "meta.number", "operator": ">=", "value": 2}
    assert [one.content for one in words.run("bees", filters=only)["documents"]] == [texts[2]]
    assert words.run("bees", top_k=0)["documents"] == []
