"""What a set of trades leads to, to the cent: cash, costs, tax, risk, and by how much it breaks each limit.

Money is exact in Decimals. The tracking error alone is a number of binary floating point: the risk model is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

import numpy as np

from kernel.rebalancing.book import Book, Position
from kernel.rebalancing.costs import trade_cost
from kernel.rebalancing.lot_book import LotBook, LotParts, SaleLot, sold_lots
from kernel.rebalancing.lots import LotSale, Term
from kernel.rebalancing.money import ZERO, to_cents
from kernel.rebalancing.netting import unrounded_tax
from kernel.rebalancing.request import TradeDistance, TradeLimits, WeightLimit
from kernel.rebalancing.tax import NetGains, SalesTax, net_gains, tax_on

Quantities = tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Trades:
    """A set of trades.

    Attributes:
        quantities: Shares per position, positive bought and negative sold.
        lots: By instrument, the lots of a sale where the search chose them; others are filled in the method's order.
    """

    quantities: Quantities
    lots: Mapping[str, LotParts] = field(default_factory=dict)

    def parts(self, book: Book) -> dict[str, LotParts]:
        """The lots that each sale is filled from, in the order of the positions."""
        filled: dict[str, LotParts] = {}
        for position, quantity in zip(book.positions, self.quantities, strict=True):
            name = position.instrument_id
            if quantity < ZERO and name in book.lots:
                filled[name] = self.lots[name] if name in self.lots else book.lots[name].fill(-quantity)
        return filled


@dataclass(frozen=True, slots=True)
class SaleGains:
    """What sales realise.

    Attributes:
        recognised: Net gains of each term, disallowed losses left out.
        returned: Of these, what disallowed losses add back.
        disallowed: Losses that are disallowed, of the sales and of earlier ones that purchases replace, money >= 0.
        clashes: Of these, the losses of sales beside a purchase of what is substantially identical.
        short_term: Sum of the short-term gains of lots, losses not counted.
        unfilled: Shares sold that no lot may be sold for.
    """

    recognised: NetGains = field(default_factory=NetGains)
    returned: NetGains = field(default_factory=NetGains)
    disallowed: Decimal = ZERO
    clashes: Decimal = ZERO
    short_term: Decimal = ZERO
    unfilled: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Settlement:
    """What trades lead to.

    Attributes:
        cash: Money after trades and costs, to the cent.
        cost: Money paid for trading, to the cent.
        turnover_value: Money of one-way turnover, 1/2 (sum |trade values| + |cash change|).
        distance: What the plan is measured by, money; cash is not counted.
        objective: distance + unrounded cost + weight * unrounded tax.
        unrounded_cost: Part of the objective.
        tax: Tax that the sales add to the year's, unrounded.
        gains: What the sales realise.
        tracking_error: Annual; None without a risk model.
        bill: Tax to the cent, where it or the gains are limited.
        broken: By the name of a limit, by how much it is broken: money, and trades too many; empty for a valid plan.
    """

    cash: Decimal
    cost: Decimal
    turnover_value: Decimal
    distance: Decimal
    objective: Decimal
    unrounded_cost: Decimal
    tax: Decimal
    gains: SaleGains
    tracking_error: float | None
    bill: SalesTax | None
    broken: Mapping[str, Decimal]

    @property
    def violation(self) -> Decimal:
        """All that is broken together; zero for a valid plan."""
        return sum(self.broken.values(), ZERO)


def settle(book: Book, trades: Trades) -> Settlement:
    """Carries trades out on paper.

    Args:
        book: The problem.
        trades: The trades.

    Returns:
        What they lead to, with the amounts by which limits are broken.
    """
    cash, cost, exact_cost, traded, missed = book.cash, ZERO, ZERO, ZERO, ZERO
    for position, quantity in zip(book.positions, trades.quantities, strict=True):
        missed += abs((position.held + quantity) * position.price - position.target_value)
        if not quantity:
            continue
        charge = trade_cost(abs(quantity), position.price, book.costs, position.power)
        value = to_cents(quantity * position.price)
        cash -= value + charge.total
        cost += charge.total
        exact_cost += charge.commission + charge.impact
        traded += abs(value)
    error = tracking_error(book, trades.quantities)
    distance = missed if book.distance is TradeDistance.TARGET_VALUE else _risk_in_money(book, error or 0.0)
    gains = realised(book, trades) if book.lots else SaleGains()
    tax = added_tax(book, gains)
    outcome = Settlement(
        cash=cash,
        cost=cost,
        turnover_value=(traded + abs(cash - book.cash)) / 2,
        distance=distance,
        objective=distance + exact_cost + book.tax_weight * tax,
        unrounded_cost=exact_cost,
        tax=tax,
        gains=gains,
        tracking_error=error,
        bill=sales_tax(book, trades) if _limits_the_bill(book.limits) else None,
        broken={},
    )
    return replace(outcome, broken=_broken(book, trades, outcome))


def tracking_error(book: Book, quantities: Quantities) -> float | None:
    """Annual tracking error against the reference after trades; None without a risk model.

    sqrt(y'y + sum_i d_i z_i^2),   z = w - reference,  y = F'z
    """
    risk, total = book.risk, book.total_value
    if risk is None or not total:
        return None
    row = {name: k for k, name in enumerate(risk.names)}
    active = -risk.reference
    for position, quantity in zip(book.positions, quantities, strict=True):
        active[row[position.instrument_id]] += float((position.held + quantity) * position.price / total)
    exposures = risk.factors.T @ active
    return float(np.sqrt(exposures @ exposures + risk.specific @ active**2))


def added_tax(book: Book, gains: SaleGains) -> Decimal:
    """Tax that gains add to what the year has realised already, unrounded."""
    if book.tax is None:
        return ZERO
    before, rules = book.tax.year_to_date, book.tax.rules
    return unrounded_tax(before.plus(gains.recognised), rules) - unrounded_tax(before, rules)


def least_objective(book: Book) -> Decimal:
    """No trades have a smaller objective: all losses sold and allowed, at no distance and no cost."""
    if not book.tax_weight:
        return ZERO
    losses = {Term.SHORT: ZERO, Term.LONG: ZERO}
    for lots in book.lots.values():
        for lot in lots.lots:
            losses[lot.term] += min(ZERO, lot.gain * lot.available)
    return book.tax_weight * added_tax(book, SaleGains(NetGains(losses[Term.SHORT], losses[Term.LONG])))


def lot_sales(book: Book, trades: Trades) -> dict[str, tuple[LotSale, ...]]:
    """The lots that sales are filled from, to the cent."""
    if book.tax is None:
        return {}
    prices = {position.instrument_id: position.price for position in book.positions}
    parts = trades.parts(book)
    return {name: sold_lots(sale, prices[name], book.tax) for name, sale in parts.items() if sale}


def sales_tax(book: Book, trades: Trades) -> SalesTax | None:
    """Tax that the trades add to the year's, to the cent, disallowed losses left out; None without tax."""
    if book.tax is None:
        return None
    realises = realised(book, trades)
    back = NetGains(to_cents(realises.returned.short_term), to_cents(realises.returned.long_term))
    gains = net_gains(sale for sales in lot_sales(book, trades).values() for sale in sales).plus(back)
    before, after = (
        tax_on(sums, book.tax.rules) for sums in (book.tax.year_to_date, book.tax.year_to_date.plus(gains))
    )
    return SalesTax(gains, before, after, after.tax - before.tax, to_cents(realises.disallowed))


def weight_of(limit: WeightLimit, book: Book, quantities: Quantities) -> Decimal:
    """The left-hand side of a weight limit after trades."""
    pairs = zip(book.positions, quantities, strict=True)
    value = sum(
        (
            limit.coefficients[p.instrument_id] * (p.held + q) * p.price
            for p, q in pairs
            if p.instrument_id in limit.coefficients
        ),
        ZERO,
    )
    return value / book.total_value if book.total_value else ZERO


def realised(book: Book, trades: Trades) -> SaleGains:
    """Adds up what the sales realise, and what wash sales disallow of it.

    The first shares sold at a loss are disallowed, in the order of their purchase, as many as replacements remain;
    shares of one purchase replace each other only by the literal reading. Purchases replace shares sold at a
    loss before, in the order of the sales.

    Args:
        book: The problem.
        trades: The trades.

    Returns:
        Gains of each term, and what is disallowed.
    """
    totals = {Term.SHORT: ZERO, Term.LONG: ZERO}
    back = dict(totals)
    clashes = short_term = unfilled = ZERO
    parts = trades.parts(book)
    bought = {p.instrument_id: q for p, q in zip(book.positions, trades.quantities, strict=True) if q > ZERO}
    sold = {p.instrument_id: -q for p, q in zip(book.positions, trades.quantities, strict=True) if q < ZERO}
    for name, sale in parts.items():
        lots = book.lots[name]
        unfilled += (sold[name] if lots.lots else ZERO) - sum((quantity for _, quantity in sale), ZERO)
        refused = _disallowed_shares(lots, sale)
        for lot, quantity in sale:
            totals[lot.term] += lot.gain * quantity
            back[lot.term] -= lot.gain * refused.get(lot.lot.lot_id, ZERO)
            short_term += lot.gain * quantity if lot.is_short_term_gain else ZERO
            clashes -= lot.gain * quantity if lot.is_loss and lots.identical & bought.keys() else ZERO
    for name, quantity in bought.items():
        for term, loss in _losses_taken_back(book.lots.get(name), quantity):
            back[term] += loss
    returned = NetGains(back[Term.SHORT], back[Term.LONG])
    recognised = NetGains(totals[Term.SHORT], totals[Term.LONG]).plus(returned)
    return SaleGains(recognised, returned, returned.total + clashes, clashes, short_term, unfilled)


def _disallowed_shares(lots: LotBook, sale: LotParts) -> dict[str, Decimal]:
    """Shares of each lot whose loss is disallowed.

    What stays of the account's own lots replaces first, in the order of purchase; when other accounts' purchases came
    before it, that can disallow more than the ledger does, never less.
    """
    sold = {lot.lot.lot_id: quantity for lot, quantity in sale}
    replacing = sorted(lots.replacing, key=_purchase)
    stays = {lot: min(lot.own, lot.lot.quantity - sold.get(lot.lot.lot_id, ZERO)) for lot in replacing}
    elsewhere = lots.replacements
    refused: dict[str, Decimal] = {}
    for lot, quantity in sorted(sale, key=lambda part: _purchase(part[0])):
        if not lot.is_loss:
            continue
        left = quantity
        for other in (other for other in stays if lots.replaces(other, lot)):
            taken = min(left, stays[other])
            stays[other] -= taken
            left -= taken
        taken = min(left, elsewhere)
        elsewhere -= taken
        refused[lot.lot.lot_id] = quantity - left + taken
    return refused


def _purchase(lot: SaleLot) -> tuple[date, str]:
    return lot.lot.acquired_on, lot.lot.lot_id


def _losses_taken_back(lots: LotBook | None, quantity: Decimal) -> list[tuple[Term, Decimal]]:
    taken: list[tuple[Term, Decimal]] = []
    for loss in lots.open_losses if lots is not None else ():
        part = min(quantity, loss.quantity)
        taken.append((Term.SHORT if loss.short_term else Term.LONG, part * loss.loss_per_share))
        quantity -= part
    return taken


def _risk_in_money(book: Book, error: float) -> Decimal:
    assert book.risk is not None
    return Decimal(book.risk.aversion / 2.0 * error**2) * book.total_value


def _broken(book: Book, trades: Trades, outcome: Settlement) -> dict[str, Decimal]:
    limits, total, error, gains = book.limits, book.total_value, outcome.tracking_error, outcome.gains
    over = {"min_cash_amount": limits.min_cash - outcome.cash, "lots": gains.unfilled, "identical": gains.clashes}
    if limits.max_turnover is not None:
        over["max_turnover"] = outcome.turnover_value - limits.max_turnover * total
    if limits.max_trades is not None:
        over["max_trades"] = Decimal(sum(1 for quantity in trades.quantities if quantity) - limits.max_trades)
    if limits.max_tracking_error is not None and error is not None and error > float(limits.max_tracking_error):
        over["max_tracking_error"] = (Decimal(error) - limits.max_tracking_error) * total
    if book.tax is not None and not book.tax.price_wash_sales:
        over["wash_sales"] = gains.disallowed
    over["min_trade_size"] = _too_small(book, trades.quantities)
    for limit in limits.weights:
        weight = weight_of(limit, book, trades.quantities)
        low = ZERO if limit.minimum is None else limit.minimum - weight
        high = ZERO if limit.maximum is None else weight - limit.maximum
        over[limit.name] = max(low, high) * total
    if outcome.bill is not None and limits.max_tax is not None:
        over["max_tax_amount"] = outcome.bill.additional_tax - limits.max_tax
    if outcome.bill is not None and limits.max_realized_gain is not None:
        over["max_realized_gain_amount"] = outcome.bill.gains.total - limits.max_realized_gain
    return {name: amount for name, amount in over.items() if amount > ZERO}


def _limits_the_bill(limits: TradeLimits) -> bool:
    return limits.max_tax is not None or limits.max_realized_gain is not None


def _too_small(book: Book, quantities: Quantities) -> Decimal:
    smallest = book.limits.min_trade_value
    return sum((_short_of(p, q, smallest) for p, q in zip(book.positions, quantities, strict=True)), ZERO)


def _short_of(position: Position, quantity: Decimal, smallest: Decimal) -> Decimal:
    if not quantity or quantity == -position.held:
        return ZERO
    return max(ZERO, smallest - abs(quantity) * position.price)
