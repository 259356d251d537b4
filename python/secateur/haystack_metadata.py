"""What Haystack's document stores do with many documents at once: by filters, and with their metadata."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from haystack import Document as HaystackDocument
from haystack.document_stores.types import DuplicatePolicy

from .database import Database
from .documents import Document
from .filters import Condition, Fields

__all__ = ["MetadataStore"]

_PREFIX = "meta."


def _awaited(name: str) -> Callable[..., Awaitable[Any]]:
    """The method of this name on a thread of its own: it computes without the GIL."""

    async def call(self: Any, *arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(getattr(self, name), *arguments, **options)

    call.__name__ = call.__qualname__ = f"{name}_async"
    call.__doc__ = f"`{name}` on a thread of its own."
    return call


class MetadataStore:
    """The part of `SecateurDocumentStore` that works by filters."""

    database: Database
    _fields: Fields

    def condition(self, filters: dict[str, Any] | None) -> Condition:
        raise NotImplementedError

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[HaystackDocument]:
        raise NotImplementedError

    def write_documents(self, documents: list[HaystackDocument], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        raise NotImplementedError

    def _matching(self, filters: dict[str, Any] | None) -> list[Document]:
        condition = self.condition(filters)
        if condition is False:
            return []
        return list(self.database.documents(condition if isinstance(condition, str) else None))

    def delete_all_documents(self) -> None:
        """Deletes all documents."""
        self._delete([document.id for document in self.database])

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Deletes the documents that match. Returns how many."""
        return self._delete([document.id for document in self._matching(filters)])

    def _delete(self, ids: list[str]) -> int:
        with self.database:
            deleted = self.database.delete(ids, missing_ok=True)
        self._fields.forget()
        return deleted

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Merges metadata into those of the documents that match. Returns how many."""
        found = self.filter_documents(filters)
        for document in found:
            document.meta.update(meta)
        return self.write_documents(found, DuplicatePolicy.OVERWRITE) if found else 0

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """How many documents match."""
        return len(self._matching(filters))

    def count_unique_metadata_by_filter(self, filters: dict[str, Any], metadata_fields: list[str]) -> dict[str, int]:
        """How many different values each field has in the documents that match."""
        found = self._matching(filters)
        names = [field.removeprefix(_PREFIX) for field in metadata_fields]
        return {name: len(_values(found, name)) for name in names}

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Field -> ``type``: ``boolean``, ``int``, ``float`` or ``keyword``."""
        types: dict[str, dict[str, str]] = {}
        for document in self.database:
            for name, value in _meta(document).items():
                if value is not None:
                    kind = {bool: "boolean", int: "int", float: "float"}.get(type(value), "keyword")
                    types[name] = {"type": kind}
        return types

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """The least and the greatest value of a field: ``min`` and ``max``, `None` where values have no order."""
        name = metadata_field.removeprefix(_PREFIX)
        values = [value for value in _values(list(self.database), name).values() if isinstance(value, int | float | str)]
        are_texts = {isinstance(value, str) for value in values}
        if len(are_texts) != 1:
            return {"min": None, "max": None}
        return {"min": min(values), "max": max(values)}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """The values of a field in the documents that match, `size` of them, and how many there are.

        :param search_term: what the values must hold, in letters of either case.
        """
        values = _values(self._matching(filters), metadata_field.removeprefix(_PREFIX))
        term = (search_term or "").lower()
        kept = {key: value for key, value in values.items() if term in str(value).lower()}
        ordered = sorted(kept, key=lambda key: (str(kept[key]), key))
        return [kept[key] for key in ordered[from_ : from_ + size]], len(ordered)

    count_documents_async = _awaited("count_documents")
    count_documents_by_filter_async = _awaited("count_documents_by_filter")
    count_unique_metadata_by_filter_async = _awaited("count_unique_metadata_by_filter")
    delete_all_documents_async = _awaited("delete_all_documents")
    delete_by_filter_async = _awaited("delete_by_filter")
    delete_documents_async = _awaited("delete_documents")
    filter_documents_async = _awaited("filter_documents")
    get_metadata_field_min_max_async = _awaited("get_metadata_field_min_max")
    get_metadata_field_unique_values_async = _awaited("get_metadata_field_unique_values")
    get_metadata_fields_info_async = _awaited("get_metadata_fields_info")
    update_by_filter_async = _awaited("update_by_filter")
    write_documents_async = _awaited("write_documents")


def _meta(document: Document) -> dict[str, Any]:
    found: dict[str, Any] = document.metadata.get("meta", {})
    return found


def _values(documents: list[Document], name: str) -> dict[str, Any]:
    """The values of a field by their JSON, which tells 1, 1.0, "1" and true apart."""
    values = (_meta(document).get(name) for document in documents)
    return {json.dumps(value, sort_keys=True): value for value in values if value is not None}
