"""What a refused call says."""

from collections.abc import Awaitable

import grpc
import pytest

from tests.integration.server.open_service import violations


async def refused(call: Awaitable[object], code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT) -> dict[str, str]:
    """Field paths and descriptions of a call that must be refused with this code."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code, caught.value.details()
    return violations(caught.value)


async def not_found(call: Awaitable[object]) -> str:
    """The message of a call that must find nothing."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND, caught.value.details()
    return caught.value.details() or ""
