"""Documents, and the many shapes in which programs have them."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict
from uuid import UUID

import numpy as np

from . import parquet
from .arguments import unicode
from .errors import InputError, UsageError

__all__ = ["Document", "Documents", "Fields"]


@dataclass(slots=True)
class Document:
    """What is kept in a database and found by searches.

    >>> Document("n1", "Prune roses in late winter.", title="Roses", metadata={"year": 2021}).passage()
    'Roses Prune roses in late winter.'
    """

    id: str
    """No two documents of a database have the same."""
    text: str
    """What is searched."""
    title: str = ""
    """It is searched together with the text."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What filters look at: anything that JSON can hold."""

    def passage(self, separator: str = " ") -> str:
        """What an encoder reads: title, separator and text."""
        return separator.join(part.strip() for part in (self.title, self.text) if part.strip())


Documents = (
    str
    | os.PathLike[str]
    | Iterable[Document | Mapping[str, Any] | tuple[str, str] | tuple[str, str, str] | str | os.PathLike[str]]
    | Any
)
"""Documents of any shape:

- the path of a file or folder as the executable reads it, or a list of paths; Parquet files are read by pyarrow;
- an iterable of `Document`, of mappings with an id and a text, or of tuples: (id, text) or (id, title, text);
- a table of pandas, polars or Arrow, whose rows are mappings.

In a mapping the id is called ``_id``, ``id``, ``doc_id``, ``docid``, ``docno`` or ``pid``, the text ``text``, ``contents``,
``content``, ``body`` or ``passage``, the title ``title``. Other fields are metadata.
"""


class Fields(TypedDict):
    """The names of fields, where they are not the usual ones."""

    id: NotRequired[str]
    title: NotRequired[str]
    text: NotRequired[str]
    vector: NotRequired[str]


Record = str | tuple[str, str, str, str | None]
"""A document for the native module: a JSON object, or id, title, text and the text of its metadata."""


class Source(TypedDict):
    """Documents for the native module."""

    files: NotRequired[list[str]]
    records: NotRequired[Iterator[Record]]
    fields: dict[str, Any]


def source(documents: Documents, fields: Fields | None = None) -> Source:
    """Documents of any shape for the native module. They are read one by one, when they are asked for."""
    names = field_names(fields)
    if isinstance(documents, str | os.PathLike):
        documents = [documents]
    if isinstance(documents, list | tuple) and documents:
        if all(isinstance(one, str | os.PathLike) for one in documents):
            files = [os.fspath(path) for path in documents]
            if not are_parquet(files):
                _are_there(files)
                return Source(files=files, fields=names)
            documents = parquet.rows(files)
    return Source(records=records(documents), fields=names)


def are_parquet(files: list[str]) -> bool:
    """Whether files are Parquet files. All of them are, or none."""
    found = [parquet.is_parquet(file) for file in files]
    if any(found) and not all(found):
        mixed = f"{files[found.index(True)]} is a Parquet file, and {files[found.index(False)]} is none"
        raise UsageError(f"{mixed}: give either kind in a call of its own")
    return any(found)


def field_names(fields: Fields | None) -> dict[str, Any]:
    """The names of fields for the native module."""
    if not isinstance(fields or {}, Mapping):
        raise UsageError(f"fields is {fields!r:.40}: expected a mapping, such as {{'text': 'abstract'}}")
    for name, field in (fields or {}).items():
        if not isinstance(field, str):
            raise UsageError(f"fields: {name} is {field!r:.40}: expected the name of a field")
    unknown = (fields or {}).keys() - Fields.__annotations__.keys()
    if unknown:
        raise UsageError(f"fields: {', '.join(sorted(unknown))} is none of {', '.join(Fields.__annotations__)}")
    return {"id": None, **(fields or {})}


