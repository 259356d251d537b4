"""Databases: made, changed, searched, kept in order."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur import Database, Document, Encoder

NOTES = [
    {"id": "n1", "title": "Roses", "text": "Prune roses in late winter.", "year": 2021, "tags": ["garden"]},
    {"id": "n2", "text": "Bread rises overnight.", "year": 2019, "tags": ["kitchen", "slow"]},
    {"id": "n3", "title": "Bees", "text": "Bees dance to tell where food is."},
]


@pytest.fixture
def notes(tmp_path: Path, encoder: Encoder) -> Database:
    return Database.build(tmp_path / "notes.db", NOTES, encoder=encoder)


def test_a_search_finds_what_the_executable_finds(notes: Database) -> None:
    (hit,) = notes.search("when to cut rose bushes", k=1)
    # docs/GUIDE.md prints this score.
    assert (hit.id, round(hit.score, 4)) == ("n1", 2.0)


def test_modes_filters_and_documents(notes: Database) -> None:
    assert notes.mode() == "hybrid"
    assert [hit.id for hit in notes.search("bread", mode="bm25")] == ["n2"]
    assert [hit.id for hit in notes.search("bees", filter='"garden" in tags'.replace('"garden" in tags', 'tags in ["garden"]'))] == ["n1"]
    (hit,) = notes.search("bees", k=1, documents=True)
    assert hit.document == Document("n3", "Bees dance to tell where food is.", "Bees")
    explained = notes.explain("bees")
    assert explained.hits[0].dense is not None and explained.hits[0].bm25 is not None
    assert set(explained.times) == {"filter", "encode", "dense", "bm25", "fuse"}
    batch = notes.search_batch(["bread", "bees"], k=2)
    assert batch == [notes.search("bread", k=2), notes.search("bees", k=2)]


def test_wrong_options_are_named(notes: Database) -> None:
    with pytest.raises(secateur.UsageError, match="no option flter; the options are mode, filter"):
        notes.search("bees", flter="year > 1")  # type: ignore[call-arg]
    with pytest.raises(secateur.UsageError, match="mode: .*sparse.*dense"):
        notes.search("bees", mode="sparse")
    with pytest.raises(secateur.UsageError, match="k is 0"):
        notes.search("bees", k=0)
    with pytest.raises(secateur.SecateurError, match="yaer"):
        notes.search("bees", filter="yaer == 2020")
    with pytest.raises(secateur.UsageError, match='index: "tree" is none of flat, hnsw'):
        Database.create("unused", dim=3, index="tree")
    with pytest.raises(secateur.UsageError, match="there is no option dmi; the options are metric"):
        Database.create("unused", dmi=4)  # type: ignore[call-arg]
    with pytest.raises(secateur.UsageError, match="index does nothing without vectors"):
        Database.create("unused", index="hnsw")


def test_changes_are_seen_after_a_commit(notes: Database) -> None:
    assert notes.add([("n4", "Pears ripen in a drawer.")]) == (1, 0)
    assert notes.has_changes and len(notes) == 3 and "n4" not in notes
    notes.commit()
    assert not notes.has_changes and len(notes) == 4 and notes["n4"].text == "Pears ripen in a drawer."
    with pytest.raises(secateur.SecateurError, match="n4"):
        notes.add([("n4", "again")])
    notes.rollback()
    with notes:
        assert notes.upsert([("n4", "Pears ripen on a shelf."), ("n5", "Figs do not.")]) == (1, 1)
        assert notes.delete("n1") == 1
    assert sorted(document.id for document in notes) == ["n2", "n3", "n4", "n5"]
    with pytest.raises(RuntimeError), notes:
        notes.delete("n2")
        raise RuntimeError
    assert "n2" in notes and not notes.has_changes
    assert notes.delete(filter="year < 2020") == 1
    notes.commit()
    assert "n2" not in notes
    with pytest.raises(KeyError):
        notes["n2"]
    with pytest.raises(secateur.SecateurError, match="n2"):
        notes.delete("n2")
    assert notes.delete(["n2", "n3"], missing_ok=True) == 1
    notes.rollback()


def test_a_call_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    db = Database.create(tmp_path / "words.db")
    db.add([("kept", "before")])
    # More than are taken from an iterator at once.
    many = [(str(n), f"text {n}") for n in range(300)]
    with pytest.raises(secateur.InputError, match='"7" is added twice'):
        db.add(iter([*many, ("7", "again")]))
    with pytest.raises(secateur.InputError, match='"empty" has neither title nor text'):
        db.upsert([("kept", "after"), *many, ("empty", "")])

    def broken() -> Iterator[tuple[str, str]]:
        yield from many
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.add(broken())
    db.commit()
    assert [(document.id, document.text) for document in db] == [("kept", "before")]

    with db:
        db.add(many)
    with pytest.raises(secateur.DatabaseError, match='no document has the id "absent"; nothing was deleted'):
        db.delete(["1", "absent", "2"])
    assert not db.has_changes
    assert db.delete(["2", "2", 2]) == 1
    assert db.delete(["1", "1", "absent"], missing_ok=True) == 1
    db.commit()
    assert len(db) == 299 and "3" in db and "1" not in db and "2" not in db


def test_vectors_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    db = Database.create(tmp_path / "own.db", dim=2)
    with db:
        for wrong in ([[0, 1], [np.nan, 1]], [[0, 1], [1, np.inf]]):
            with pytest.raises(secateur.UsageError, match="every component must be a finite number"):
                db.add([("a", "x"), ("b", "y")], vectors=wrong)
    assert len(db) == 0
    with pytest.raises(secateur.UsageError, match="every component must be a finite number"):
        db.search([np.nan, 1])


def test_a_database_opens_with_the_encoder_it_remembers(notes: Database) -> None:
    opened = Database.open(notes.path)
    assert opened.search("bees", mode="bm25") == notes.search("bees", mode="bm25")
    assert opened.search("bees") == notes.search("bees")
    opened.add([("n9", "Added by another value.")])
    opened.commit()
    assert "n9" not in notes
    notes.reload()
    assert "n9" in notes
    other = Encoder("default", max_length=8)
    with pytest.raises(secateur.DatabaseError, match="holds vectors of default"):
        Database.open(notes.path, encoder=other)
    again = pickle.loads(pickle.dumps(notes))
    assert again.search("bees") == notes.search("bees")


def test_two_writers_are_told(notes: Database) -> None:
    other = Database.open(notes.path)
    with notes:
        notes.delete("n1")
        with pytest.raises(secateur.DatabaseError, match="notes.db"):
            other.delete("n2")
    other.reload()
    assert other.delete("n2") == 1
    other.rollback()


def test_a_callback_cannot_change_the_database_of_its_call(tmp_path: Path) -> None:
    db = Database.create(tmp_path / "db")

    def documents() -> Iterator[tuple[str, str]]:
        yield "a", f"{len(db.search('x'))} hits"
        db.add([("b", "y")])
        yield "c", "z"

    with pytest.raises(secateur.UsageError, match="is being changed by the call that this callback"), db:
        db.add(documents())
    with pytest.raises(secateur.UsageError, match="is being changed"), db:
        db.add(((str(n), "x") for n in range(600)), progress=lambda _: db.commit())
    assert len(db) == 0 and not db.has_changes
    with db:
        db.add([("a", "x")])
    assert len(db) == 1
    with pytest.raises(secateur.UsageError, match="has no vectors"):
        db.vectors(["a"])
    with pytest.raises(secateur.UsageError, match="a vector has no numbers"):
        db.search([])


def test_vectors_of_ones_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    db = Database.create(tmp_path / "own.db", dim=8, metric="cosine")
    with db:
        db.add(((str(n), f"text {n}") for n in range(50)), vectors=vectors)
    for row in (0, 17, 49):
        assert db.search(vectors[row], k=1)[0].id == str(row)
    hits = db.search_batch(vectors, k=3)
    assert [of_query[0].id for of_query in hits] == [str(n) for n in range(50)]
    ids, scores = db.search_arrays(vectors[:2], k=3)
    assert ids[1][0] == "1" and scores[1].dtype == np.float64 and np.isclose(scores[1][0], 1)
    # Rows of a column-major array, of doubles and of lists are the same vectors.
    for same in (np.asfortranarray(vectors), vectors.astype(np.float64), vectors.tolist()):
        assert db.search_batch(same, k=3) == hits
    stored = db.vectors(["3", "1"])
    np.testing.assert_allclose(stored @ vectors[3], [np.linalg.norm(vectors[3]) ** k for k in (2,)] + [stored[1] @ vectors[3]], rtol=1e-5)
    with pytest.raises(secateur.UsageError, match="3 documents come with 16 numbers: 24 are expected"):
        db.add([("a", "x"), ("b", "y"), ("c", "z")], vectors=vectors[:2])
    with pytest.raises(secateur.SecateurError, match="8"):
        db.search(vectors[0, :4])
    with pytest.raises(secateur.UsageError, match="expected numbers"):
        db.search(np.array(["a"]))
    with pytest.raises(secateur.UsageError, match='there is no document "absent"'):
        db.vectors(["absent"])


def test_vectors_in_a_field(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "up", "v": [0.0, 1.0]}, {"id": "b", "text": "right", "v": [1.0, 0.0]}]
    db = Database.build(tmp_path / "built.db", rows, dim=2, fields={"vector": "v"})
    assert db.search([0.9, 0.1], k=1)[0].id == "b"
    assert db.get("a") == Document("a", "up")
    assert db.add_from([{"id": "c", "text": "down", "v": [0, -1]}], fields={"vector": "v"}) == (1, 0)
    assert db.search([0, -1], k=1)[0].id == "c"


def test_graphs_are_tuned_verified_and_compacted(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(20, 16))
    vectors = (centers[rng.integers(20, size=2000)] + 0.3 * rng.normal(size=(2000, 16))).astype(np.float32)
    db = Database.create(tmp_path / "graph.db", dim=16, index="hnsw", hnsw_m=8, codes="int8")
    with db:
        db.add(((str(n), f"text {n}") for n in range(2000)), vectors=vectors)
    (generation,) = db.generations
    assert (generation["index"], generation["dim"], generation["ef_search"]) == ("hnsw", 16, 100)
    report = db.verify(num_queries=50)
    assert report.num_documents == 2000 and report.recall is not None and report.recall.mean > 0.9
    db.set_ef_search(33)
    assert db.generations[0]["ef_search"] == 33
    with db:
        db.delete([str(n) for n in range(500)])
    told: list[secateur.Progress] = []
    compacted = db.compact(progress=told.append)
    assert compacted.num_rows == [2000, 1500] and len(db) == 1500
    assert told[-1].done == told[-1].total == 1500 and told[-1].what == "compacting"


def test_tuning_sets_the_least_ef(mini: secateur.BeirFolder, tmp_path: Path, encoder: Encoder) -> None:
    db = Database.build(tmp_path / "mini.db", mini.path, encoder=encoder, index="hnsw", min_rows=1)
    curve = db.tune(mini.queries().values(), target=0.9)
    assert curve.num_queries == 12 and curve.k == 10
    assert [point.ef_search for point in curve.points if point.mean >= 0.9][0] == curve.ef_search
    assert db.recall_curve == curve == Database.open(db.path).recall_curve
    assert db.generations[0]["ef_search"] == curve.ef_search


def test_generations(notes: Database) -> None:
    notes.add_generation("short", Encoder("default", truncate_dim=64), index="hnsw")
    assert [one["name"] for one in notes.generations] == ["original", "short"]
    short = notes.generation("short")
    assert short.dim == 64 and short.encoder is not None and short.encoder.dim == 64
    assert short.search("bees", k=1)[0].id == "n3"
    with notes:
        notes.add([("n7", "Both encoders make a vector of it.")])
    assert notes.generation("short").vectors(["n7"]).shape == (1, 64)
    notes.use_generation("short")
    opened = Database.open(notes.path)
    assert opened.dim == 64 and opened.generation_name == "short"
    opened.drop_generation("original")
    with pytest.raises(secateur.DatabaseError, match="original"):
        Database.open(notes.path, generation="original")


def test_many_documents_are_read_page_by_page(tmp_path: Path) -> None:
    db = Database.build(tmp_path / "many.db", ({"id": n, "text": f"text {n}", "even": n % 2 == 0} for n in range(700)))
    assert [document.id for document in db] == [str(n) for n in range(700)]
    assert [document.id for document in db.documents("even")] == [str(n) for n in range(0, 700, 2)]
    iterator = iter(db)
    next(iterator)
    with db:
        db.delete([str(n) for n in range(600)])
    assert len(list(iterator)) == 699 and len(list(db)) == 100


def test_an_interrupted_build_goes_on(tmp_path: Path, encoder: Encoder) -> None:
    def documents(fail: bool) -> object:
        for n in range(1500):
            if fail and n == 1400:
                raise OSError("the line is dead")
            yield (str(n), f"document number {n}")

    path = tmp_path / "built.db"
    with pytest.raises(OSError, match="the line is dead"):
        Database.build(path, documents(fail=True), encoder=encoder)
    assert not path.exists() and (tmp_path / "built.db.journal").exists()
    told: list[secateur.Progress] = []
    db = Database.build(path, documents(fail=False), encoder=encoder, progress=told.append)
    assert len(db) == 1500 and told[-1].done == 1500 and told[-1].unit == "documents"
    assert not (tmp_path / "built.db.journal").exists()


def test_add_from_is_all_or_nothing(notes: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        notes.add_from((str(n), f"text {1 // (5 - n)}") for n in range(9))
    assert not notes.has_changes and len(notes) == 3
    with pytest.raises(secateur.InputError, match="document 2: .*text"):
        notes.add_from([{"id": "a", "text": "x"}, {"id": "b"}])
    assert notes.add_from([{"id": "n1", "text": "new"}, {"id": "a", "text": "x"}], replace=True) == (1, 1)
    assert notes["n1"].text == "new" and "a" in notes


def test_snippets_mark_characters(notes: Database) -> None:
    text, marks = notes.snippet("Über den Bienen: bees dance.", "dancing bees", 40)
    assert [text[start:end] for start, end in marks] == ["bees", "dance"]
