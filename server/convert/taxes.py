"""Tax estimates, to the wire."""

from __future__ import annotations

from collections.abc import Mapping

from portfolio_optimization.v1 import trade_pb2

from kernel.rebalancing.lots import LotMethod, LotSale, Term
from kernel.rebalancing.tax import SalesTax
from server.convert.trade_limits import LOT_METHODS

_TERMS = {Term.SHORT: trade_pb2.HOLDING_TERM_SHORT, Term.LONG: trade_pb2.HOLDING_TERM_LONG}


def write_tax(method: LotMethod, sales: Mapping[str, tuple[LotSale, ...]], tax: SalesTax) -> trade_pb2.TaxEstimate:
    """The tax of a plan's sales, lot by lot."""
    carried = tax.after.carried_short_term + tax.after.carried_long_term
    return trade_pb2.TaxEstimate(
        lot_method=LOT_METHODS[method],
        sales=[_write_lot_sale(name, sale) for name, lot_sales in sales.items() for sale in lot_sales],
        summary=trade_pb2.TaxSummary(
            short_term_gain_amount=f"{tax.gains.short_term:f}",
            long_term_gain_amount=f"{tax.gains.long_term:f}",
            tax_amount=f"{tax.additional_tax:f}",
            carried_loss_amount=f"{carried:f}",
        ),
    )


def _write_lot_sale(instrument_id: str, sale: LotSale) -> trade_pb2.TaxLotSale:
    return trade_pb2.TaxLotSale(
        lot_id=sale.lot.lot_id,
        instrument_id=instrument_id,
        acquired_on=sale.lot.acquired_on.isoformat(),
        quantity=f"{sale.quantity:f}",
        proceeds_amount=f"{sale.proceeds:f}",
        cost_amount=f"{sale.cost_basis:f}",
        gain_amount=f"{sale.gain:f}",
        term=_TERMS[sale.term],
    )
