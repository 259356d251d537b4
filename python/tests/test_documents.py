"""The shapes in which documents come."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur import Database, Document

ROWS = [
    {"id": "a", "title": "One", "text": "first text", "year": 2020, "score": 0.5, "ok": True},
    {"id": "b", "title": "Two", "text": "second text", "year": 2021, "score": 1.5, "ok": False},
]
WANTED = [
    Document("a", "first text", "One", {"year": 2020, "score": 0.5, "ok": True}),
    Document("b", "second text", "Two", {"year": 2021, "score": 1.5, "ok": False}),
]


def pandas() -> Any:
    return pytest.importorskip("pandas").DataFrame(ROWS, index=["x", "y"])


def polars() -> Any:
    return pytest.importorskip("polars").DataFrame(ROWS)


def lazy() -> Any:
    return pytest.importorskip("polars").LazyFrame(ROWS)


def arrow() -> Any:
    return pytest.importorskip("pyarrow").Table.from_pylist(ROWS)


def stream() -> Any:
    return arrow().to_reader()


def tables() -> Iterator[Any]:
    yield from (pandas, polars, lazy, arrow, stream)
    yield from (lambda: iter(ROWS), lambda: tuple(ROWS), lambda: list(WANTED), lambda: (row for row in ROWS))


@pytest.mark.parametrize("table", tables())
def test_tables_and_iterables_are_the_same_documents(table: Any, tmp_path: Path) -> None:
    with Database.create(tmp_path / "db") as db:
        db.add(table())
    assert list(db) == WANTED
    assert list(Database.build(tmp_path / "built", table())) == WANTED


def test_missing_cells_are_no_metadata(tmp_path: Path) -> None:
    frame = pytest.importorskip("pandas").DataFrame({"id": ["a", "b"], "text": ["x", "y"], "year": [2020, None]})
    db = Database.build(tmp_path / "db", frame)
    assert [document.metadata for document in db] == [{"year": 2020}, {}]


def test_files_and_folders(tmp_path: Path, mini: secateur.BeirFolder) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": "a", "text": "x", "year": 1}\n')
    (tmp_path / "more.csv").write_text("id,text\nb,y\n")
    for given in (path, str(path), [path, tmp_path / "more.csv"]):
        db = Database.build(tmp_path / f"db{len(list(tmp_path.iterdir()))}", given)
        assert db["a"].metadata == {"year": 1}
    assert len(Database.build(tmp_path / "mini", mini.path)) == 63
    with pytest.raises(secateur.InputError, match="absent.jsonl"):
        Database.build(tmp_path / "none", tmp_path / "absent.jsonl")


def test_parquet_files_are_read_by_pyarrow(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for name, rows in (("a.parquet", ROWS[:1]), ("b.parquet", ROWS[1:])):
        parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), tmp_path / name)
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    assert list(Database.build(tmp_path / "db", files)) == WANTED
    assert list(secateur.datasets.read_documents(files)) == WANTED
    assert list(Database.build(tmp_path / "one", tmp_path / "a.parquet")) == WANTED[:1]
    (tmp_path / "c.csv").write_text("id,text\nc,x\n")
    with pytest.raises(secateur.UsageError, match="a.parquet is a Parquet file, and .*c.csv is none"):
        Database.build(tmp_path / "mixed", [files[0], tmp_path / "c.csv"])
    (tmp_path / "d.parquet").write_text("no table")
    for name in ("d.parquet", "absent.parquet"):
        with pytest.raises(secateur.InputError, match=name):
            Database.build(tmp_path / "wrong", tmp_path / name)


def test_other_names_and_values(tmp_path: Path) -> None:
    rows = [
        {
            "key": 7,
            "abstract": "words",
            "day": datetime.date(2020, 2, 1),
            "n": np.int64(3),
            "list": np.array([1, 2]),
            "none": None,
            "tags": {"b", "a"},
        }
    ]
    db = Database.build(tmp_path / "db", rows, fields={"id": "key", "text": "abstract"})
    metadata = {"day": "2020-02-01", "n": 3, "list": [1, 2], "tags": ["a", "b"]}
    assert list(db) == [Document("7", "words", "", metadata)]
    assert [hit.id for hit in db.search("words", filter="n == 3")] == ["7"]


@pytest.mark.parametrize(
    ("documents", "error", "message"),
    [
        (7, secateur.UsageError, "documents: int is none; expected an iterable"),
        ([7], secateur.UsageError, "document 1 is 7: expected a Document"),
        ([("a", "b", "c", "d")], secateur.UsageError, "document 1 is"),
        ([{"text": "no id"}], secateur.InputError, "document 1: .*id"),
        ([("a", "x"), {"id": "b", "text": 7}], secateur.InputError, "document 2: .*expected a string for `text`"),
        ([{"id": "a", "text": "x", "what": object()}], secateur.InputError, "object is nothing that JSON can hold"),
        ([{"id": "a", "text": "x", "nan": float("inf")}], secateur.InputError, "no JSON"),
        ([("a", "")], secateur.InputError, "neither title nor text"),
    ],
)
def test_wrong_documents_are_named(documents: Any, error: type[Exception], message: str, tmp_path: Path) -> None:
    db = Database.create(tmp_path / "db")
    with pytest.raises(error, match=message), db:
        db.add(documents)
    assert len(db) == 0 and not db.has_changes


def test_data_sets(mini: secateur.BeirFolder, tmp_path: Path) -> None:
    qrels = mini.qrels()
    assert mini.default_split == "test" and len(qrels) == 12 and mini.info()["num_documents"] == 63
    assert mini.verify()[1:] == (0, 0)
    assert mini.queries("test").keys() == qrels.keys()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "corpus.jsonl").write_text('{"_id": "a", "text": 3}\n')
    (broken / "queries.jsonl").write_text("{}\n")
    findings, errors, _ = secateur.BeirFolder(broken).verify()
    assert errors >= 2 and any("corpus.jsonl:1" in finding for finding in findings)
    with pytest.raises(secateur.InputError, match="dev"):
        mini.qrels("dev")
    with pytest.raises(secateur.InputError, match="absent"):
        secateur.BeirFolder(tmp_path / "absent")


def test_collections_in_other_layouts(tmp_path: Path, mini: secateur.BeirFolder) -> None:
    collection = secateur.datasets.Collection(mini.path)
    assert collection.convert(tmp_path / "tsv", "tsv").num_documents == 63
    marco = secateur.datasets.Collection(tmp_path / "tsv")
    assert marco.queries() == mini.queries() and marco.qrels()["test"] == mini.qrels()
    marco.convert(tmp_path / "beir")
    again = secateur.BeirFolder(tmp_path / "beir")
    assert again.qrels() == mini.qrels() and len(list(again.corpus())) == 63
    secateur.datasets.write_qrels(tmp_path / "qrels", mini.qrels())
    assert secateur.datasets.read_qrels(tmp_path / "qrels") == mini.qrels()
    # BEIR's form, too.
    assert secateur.datasets.read_qrels(tmp_path / "beir" / "qrels" / "test.tsv") == mini.qrels()
    with pytest.raises(secateur.UsageError, match="beir exists"):
        marco.convert(tmp_path / "beir")
    with pytest.raises(secateur.UsageError, match="layout: .*csv"):
        marco.convert(tmp_path / "new", "csv")  # type: ignore[arg-type]
    with pytest.raises(secateur.InputError, match="absent"):
        secateur.datasets.Collection(tmp_path / "absent")


def test_evaluations_are_those_of_the_executable(mini: secateur.BeirFolder, tmp_path: Path, encoder: Any) -> None:
    db = Database.build(tmp_path / "mini.db", mini.path, encoder=encoder)
    run = db.run(mini.queries("test"), mode="hybrid", candidates=1000)
    found = secateur.evaluate(mini, run)
    # docs/GUIDE.md prints these.
    assert round(found["nDCG@10"], 4) == 0.7244 and found.num_evaluated == 12
    secateur.datasets.write_run(tmp_path / "a.run", run)
    beir = secateur.evaluate(mini, tmp_path / "a.run", ["nDCG@5", "Recall@20"], rules="beir")
    assert {name: round(value, 4) for name, value in beir.means.items()} == {"nDCG@5": 0.6853, "Recall@20": 0.9514}
    assert "nDCG@5" in str(beir) and len(beir.per_query) == 12
    with pytest.raises(secateur.UsageError, match="measures: .*nDCG@0"):
        secateur.evaluate(mini, run, ["nDCG@0"])
    with pytest.raises(secateur.SecateurError):
        secateur.evaluate(mini, {"q": {"d": float("nan")}})
