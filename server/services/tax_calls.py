"""The calls of the rebalancing service about taxes."""

from __future__ import annotations

from portfolio_optimization.v1 import rebalancing_calls_pb2 as pb

from server.convert.tax_previews import write_preview
from server.services.calls import Context
from server.workflows.taxes import TaxWorkflow


class TaxCalls:
    """Tax previews."""

    def __init__(self, taxes: TaxWorkflow) -> None:
        self._tax_workflow = taxes

    async def PreviewTax(self, request: pb.PreviewTaxRequest, context: Context) -> pb.PreviewTaxResponse:
        """The tax of a plan's trades, or of any sales, under several choices of lots."""
        return write_preview(await self._tax_workflow.preview(request))
