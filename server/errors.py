"""Every error that a caller can see, and the only table from exceptions to gRPC codes.

CallError
├── InvalidRequest      INVALID_ARGUMENT     the request is wrong in itself: every fault with its field path
├── NotReady            FAILED_PRECONDITION  the request is right, but the data it needs are not there or not usable
├── Busy                RESOURCE_EXHAUSTED   too much at a time: try again
├── OutOfTime           DEADLINE_EXCEEDED    the caller's deadline or its time limit passed
└── WorkerLost          UNAVAILABLE          a solver process died: try again
storage.errors          NotFound, Conflict, Retryable, Unavailable
kernel.errors           ProblemError -> INVALID_ARGUMENT
anything else           INTERNAL, with a request id and no inner text
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from kernel.errors import ProblemError
from storage.errors import Conflict, NotFound, Retryable, Unavailable

_RETRY_SECONDS = 1
# A client takes 8 KiB of trailing metadata, in which faults stand twice: as a message, where a character outside of
# ASCII takes up to twelve bytes, and as encoded details.
_MESSAGE_CHARACTERS = 1000
_FOREIGN_CHARACTERS = 300
_FAULT_BYTES = 3000
_FAULT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: the path of the field, and a sentence that names asset, value and limit."""

    field: str
    description: str


class CallError(Exception):
    """An error that a caller can see, with its message."""


class InvalidRequest(CallError):  # noqa: N818 - the names say what happened
    """The request is wrong in itself."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.field}: {fault.description}" for fault in self.faults))

    def __reduce__(self) -> tuple[type[InvalidRequest], tuple[tuple[Fault, ...]]]:
        """Lets the exception cross process boundaries."""
        return type(self), (self.faults,)


class NotReady(CallError):  # noqa: N818
    """The data that the request needs are missing or unusable."""


class Busy(CallError):  # noqa: N818
    """Too many solves are waiting."""


class OutOfTime(CallError):  # noqa: N818
    """The deadline passed before the answer."""


class WorkerLost(CallError):  # noqa: N818
    """The process that solved died."""


_CODES: tuple[tuple[type[Exception], int], ...] = (
    (InvalidRequest, code_pb2.INVALID_ARGUMENT),
    (ProblemError, code_pb2.INVALID_ARGUMENT),
    (NotReady, code_pb2.FAILED_PRECONDITION),
    (Busy, code_pb2.RESOURCE_EXHAUSTED),
    (OutOfTime, code_pb2.DEADLINE_EXCEEDED),
    (WorkerLost, code_pb2.UNAVAILABLE),
    (NotFound, code_pb2.NOT_FOUND),
    (Conflict, code_pb2.FAILED_PRECONDITION),
    (Retryable, code_pb2.ABORTED),
    (Unavailable, code_pb2.UNAVAILABLE),
)
_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


def to_status(error: Exception, request_id: str) -> status_pb2.Status:
    """The status that tells a caller of `error`: code, message, and machine-readable details."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), code_pb2.INTERNAL)
    if code == code_pb2.INTERNAL:
        message = f"internal error; quote request id {request_id}"
    elif isinstance(error, Unavailable):
        message = "the database does not answer; try again"
    elif isinstance(error, Retryable):
        message = "another change was in the way and nothing was written; try again"
    else:
        message = str(error)
    status = status_pb2.Status(code=code, message=_shortened(message))
    for detail in (*_details(error, code), error_details_pb2.RequestInfo(request_id=request_id)):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def grpc_code(status: status_pb2.Status) -> grpc.StatusCode:
    """The gRPC code of a status."""
    return _GRPC_CODES[status.code]


def _details(error: Exception, code: int) -> Iterable[error_details_pb2.BadRequest | error_details_pb2.RetryInfo]:
    if isinstance(error, InvalidRequest):
        faults = error.faults
    elif isinstance(error, ProblemError):
        faults = (Fault(error.field, error.reason),)
    else:
        faults = ()
    if faults:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=fault.field, description=fault.description)
            for fault in _within_room(faults)
        ]
        yield error_details_pb2.BadRequest(field_violations=violations)
    if code in (code_pb2.RESOURCE_EXHAUSTED, code_pb2.UNAVAILABLE, code_pb2.ABORTED):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(_RETRY_SECONDS)
        yield retry


def _shortened(message: str) -> str:
    most = _MESSAGE_CHARACTERS if message.isascii() else _FOREIGN_CHARACTERS
    return message if len(message) <= most else f"{message[:most]}..."


def _within_room(faults: Sequence[Fault]) -> Iterator[Fault]:
    """The first faults, as many as a client can receive, and how many are left out."""
    left = _FAULT_BYTES
    for place, fault in enumerate(faults):
        field, description = fault.field[:_FAULT_CHARACTERS], fault.description[:_FAULT_CHARACTERS]
        left -= len(field.encode()) + len(description.encode())
        if left < 0:
            yield Fault(field, f"and {len(faults) - place} more faults")
            return
        yield Fault(field, description)
