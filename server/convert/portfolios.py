"""Portfolios, from the wire and back."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from portfolio_optimization.v1 import portfolio_data_pb2 as pb

from server.convert.accounts import account_json, from_json, read_account, read_tax, write_account, write_tax
from server.convert.answers import timestamp
from server.convert.faults import Faults
from server.convert.preferences import read_preferences
from server.convert.text_values import (
    MONEY,
    MONEY_NOT_NEGATIVE,
    SHARES,
    SHARES_ABOVE_ZERO,
    read_code,
    read_day,
    read_decimal,
    read_words,
    refuse_repeats,
    write_day,
    write_decimal,
)
from server.settings import Settings
from server.specs import CASH
from storage.records import Holding, Portfolio, PricingPack, TaxLot

_MOST_HOLDINGS = 10_000
_MOST_LOTS = 100_000
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Valuation:
    """What a portfolio is worth on a pricing pack, in its currency; weights only where that is above zero."""

    pack: PricingPack
    value: Decimal
    weights: dict[str, float]


def read_portfolio(message: pb.PutPortfolioRequest, settings: Settings, faults: Faults) -> Portfolio:
    """The portfolio of a request; what is wrong with it is added to `faults`."""
    portfolio, at = message.portfolio, "portfolio"
    if not portfolio.base_currency:
        faults.add(f"{at}.base_currency", "is required")
    tax = read_tax(f"{at}.tax", portfolio.tax, faults)
    holdings, lots = _read_holdings(portfolio, faults), _read_lots(portfolio, faults)
    _check_sums(holdings, lots, faults)
    return Portfolio(
        id=faults.identifier(f"{at}.portfolio_id", portfolio.portfolio_id),
        name=read_words(f"{at}.name", portfolio.name, faults),
        base_currency=read_code(f"{at}.base_currency", portfolio.base_currency, 3, faults),
        cash=read_decimal(f"{at}.cash_amount", portfolio.cash_amount, MONEY, faults) or _ZERO,
        benchmark_id=faults.identifier(f"{at}.benchmark_id", portfolio.benchmark_id, required=False) or None,
        short_term_tax_rate=tax.short_term_rate,
        long_term_tax_rate=tax.long_term_rate,
        lot_method=tax.lot_method,
        account=account_json(read_account(f"{at}.account", portfolio.account, faults), tax),
        preferences=read_preferences(f"{at}.preferences", portfolio.preferences, settings, faults),
        holdings=holdings,
        lots=lots,
    )


def _read_holdings(message: pb.Portfolio, faults: Faults) -> tuple[Holding, ...]:
    field = "portfolio.holdings"
    if len(message.holdings) > _MOST_HOLDINGS:
        faults.add(field, f"must have at most {_MOST_HOLDINGS} items, not {len(message.holdings)}")
        return ()
    refuse_repeats(field, (holding.instrument_id for holding in message.holdings), faults)
    return tuple(_read_holding(f"{field}[{k}]", holding, faults) for k, holding in enumerate(message.holdings))


def _read_holding(field: str, message: pb.Holding, faults: Faults) -> Holding:
    _read_instrument_id(field, message.instrument_id, faults)
    quantity = read_decimal(f"{field}.quantity", message.quantity, SHARES, faults)
    if not message.quantity or quantity == 0:
        faults.add(f"{field}.quantity", "must be a number of shares other than 0")
    return Holding(message.instrument_id, quantity or _ZERO)


def _read_lots(message: pb.Portfolio, faults: Faults) -> tuple[TaxLot, ...]:
    field = "portfolio.lots"
    if len(message.lots) > _MOST_LOTS:
        faults.add(field, f"must have at most {_MOST_LOTS} items, not {len(message.lots)}")
        return ()
    refuse_repeats(field, (lot.lot_id for lot in message.lots), faults)
    return tuple(_read_lot(f"{field}[{k}]", lot, faults) for k, lot in enumerate(message.lots))


def _read_lot(field: str, message: pb.TaxLot, faults: Faults) -> TaxLot:
    _read_instrument_id(field, message.instrument_id, faults)
    if not message.quantity:
        faults.add(f"{field}.quantity", "is required")
    cost = message.cost_per_share_amount
    acquired = read_day(f"{field}.acquired_on", message.acquired_on, faults)
    since = read_day(f"{field}.held_since", message.held_since, faults)
    if since is not None and (acquired is None or since > acquired):
        faults.add(f"{field}.held_since", "must not be after acquired_on, which it needs")
    return TaxLot(
        id=faults.identifier(f"{field}.lot_id", message.lot_id),
        instrument_id=message.instrument_id,
        quantity=read_decimal(f"{field}.quantity", message.quantity, SHARES_ABOVE_ZERO, faults) or _ZERO,
        acquired_on=acquired,
        cost_per_share=read_decimal(f"{field}.cost_per_share_amount", cost, MONEY_NOT_NEGATIVE, faults),
        held_since=since,
        replaced_loss=message.replaced_loss,
    )


def _read_instrument_id(field: str, instrument_id: str, faults: Faults) -> None:
    faults.identifier(f"{field}.instrument_id", instrument_id)
    if instrument_id == CASH:
        faults.add(f"{field}.instrument_id", f"must not be {CASH}: cash goes into cash_amount")


def _check_sums(holdings: tuple[Holding, ...], lots: tuple[TaxLot, ...], faults: Faults) -> None:
    """The lots of an instrument add up to its holding, to the last digit; faulty quantities were noted before."""
    held = {holding.instrument_id: holding.quantity for holding in holdings}
    sums: dict[str, Decimal] = {}
    for lot in lots:
        sums[lot.instrument_id] = sums.get(lot.instrument_id, _ZERO) + lot.quantity
    for name in sorted(sums.keys() - {lot.instrument_id for lot in lots if not lot.quantity}):
        if name not in held:
            faults.add(f"portfolio.lots[{name}]", f"add up to {sums[name]:f}, but none are held")
        elif held[name] and held[name] != sums[name]:
            faults.add(f"portfolio.lots[{name}]", f"add up to {sums[name]:f}, but held are {held[name]:f}")


def write_portfolio(portfolio: Portfolio) -> pb.Portfolio:
    """A portfolio as a whole.

    Raises:
        NotReady: Its account or preferences were brought in by a file and are not what the contract says.
    """
    return pb.Portfolio(
        portfolio_id=portfolio.id,
        name=portfolio.name,
        base_currency=portfolio.base_currency,
        cash_amount=write_decimal(portfolio.cash),
        holdings=map(_write_holding, portfolio.holdings),
        lots=map(_write_lot, portfolio.lots),
        benchmark_id=portfolio.benchmark_id or "",
        account=write_account(portfolio),
        tax=write_tax(portfolio),
        preferences=_write_preferences(portfolio),
        updated_at=timestamp(portfolio.updated_at),
    )


def _write_preferences(portfolio: Portfolio) -> pb.PortfolioPreferences | None:
    if not portfolio.preferences:
        return None
    return from_json(portfolio.preferences, pb.PortfolioPreferences(), f"preferences of portfolio {portfolio.id}")


def _write_holding(holding: Holding) -> pb.Holding:
    return pb.Holding(instrument_id=holding.instrument_id, quantity=write_decimal(holding.quantity))


def _write_lot(lot: TaxLot) -> pb.TaxLot:
    return pb.TaxLot(
        lot_id=lot.id,
        instrument_id=lot.instrument_id,
        acquired_on=write_day(lot.acquired_on),
        quantity=write_decimal(lot.quantity),
        cost_per_share_amount=write_decimal(lot.cost_per_share),
        held_since=write_day(lot.held_since),
        replaced_loss=lot.replaced_loss,
    )


def write_valuation(valuation: Valuation) -> pb.PortfolioValuation:
    """The value of a portfolio."""
    return pb.PortfolioValuation(
        pricing_pack_id=valuation.pack.id,
        as_of=valuation.pack.as_of.isoformat(),
        value_amount=write_decimal(valuation.value),
        weights=valuation.weights,
    )


def write_portfolio_summary(portfolio: Portfolio) -> pb.PortfolioSummary:
    """One line of a list."""
    return pb.PortfolioSummary(
        portfolio_id=portfolio.id,
        name=portfolio.name,
        base_currency=portfolio.base_currency,
        holding_count=len(portfolio.holdings),
        benchmark_id=portfolio.benchmark_id or "",
        updated_at=timestamp(portfolio.updated_at),
    )
