"""Filters of frameworks, said in the language of the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .database import Database
from .errors import UsageError

Condition = str | bool
"""A filter, or what is true of all documents or of none."""

_WORDS = {"and", "or", "not", "in", "true", "false"}
_OF_ABSENT = {"!=", "not in", "is missing"}


class Fields:
    """The fields of a database's documents, so that a condition on a field that no document has is no error.

    >>> db = Database.build(tmp / "fields.db", [{"id": 1, "text": "x", "year": 2020, "my tag": "a"}])
    >>> fields = Fields(db)
    >>> fields.compare("year", ">", 2000), fields.compare("my tag", "in", ["a", "b"])
    ('year > 2000', '`my tag` in ["a", "b"]')
    >>> fields.compare("absent", "==", 1), fields.compare("absent", "!=", 1), fields.compare("year", "==", "x")
    (False, True, False)
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kinds: dict[str, set[str]] | None = None

    def forget(self) -> None:
        """The documents have changed."""
        self._kinds = None

    def _known(self) -> dict[str, set[str]]:
        if self._kinds is None:
            fields = self._database.info()["fields"]
            self._kinds = {one["name"]: {kind for kind, count in one["num_of_kind"].items() if count} for one in fields}
        return self._kinds

    def compare(self, field: str, operator: str, value: Any = None) -> Condition:
        """A comparison: ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``, ``not in``, ``all``, ``contains``, ``is missing``."""
        name = quoted(field)
        kinds = self._known().get(name)
        if kinds is None:
            return operator in _OF_ABSENT
        if operator == "is missing":
            return f"{name} is missing"
        if operator in ("in", "not in", "all"):
            values = [one for one in value if _kind(one) in kinds]
            if not values or (operator == "all" and len(values) < len(value)):
                return operator == "not in"
            listed = f"{name} {operator.removeprefix('not ')} {json.dumps(values, ensure_ascii=False)}"
            return f"not ({listed})" if operator == "not in" else listed
        if _kind(value) not in kinds:
            return operator == "!="
        return f"{name} {operator} {json.dumps(value, ensure_ascii=False)}"


def quoted(field: str) -> str:
    """A path of names, each in backquotes if it is not plain."""
    return ".".join(
        name
        if name and (name[0].isalpha() or name[0] == "_") and _is_plain(name)
        else "`" + name.replace("`", "``") + "`"
        for name in field.split(".")
    )


def _is_plain(name: str) -> bool:
    return name not in _WORDS and all(char.isalnum() or char in "_-" for char in name)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "booleans"
    if isinstance(value, int | float):
        return "numbers"
    if isinstance(value, str):
        return "strings"
    raise UsageError(f"a filter compares {value!r:.40}: expected a string, a number or a boolean")


def both(conditions: Iterable[Condition]) -> Condition:
    """All of them.

    >>> both([True, "a > 1", "b"]), both(["a", False]), both([])
    ('(a > 1) and (b)', False, True)
    """
    parts = list(conditions)
    if any(part is False for part in parts):
        return False
    texts = [part for part in parts if isinstance(part, str)]
    return " and ".join(f"({text})" for text in texts) if texts else True


def either(conditions: Iterable[Condition]) -> Condition:
    """At least one of them."""
    parts = list(conditions)
    if any(part is True for part in parts):
        return True
    texts = [part for part in parts if isinstance(part, str)]
    return " or ".join(f"({text})" for text in texts) if texts else False


def negated(condition: Condition) -> Condition:
    """The contrary."""
    return f"not ({condition})" if isinstance(condition, str) else not condition


_MONGO = {"$eq": "==", "$ne": "!=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<=", "$in": "in", "$nin": "not in"}


def of_mapping(filter: Mapping[str, Any], fields: Fields) -> Condition:
    """A filter as LangChain's stores take it: ``{"year": {"$gte": 2020}, "lang": "en"}``, with ``$and``, ``$or``, ``$not``."""
    parts: list[Condition] = []
    for key, value in filter.items():
        if key == "$and":
            parts.append(both(of_mapping(one, fields) for one in value))
        elif key == "$or":
            parts.append(either(of_mapping(one, fields) for one in value))
        elif key == "$not":
            parts.append(negated(of_mapping(value, fields)))
        elif key.startswith("$"):
            raise UsageError(f"filter: {key} is none of $and, $or, $not")
        elif isinstance(value, Mapping):
            for operator, operand in value.items():
                if operator == "$exists":
                    missing = fields.compare(key, "is missing")
                    parts.append(negated(missing) if operand else missing)
                elif operator in _MONGO:
                    parts.append(fields.compare(key, _MONGO[operator], operand))
                else:
                    raise UsageError(f"filter: {operator} is none of {', '.join(_MONGO)}, $exists")
        else:
            parts.append(fields.compare(key, "==", value))
    return both(parts)
