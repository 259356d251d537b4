"""Wrong arguments are named, with what is expected, and nothing wrong is answered in silence."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur import CrossEncoder, Database, Document, Encoder

from models import cross_encoder

HALF = "Bees \ud83d dance."
EYE = np.eye(2, dtype=np.float32)


@pytest.fixture
def words(tmp_path: Path) -> Database:
    return Database.build(tmp_path / "words.db", [{"id": 1, "text": "Bees dance.", "year": 2020}, ("b", "Bread rises.")])


@pytest.fixture
def own(tmp_path: Path) -> Database:
    with Database.create(tmp_path / "own.db", dim=2) as db:
        db.add([("a", "up"), ("b", "right")], vectors=EYE)
    return db


def refused(call: Callable[[], Any], message: str, error: type[Exception] = secateur.UsageError) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None, True, 2**64])
def test_k_is_a_whole_number(k: Any, words: Database) -> None:
    refused(lambda: words.search("bees", k=k), f"k is {k!r}: expected")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": 3}, "mode is 3: expected a string"),
        ({"filter": {"year": 2020}}, "filter is .*: expected a string"),
        ({"k1": "1"}, "k1 is '1': expected a number"),
        ({"candidates": -1}, "candidates is -1: expected a whole number"),
    ],
)
def test_options_have_kinds(options: Any, message: str, words: Database) -> None:
    refused(lambda: words.search("bees", **options), message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 0}, "candidates is 0"),
        ({"dense_weight": -1}, "dense_weight is -1: expected a finite number"),
        ({"dense_weight": float("nan"), "mode": "bm25"}, "dense_weight is NaN"),
        ({"dense_weight": 2.0, "mode": "bm25"}, "dense_weight does nothing in mode bm25"),
        ({"candidates": 5, "mode": "dense"}, "candidates does nothing in mode dense"),
        ({"k1": 1.0, "mode": "dense"}, "k1 does nothing in mode dense"),
        ({"ef_search": 5, "mode": "bm25"}, "ef_search does nothing in mode bm25"),
        ({"ef_search": 5}, "ef_search does nothing here: the index is flat"),
    ],
)
def test_options_do_something(options: Any, message: str, tmp_path: Path, encoder: Encoder) -> None:
    db = Database.build(tmp_path / "db", [("a", "Bees dance.")], encoder=encoder)
    refused(lambda: db.search("bees", **options), message)
    assert db.search("bees", k1=1.0, b=0.5, fusion="sum", dense_weight=0.5, candidates=5)[0].id == "a"


def test_a_vector_is_searched_for_in_mode_dense(tmp_path: Path, own: Database) -> None:
    refused(lambda: own.search([0, 1], candidates=5), "candidates does nothing in mode dense")
    with Database.create(tmp_path / "graph.db", dim=2, index="hnsw", min_rows=1) as graph:
        graph.add([("a", "up"), ("b", "right")], vectors=EYE)
    assert graph.search([0, 1], k=1, ef_search=10)[0].id == "b"
    refused(lambda: graph.search("up", ef_search=10), "ef_search does nothing in mode bm25")


def test_one_query_is_one(own: Database) -> None:
    refused(lambda: own.search(EYE), r"query is of shape \(2, 2\): expected one vector")
    refused(lambda: own.search(EYE[:0]), r"query is of shape \(0, 2\): expected one vector")
    refused(lambda: own.search(np.ma.masked_array([1.0, 2.0], mask=[0, 1])), "masked")
    refused(lambda: own.search([[1, 2], [1]]), "vectors: .*inhomogeneous")
    assert own.search(EYE[:1], k=1)[0].id == "a"
    assert [hits[0].id for hits in own.search_batch(tuple(map(tuple, EYE)), k=1)] == ["a", "b"]


def test_columns_of_tables_are_texts(words: Database) -> None:
    want = words.search_batch(["bees", "bread"])
    texts = ["bees", "bread"]
    assert words.search_batch(np.array(texts)) == words.search_batch(np.array(texts, dtype=object)) == want
    assert words.search_batch(pytest.importorskip("pandas").Series(texts, index=[3, 4])) == want
    assert words.search_batch(pytest.importorskip("polars").Series(texts)) == want
    column = pytest.importorskip("pyarrow").chunked_array([texts[:1], texts[1:]])
    assert words.search_batch(column) == want
    refused(lambda: words.search_batch("bees"), "queries is one text, 'bees': give a list")
    refused(lambda: words.search_batch(["bees", 7]), "query 1 is 7: expected a string")
    refused(lambda: words.run(["bees"]), "expected a mapping of query ids and texts")


def test_integers_are_the_ids_they_are_added_as(words: Database) -> None:
    assert 1 in words and np.int64(1) in words and 2 not in words and True not in words
    assert words[1] == words.get("1") == words.get(np.int64(1)) and words.get([1, "b"])[1] == words["b"]
    refused(lambda: words.get(1.0), "ids: 1.0 is none")
    refused(lambda: words.get([None]), "id None: expected a string or an integer")
    with words:
        assert words.delete(np.array([1])) == 1
    assert 1 not in words


def test_halves_of_characters_are_named(words: Database, encoder: Encoder, tmp_path: Path) -> None:
    half = r"'\\ud83d' at character \d+ is half of a surrogate pair"
    for call in (
        lambda: words.search(HALF),
        lambda: words.explain(HALF),
        lambda: words.get(HALF),
        lambda: encoder.encode(["whole", HALF]),
        lambda: words.add([("c", HALF)]),
        lambda: words.add([Document("c", "x", title=HALF)]),
        lambda: words.add([Document("c", "x", metadata={"of": HALF})]),
    ):
        refused(call, half, secateur.InputError)
    refused(lambda: words.add([("c", "x"), {"id": "d", "text": HALF}]), f"document 2: {half}", secateur.InputError)
    # What the message says mends a text.
    mended = HALF.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert encoder.encode(mended).shape == (384,)


def test_documents_of_libraries(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"id": ["a", "b"], "text": ["x", "y"], "price": arrow.array([Decimal("1.50"), None])})

    class Stream:
        """As other libraries hand out tables."""

        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return table.__arrow_c_stream__(requested_schema)

    for name, documents in (("table", table), ("batch", table.to_batches()[0]), ("stream", Stream())):
        db = Database.build(tmp_path / name, documents)
        assert [document.metadata for document in db] == [{"price": 1.5}, {}]
    id = uuid.uuid4()
    with Database.create(tmp_path / "rows") as db:
        db.add([{"id": id, "text": "x", "of": np.float32("nan")}])
    assert db[str(id)].metadata == {}
    frame = pytest.importorskip("pandas").DataFrame([["a", "x", "y"]], columns=["id", "text", "text"])
    refused(lambda: db.add(frame), "two columns of the table are called 'text'")


def test_what_is_no_document(words: Database, own: Database, tmp_path: Path) -> None:
    refused(lambda: words.add(["Bees dance."]), "there is no file 'Bees dance.': strings are the paths", secateur.InputError)
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    refused(lambda: words.add([{"id": "c", "text": "x", "deep": deep}]), "document 1: .*too deeply", secateur.InputError)
    refused(lambda: words.add([{"id": "c", "text": "x", "b": b""}]), "document 1: .*bytes is nothing", secateur.InputError)
    refused(lambda: words.add([("c", "x")], fields=["id"]), "fields is .*: expected a mapping")
    refused(lambda: words.add([("c", "x")], fields={"id": 5}), "fields: id is 5: expected the name of a field")
    refused(lambda: words.add([("c", "x")], progress=3), "progress is 3: expected a function")
    rows = [{"id": "c", "text": "x", "v": [1.0, 2.0]}]
    refused(lambda: words.add(rows, fields={"vector": "v"}), "has no vectors: leave the field 'v' out")
    refused(lambda: words.add_from(rows, fields={"vector": "v"}), "has no vectors")
    refused(lambda: own.add(rows, vectors=EYE[:1], fields={"vector": "v"}), "leave one of them out")
    refused(lambda: Database.build(tmp_path / "new", rows, fields={"vector": "v"}), "say of which dim")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": -1}, "dim is -1: expected a whole number"),
        ({"dim": "3"}, "dim is '3': expected a whole number"),
        ({"dim": 3, "hnsw_m": 8}, "hnsw_m: nothing of an index that compares every vector"),
        ({"dim": 3, "index": "flat", "codes": "1bit"}, "codes: nothing of an index"),
        ({"encoder": "default", "passages": (256, 32)}, "passages is .*: expected a string"),
        ({"analyzer": 3}, "analyzer is 3: expected a string"),
    ],
)
def test_wrong_databases_are_not_made(options: Any, message: str, tmp_path: Path) -> None:
    refused(lambda: Database.create(tmp_path / "db", **options), message)
    assert not (tmp_path / "db").exists()
    refused(lambda: Database.create(""), "path is '': expected the name of a folder")


def test_wrong_calls_of_maintenance(words: Database) -> None:
    refused(lambda: words.verify(k=-1), "k is -1")
    refused(lambda: words.compact(memory=-1), "memory is -1")
    refused(lambda: words.tune("bees"), "queries is one text")
    refused(lambda: words.snippet("text", "query", -1), "max_chars is -1")


def test_wrong_encoders_and_texts(encoder: Encoder) -> None:
    refused(lambda: Encoder(truncate_dim=-1), "truncate_dim is -1")
    refused(lambda: Encoder(batch_tokens=0), "batch_tokens is 0")
    refused(lambda: Encoder(strict="yes"), "strict is 'yes': expected True or False")  # type: ignore[arg-type]
    refused(lambda: Encoder(prompts=["query"]), "prompts is .*: expected a mapping")  # type: ignore[arg-type]
    refused(lambda: Encoder(ignore_settings="prompts"), "ignore_settings is one text")
    refused(lambda: encoder.encode(None), "sentences is None: expected texts")  # type: ignore[arg-type]
    refused(lambda: encoder.encode("x", truncate_dim=2.5), "truncate_dim is 2.5")  # type: ignore[arg-type]
    refused(lambda: encoder.encode("x", prompt=3), "prompt is 3: expected a string")  # type: ignore[arg-type]
    refused(lambda: encoder.encode("x", precision="int8"), "precision int8 rounds to the ranges of many vectors")
    refused(lambda: encoder.tokenize("bees"), "texts is one text")
    refused(lambda: encoder.tokenize(["bees"], "both"), "kind: 'both' is none of query, document")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 1e30])
def test_cosines_of_any_size(size: float, encoder: Encoder) -> None:
    found = encoder.similarity([[size, size], [size, 0], [0, 0]], [[1, 1]])
    np.testing.assert_allclose(found.ravel(), [1, np.sqrt(0.5), 0], rtol=1e-6)


def test_wrong_pairs_are_named(tmp_path: Path) -> None:
    model = CrossEncoder(cross_encoder(tmp_path / "model"))
    refused(lambda: model.predict("ab"), "pairs are 'ab'")  # type: ignore[arg-type]
    refused(lambda: model.score(["ab", "cd"]), "pair 0 is 'ab': expected a query and a document")  # type: ignore[list-item]
    refused(lambda: model.predict([("a", "b"), ("a", "b", "c")]), "pair 1 is")  # type: ignore[list-item]
    refused(lambda: model.predict([("a", 1)]), "the document of pair 0 is 1")  # type: ignore[list-item]
    refused(lambda: model.rank("query", "text"), "documents is one text")
    refused(lambda: model.rank("query", ["a", "b"], top_k=-1), "top_k is -1")
    ranked = model.rank("query", (text for text in ["a", "b"]), return_documents=True)
    assert sorted(hit["text"] for hit in ranked) == ["a", "b"]


@pytest.mark.parametrize(
    ("qrels", "run", "message"),
    [
        ({"q": {"a": 1.0}}, {"q": {"a": 1.0}}, "qrels: query 'q': document 'a' has 1.0: expected an integer"),
        ({"q": {"a": 2**40}}, {"q": {"a": 1.0}}, "qrels: query 'q': document 'a' has 1099511627776"),
        ({1: {"a": 1}}, {"q": {"a": 1.0}}, "qrels: the id 1 of query 1 is none: expected a string"),
        ({"q": {"a": 1}}, {"q": {7: 1.0}}, "run: the id 7 of query 'q' is none"),
        ({"q": {"a": 1}}, {"q": {"a": "1"}}, "run: query 'q': document 'a' has '1': expected a number"),
    ],
)
def test_wrong_judgments_and_runs_are_named(qrels: Any, run: Any, message: str) -> None:
    refused(lambda: secateur.evaluate(qrels, run), message)
    written = secateur.datasets.write_qrels if message.startswith("qrels") else secateur.datasets.write_run
    refused(lambda: written("unused", qrels if message.startswith("qrels") else run), message)
    refused(lambda: secateur.evaluate({"q": {"a": 1}}, {"q": {"a": 1.0}}, "MAP"), "measures is one text")
    refused(lambda: secateur.compare({"q": {"a": 1}}, None), "runs is None")  # type: ignore[arg-type]
    two = {"x": {"q": {"a": 1.0}}, "y": {"q": {"a": 2.0}}}
    refused(lambda: secateur.compare({"q": {"a": 1}}, two, seed=-1), "seed is -1")
    refused(lambda: secateur.bench(3, "unused"), "3 is none of: a name or path")  # type: ignore[arg-type]
    refused(lambda: secateur.bench([], "unused", modes=["bm25"], k=-1), "k is -1")
