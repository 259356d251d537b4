"""What can go wrong. Every exception of this package says what is wrong and what to do next.

The four kinds say whose turn it is. They are those of the exit codes of the executable:

>>> [error.kind for error in (SystemFailure, UsageError, InputError, DatabaseError)]
['system', 'usage', 'input', 'database']
>>> issubclass(UsageError, ValueError) and issubclass(SystemFailure, OSError)
True
"""

from typing import ClassVar

__all__ = ["DatabaseError", "InputError", "SecateurError", "SystemFailure", "UsageError"]


class SecateurError(Exception):
    """The base of all exceptions of this package."""

    kind: ClassVar[str] = "error"
    """Whose turn it is: ``system``, ``usage``, ``input`` or ``database``."""


class SystemFailure(SecateurError, OSError):
    """The system's: disk, memory, a device."""

    kind = "system"


class UsageError(SecateurError, ValueError):
    """The caller's: an argument is out of range, or asks for what cannot be."""

    kind = "usage"


class InputError(SecateurError, ValueError):
    """A data set, a run, judgments, documents or a model are missing or wrong."""

    kind = "input"


class DatabaseError(SecateurError):
    """A database is missing, damaged, locked, of a newer version or of another encoder."""

    kind = "database"
