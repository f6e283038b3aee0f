"""Around every call: a request id, a log line, metrics, and the one way from exceptions to status codes."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from server.errors import Fault, InvalidRequest, grpc_code, to_status
from server.metrics import CALL_SECONDS, CALLS

_log = structlog.get_logger()
_REQUEST_ID = "x-request-id"
_LONGEST_REQUEST_ID = 64

if TYPE_CHECKING:
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of the service's own methods; health and reflection stay as they are."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def intercept_service(  # type: ignore[override]  # the stub's type variables are per call
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler, wrapped."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(self._prefix):
            return handler
        return _wrap(handler, method)


def _wrap(handler: Handler, method: str) -> Handler:
    serializers: dict[str, Any] = {
        "request_deserializer": _forgiving(handler.request_deserializer),
        "response_serializer": handler.response_serializer,
    }
    if handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary, method), **serializers)
    if handler.stream_unary:
        return grpc.stream_unary_rpc_method_handler(_unary(handler.stream_unary, method), **serializers)
    assert handler.unary_stream, f"{method} is of a kind that no service here has"
    return grpc.unary_stream_rpc_method_handler(_stream(handler.unary_stream, method), **serializers)


class _Unreadable:
    """Stands for bytes that are no message, until the handler's turn, when the refusal is like any other."""


def _forgiving(read: Callable[[bytes], object] | None) -> Callable[[bytes], object]:
    assert read is not None

    def deserialize(data: bytes) -> object:
        try:
            return read(data)
        except DecodeError:
            return _Unreadable()

    return deserialize


def _readable(request: object) -> object:
    """A request, or the messages of a stream as they come, once each is known to be one.

    Raises:
        InvalidRequest: The bytes are no message of the call's type.
    """
    if isinstance(request, AsyncIterator):
        return _each_readable(request)
    if isinstance(request, _Unreadable):
        raise InvalidRequest([Fault("request", "is not a message of the type that the call takes")])
    return request


async def _each_readable(requests: AsyncIterator[object]) -> AsyncIterator[object]:
    async for request in requests:
        yield _readable(request)


def _unary(behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
    async def call(request: object, context: Context) -> object:
        async with _around(method, context):
            return await behaviour(_readable(request), context)

    return call


def _stream(behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
    async def call(request: object, context: Context) -> AsyncIterator[object]:
        async with _around(method, context):
            async for answer in behaviour(_readable(request), context):
                yield answer

    return call


@asynccontextmanager
async def _around(method: str, context: Context) -> AsyncIterator[None]:
    """Everything that is the same for each call."""
    request_id = _request_id(context)
    name = method.rpartition("/")[2]
    started, code = time.perf_counter(), grpc.StatusCode.OK
    with structlog.contextvars.bound_contextvars(request_id=request_id, method=name):
        try:
            context.set_trailing_metadata(((_REQUEST_ID, request_id),))
            yield
        except (GeneratorExit, grpc.aio.AbortError):
            raise
        except Exception as error:
            status = to_status(error, request_id)
            code = grpc_code(status)
            if code is grpc.StatusCode.INTERNAL:
                _log.exception("call failed")
            # Metadata set before would be replaced by those that carry the details.
            details = rpc_status.to_status(status).trailing_metadata
            await context.abort(code, status.message, (*details, (_REQUEST_ID, request_id)))
        except BaseException:
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            seconds = time.perf_counter() - started
            CALLS.labels(name, code.name).inc()
            CALL_SECONDS.labels(name).observe(seconds)
            _log.info("call", code=code.name, seconds=round(seconds, 6))


def _request_id(context: Context) -> str:
    """The caller's id of the call if it sent a usable one, else a new one."""
    for key, value in context.invocation_metadata() or ():
        if (
            key == _REQUEST_ID
            and isinstance(value, str)
            and value.isprintable()
            and 0 < len(value) <= _LONGEST_REQUEST_ID
        ):
            return value
    return str(uuid.uuid4())
