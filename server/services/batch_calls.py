"""The calls of RebalancingService about batches."""

from __future__ import annotations

from collections.abc import AsyncIterator

from portfolio_optimization.v1 import rebalance_batches_pb2 as pb

from server.convert.batches import MOST_PORTFOLIOS, write_batch, write_item
from server.errors import Fault, InvalidRequest
from server.services.calls import Context, actor, page_size
from server.services.pages import cut, read_place, write_place
from server.workflows.batches import BatchWorkflow


class BatchCalls:
    """Batches of rebalances."""

    def __init__(self, batches: BatchWorkflow) -> None:
        self._batches = batches

    async def CreateRebalanceBatch(
        self, request: pb.CreateRebalanceBatchRequest, context: Context
    ) -> pb.CreateRebalanceBatchResponse:
        """Accept a batch; workers do it chunk by chunk."""
        return pb.CreateRebalanceBatchResponse(batch=write_batch(await self._batches.create(request, actor(context))))

    async def GetRebalanceBatch(
        self, request: pb.GetRebalanceBatchRequest, context: Context
    ) -> pb.GetRebalanceBatchResponse:
        """One batch with its progress."""
        return pb.GetRebalanceBatchResponse(batch=write_batch(await self._batches.find(request.batch_id)))

    async def WatchRebalanceBatch(
        self, request: pb.WatchRebalanceBatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchRebalanceBatchResponse]:
        """Every step until the end."""
        async for batch in self._batches.watch(request.batch_id):
            yield pb.WatchRebalanceBatchResponse(batch=write_batch(batch))

    async def CancelRebalanceBatch(
        self, request: pb.CancelRebalanceBatchRequest, context: Context
    ) -> pb.CancelRebalanceBatchResponse:
        """Stop a batch; one that has ended stays as it is."""
        return pb.CancelRebalanceBatchResponse(batch=write_batch(await self._batches.cancel(request.batch_id)))

    async def ListRebalanceBatchItems(
        self, request: pb.ListRebalanceBatchItemsRequest, context: Context
    ) -> pb.ListRebalanceBatchItemsResponse:
        """The portfolios that are done, in the order of the request."""
        size, after = page_size(request.page_size), _read_position(request.page_token)
        rows = await self._batches.items(request.batch_id, size + 1, after, only_failed=request.only_failed)
        page = cut(rows, size, lambda item: write_place(str(item.position)))
        return pb.ListRebalanceBatchItemsResponse(items=map(write_item, page.rows), next_page_token=page.next_token)


def _read_position(token: str) -> int:
    """The position behind which a page begins; -1 for the first page."""
    place = read_place(token)
    if not place:
        return -1
    if not (place.isascii() and place.isdigit()) or int(place) >= MOST_PORTFOLIOS:
        raise InvalidRequest([Fault("page_token", "is not a token of an earlier page")])
    return int(place)
