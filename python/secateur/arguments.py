"""What callers give is checked here: a wrong argument is named, with what is expected of it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from .errors import InputError, UsageError


def whole(name: str, value: Any, least: int = 0) -> int:
    """A whole number, of Python or of numpy.

    >>> whole("k", 3)
    3
    >>> whole("k", -1, 1)
    Traceback (most recent call last):
    ...
    secateur.errors.UsageError: k is -1: expected a whole number, 1 or more
    >>> whole("max_restarts", "often", -1)
    Traceback (most recent call last):
    ...
    secateur.errors.UsageError: max_restarts is 'often': expected a whole number, -1 or more
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise UsageError(f"{name} is {value!r:.40}: expected a whole number, {least} or more")
    if number >= 2**63:
        raise UsageError(f"{name} is {value}: expected less than 2**63")
    return number


def text(name: str, value: Any) -> str:
    """A text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise UsageError(f"{name} is {value!r:.40}: expected a string")
    return unicode(name, value)


def unicode(name: str, value: str) -> str:
    r"""A string that UTF-8 can hold.

    >>> unicode("text 0", "Bees \ud83d dance.")
    Traceback (most recent call last):
    ...
    secateur.errors.InputError: text 0: '\ud83d' at character 5 is half of a surrogate pair, a character that was cut in two; ...
    """
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = value[error.start]
            raise InputError(
                f"{name}: {half!r} at character {error.start} is half of a surrogate pair, a character that was cut in two; "
                "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace') joins halves and replaces what is alone"
            ) from None
    return value


def texts(name: str, values: Any, each: str = "text") -> list[str]:
    """Texts of an iterable, an array or a column of a table.

    >>> texts("sentences", ("Bees dance.", "Bread rises."))
    ['Bees dance.', 'Bread rises.']
    >>> texts("queries", "Bees dance.")
    Traceback (most recent call last):
    ...
    secateur.errors.UsageError: queries is one text, 'Bees dance.': give a list
    """
    if isinstance(values, str):
        raise UsageError(f"{name} is one text, {values!r:.40}: give a list")
    if hasattr(values, "to_pylist"):  # of Arrow
        values = values.to_pylist()
    if not isinstance(values, Iterable):
        raise UsageError(f"{name} is {values!r:.40}: expected texts")
    return [text(f"{each} {number}", value) for number, value in enumerate(values)]


def ids(values: Any) -> list[str]:
    """The ids of documents: strings, or integers, which name documents as they do where documents are added.

    >>> ids("a"), ids(7), ids(["a", 7])
    (['a'], ['7'], ['a', '7'])
    """
    if is_id(values):
        values = [values]
    if hasattr(values, "to_pylist"):  # of Arrow
        values = values.to_pylist()
    if not isinstance(values, Iterable):
        raise UsageError(f"ids: {values!r:.40} is none: expected a string, an integer, or an iterable of them")
    return [_id(value) for value in values]


def _id(value: Any) -> str:
    if isinstance(value, str):
        return unicode("an id", value)
    if not is_id(value):
        raise UsageError(f"id {value!r:.40}: expected a string or an integer")
    return str(operator.index(value))


def is_id(value: Any) -> bool:
    """Whether it is the id of one document."""
    return isinstance(value, str | Integral) and not isinstance(value, bool)


_EXPECTED = {"str": "a string", "int": "a whole number, 0 or more", "float": "a number", "bool": "True or False"}


def of_kinds(kinds: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Checks options by their annotations, such as ``int | None``. What is `None` is not given.

    >>> of_kinds({"ef_search": "int | None"}, {"ef_search": "many"})
    Traceback (most recent call last):
    ...
    secateur.errors.UsageError: ef_search is 'many': expected a whole number, 0 or more
    """
    for name, value in given.items():
        kind = kinds.get(name, "").removesuffix(" | None")
        if value is None or kind not in _EXPECTED:
            continue
        if kind == "int":
            whole(name, value)
        elif kind == "str":
            text(name, value)
        elif not _is(kind, value):
            raise UsageError(f"{name} is {value!r:.40}: expected {_EXPECTED[kind]}")


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, bool) if kind == "bool" else isinstance(value, Real) and not isinstance(value, bool)


def by_query(name: str, given: Any, is_value: Callable[[Any], bool]) -> dict[str, dict[str, Any]]:
    """Judgments or a run: query id -> document id -> number. `is_value` is `is_relevance` or `is_score`.

    >>> by_query("qrels", {"q": {"a": 1.5}}, is_relevance)
    Traceback (most recent call last):
    ...
    secateur.errors.UsageError: qrels: query 'q': document 'a' has 1.5: expected an integer of 32 bits
    """
    if not isinstance(given, Mapping) or not all(isinstance(inner, Mapping) for inner in given.values()):
        raise UsageError(f"{name} is {given!r:.60}: expected a file, or query id -> document id -> number")
    for query, values in given.items():
        wrong = [id for id in (query, *values) if not isinstance(id, str)]
        if wrong:
            raise UsageError(f"{name}: the id {wrong[0]!r:.40} of query {query!r:.40} is none: expected a string")
        for document, value in values.items():
            if not is_value(value):
                expected = "an integer of 32 bits" if is_value is is_relevance else "a number"
                raise UsageError(
                    f"{name}: query {query!r:.40}: document {document!r:.40} has {value!r:.40}: expected {expected}"
                )
    return {query: dict(values) for query, values in given.items()}


def is_relevance(value: Any) -> bool:
    """Whether it is the relevance of a document."""
    return isinstance(value, Integral) and -(2**31) <= int(value) < 2**31


def is_score(value: Any) -> bool:
    """Whether it is the score of a document."""
    return type(value) is float or isinstance(value, Real)