def records(documents: Documents) -> Iterator[Record]:
    """The records of documents of any shape but paths.

    >>> list(records([Document("1", "Bees dance."), ("2", "Bread rises."), {"id": 3, "text": "Rye", "year": 2020}]))
    [('1', '', 'Bees dance.', None), ('2', '', 'Bread rises.', None), '{"id": 3, "text": "Rye", "year": 2020}']
    """
    for number, one in enumerate(_rows(documents), 1):
        if isinstance(one, Document):
            for name in ("id", "title", "text"):
                if not isinstance(getattr(one, name), str):
                    raise UsageError(f"document {number}: its {name} is {getattr(one, name)!r:.40}: expected a string")
            yield *_texts(number, one.id, one.title, one.text), _metadata(number, one)
        elif isinstance(one, Mapping):
            yield _json(number, {str(key): value for key, value in one.items() if not _is_missing(value)})
        elif isinstance(one, tuple) and len(one) in (2, 3) and all(isinstance(part, str) for part in one):
            yield *_texts(number, one[0], one[1] if len(one) == 3 else "", one[-1]), None
        else:
            raise UsageError(
                f"document {number} is {one!r:.80}: expected a Document, a mapping with an id and a text, or a tuple of "
                "strings (id, text) or (id, title, text)"
            )


def _rows(documents: Any) -> Iterator[Any]:
    """The rows of a table, told by its methods, or the items of an iterable."""
    if hasattr(documents, "iter_rows"):  # polars
        return iter(documents.iter_rows(named=True))
    if hasattr(documents, "itertuples"):  # pandas
        names = [str(name) for name in documents.columns]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"documents: two columns of the table are called {twice!r}: rename one, or leave it out")
        return (dict(zip(names, row, strict=True)) for row in documents.itertuples(index=False, name=None))
    if hasattr(documents, "to_batches"):  # a table of Arrow
        return (row for batch in documents.to_batches() for row in batch.to_pylist())
    if hasattr(documents, "read_next_batch"):  # a stream of Arrow
        return (row for batch in documents for row in batch.to_pylist())
    if hasattr(documents, "to_pylist") and hasattr(documents, "schema"):  # a batch of Arrow
        return iter(documents.to_pylist())
    if hasattr(documents, "collect_schema"):  # a lazy frame of polars
        return iter(documents.collect().iter_rows(named=True))
    if isinstance(documents, Mapping):
        return iter([documents])
    if hasattr(documents, "__arrow_c_stream__") and not isinstance(documents, Iterable):  # of any other library
        return (row for batch in _stream(documents) for row in batch.to_pylist())
    try:
        return iter(documents)
    except TypeError:
        expected = "expected an iterable of documents, a table or a path"
        raise UsageError(f"documents: {type(documents).__name__} is none; {expected}") from None


def _is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty. It is no metadata then."""
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value)) or type(value).__name__ in ("NAType", "NaTType")


def to_json(value: Any) -> str:
    """JSON of a value, with numbers of numpy as numbers and times as ISO 8601 writes them."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise InputError(f"{value!r:.80} is no JSON: {error}") from error
    except RecursionError:
        raise InputError("lists or mappings are in one another too deeply for JSON") from None


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # of numpy
        return value.tolist()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON can hold")


def _metadata(number: int, document: Document) -> str | None:
    return _json(number, document.metadata) if document.metadata else None


def _json(number: int, value: Any) -> str:
    try:
        text = to_json(value)
    except InputError as error:
        raise InputError(f"document {number}: {error}") from error
    return unicode(f"document {number}", text)


def _texts(number: int, id: str, title: str, text: str) -> tuple[str, str, str]:
    name = f"document {number}"
    return unicode(f"{name}: its id", id), unicode(f"{name}: its title", title), unicode(f"{name}: its text", text)


def _are_there(files: list[str]) -> None:
    for file in files:
        if not os.path.exists(file):
            raise InputError(
                f"there is no file {file!r:.80}: strings are the paths of files; a document is a mapping with an id and a text, "
                "or a tuple in a list: [(id, text)]"
            )


def _stream(table: Any) -> Any:
    """The batches of a table that another library hands out as Arrow's."""
    try:
        import pyarrow
    except ImportError as error:
        raise InputError("pyarrow reads this table, and it is not here: pip install pyarrow") from error
    return pyarrow.RecordBatchReader.from_stream(table)


def of_fields(fields: tuple[str, str, str, str | None]) -> Document:
    """A document of what the native module gives."""
    id, title, text, metadata = fields
    return Document(id, text, title, json.loads(metadata) if metadata else {})
