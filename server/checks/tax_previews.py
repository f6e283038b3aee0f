"""Whether sales to preview can be made from the lots that are there."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from kernel.rebalancing.lots import LotMethod, TaxLot
from server.compute.tax_context import TaxContext, Traded
from server.errors import Fault, InvalidRequest
from server.rebalance_specs import TaxChoice
from storage.records import Portfolio

_ZERO = Decimal(0)


def check_sales(portfolio: Portfolio, context: TaxContext, sells: Sequence[Traded], choice: TaxChoice) -> None:
    """Refuse sales of more than is held, by the day and in the lots that are named.

    Args:
        portfolio: What is held.
        context: Its lots, and the day.
        sells: The sales, in the order of the request.
        choice: The lots that are named for the method SPECIFIC.

    Raises:
        InvalidRequest: With every fault.
    """
    lots = context.lots
    held = {holding.instrument_id: holding.quantity for holding in portfolio.holdings}
    faults = []
    for k, sell in enumerate(sells):
        name = sell.instrument_id
        if held.get(name, _ZERO) <= 0:
            faults.append(Fault(f"sales[{k}].instrument_id", f"{name} is not held by portfolio {portfolio.id}"))
        elif name not in lots:
            faults.append(Fault(f"sales[{k}].instrument_id", f"{name} is held without lots, so its tax is not known"))
        else:
            faults += _check_quantity(f"sales[{k}].quantity", sell, lots[name], context)
    faults += named_faults(context, sells, choice)
    if faults:
        raise InvalidRequest(faults)


def _check_quantity(field: str, sell: Traded, lots: Sequence[TaxLot], context: TaxContext) -> list[Fault]:
    total = sum((lot.quantity for lot in lots), _ZERO)
    if sell.quantity > total:
        return [
            Fault(field, f"must be at most the {total:f} shares of {sell.instrument_id} held, not {sell.quantity:f}")
        ]
    there = sum((lot.quantity for lot in lots if lot.acquired_on <= context.sold_on), _ZERO)
    if sell.quantity > there:
        day = context.sold_on.isoformat()
        return [Fault("sale_date", f"only {there:f} shares of {sell.instrument_id} were bought by {day}")]
    return []


def named_faults(context: TaxContext, sells: Sequence[Traded], choice: TaxChoice) -> list[Fault]:
    """What is wrong with the lots named for the method SPECIFIC: not there on the day, or too few for what is sold."""
    if choice.lot_method is not LotMethod.SPECIFIC:
        return []
    known = {lot.lot_id: (name, lot) for name, own in context.lots.items() for lot in own}
    sold = {sell.instrument_id: sell.quantity for sell in sells}
    named: dict[str, Decimal] = {}
    faults = []
    for k, (lot_id, quantity) in enumerate(choice.specific.items()):
        at = f"specific_lots[{k}]"
        if lot_id not in known:
            faults.append(Fault(f"{at}.lot_id", f"{lot_id} is not a lot of portfolio {context.portfolio_id}"))
            continue
        name, lot = known[lot_id]
        if name not in sold:
            faults.append(Fault(f"{at}.lot_id", f"{lot_id} is a lot of {name}, which is not sold"))
        if lot.acquired_on > context.sold_on:
            bought, day = lot.acquired_on.isoformat(), context.sold_on.isoformat()
            faults.append(Fault(f"{at}.lot_id", f"{lot_id} was bought on {bought}, after the sale on {day}"))
        if quantity is not None and quantity > lot.quantity:
            limit = f"must be at most the {lot.quantity:f} shares of {name} in lot {lot_id}, not {quantity:f}"
            faults.append(Fault(f"{at}.quantity", limit))
        named[name] = named.get(name, _ZERO) + (lot.quantity if quantity is None else quantity)
    short = [name for name, quantity in named.items() if quantity < sold.get(name, _ZERO)]
    faults += [
        Fault("specific_lots", f"of {name} hold {named[name]:f} shares, fewer than the {sold[name]:f} to be sold")
        for name in short
    ]
    return faults
