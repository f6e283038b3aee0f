"""What storage refuses, split by what the caller should do next.

StorageError
├── NotFound        name something that exists
├── Conflict        change the request: it contradicts what is stored, or the database refuses its values
├── Retryable       do the same again, at once: another transaction was in the way
├── Unavailable     do the same again later: the database does not answer
└── SchemaMismatch  deploy the code that fits the database
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests


class StorageError(Exception):
    """The root of everything storage raises on purpose."""


class NotFound(StorageError):  # noqa: N818 - the name says what happened
    """Something referred to does not exist.

    Attributes:
        noun: What kind of thing, in the singular.
        identifiers: Which ones.
    """

    def __init__(self, noun: str, *identifiers: str) -> None:
        super().__init__(f"{noun} not found: {', '.join(identifiers)}")
        self.noun = noun
        self.identifiers = identifiers


class Conflict(StorageError):  # noqa: N818
    """The request contradicts what is stored."""


class Retryable(StorageError):  # noqa: N818
    """Another transaction was in the way; nothing was written."""


class Unavailable(StorageError):  # noqa: N818
    """The database does not answer. A transaction that was committing may have been committed."""


class SchemaMismatch(StorageError):  # noqa: N818
    """The schema of the database is not one this code can bring forward."""


_RETRYABLE = (
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.TransactionRollback,
    pg.LockNotAvailable,
    pg.QueryCanceled,
)
_UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed, TooManyRequests)


def _conflict(error: psycopg.Error) -> Conflict:
    """The server's own sentence, without the row's contents, which follow in its detail."""
    return Conflict(error.diag.message_primary or type(error).__name__)


def _missing_reference(error: pg.ForeignKeyViolation) -> NotFound:
    constraint = error.diag.constraint_name or ""
    return NotFound(f"row that {error.diag.table_name} refers to", constraint)


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's exceptions into those of this module. Errors in our own SQL stay what they are.

    Raises:
        NotFound: A foreign key has no target.
        Conflict: A constraint, an immutable table or a value out of range.
        Retryable: Serialization failure, deadlock, lock or statement timeout.
        Unavailable: No connection, a lost one, or a server that is starting or stopping.
    """
    try:
        yield
    except pg.ForeignKeyViolation as error:
        raise _missing_reference(error) from error
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        raise _conflict(error) from error
    except _RETRYABLE as error:
        raise Retryable(str(error)) from error
    except _UNAVAILABLE as error:
        raise Unavailable(str(error)) from error
