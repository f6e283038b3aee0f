"""Rebalance requests from the wire, plans to the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from portfolio_optimization.v1 import common_pb2, trade_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.lots import LotMethod, LotSale, Term
from kernel.rebalancing.mixed_integer import SearchSettings
from kernel.rebalancing.reasons import MissReason, TargetMiss
from kernel.rebalancing.request import TradeLimits
from kernel.rebalancing.tax import SalesTax
from kernel.rebalancing.trades import Trade
from server.convert.faults import FRACTION, Bounds, Faults
from server.convert.optimization import read_optimization, read_time_limit
from server.settings import Settings
from server.specs import CASH, OptimizationSpec
from server.vocabulary import TARGET_TYPES

_LOT_METHODS = {
    trade_pb2.LOT_METHOD_FIFO: LotMethod.FIFO,
    trade_pb2.LOT_METHOD_LIFO: LotMethod.LIFO,
    trade_pb2.LOT_METHOD_HIFO: LotMethod.HIFO,
    trade_pb2.LOT_METHOD_LEAST_TAX: LotMethod.LEAST_TAX,
}
LOT_METHODS = {method: number for number, method in _LOT_METHODS.items()}
_TERMS = {Term.SHORT: trade_pb2.HOLDING_TERM_SHORT, Term.LONG: trade_pb2.HOLDING_TERM_LONG}
_NOTES = {
    MissReason.DO_NOT_BUY: ("restricted", "may not be bought"),
    MissReason.DO_NOT_SELL: ("restricted", "may not be sold"),
    MissReason.MIN_TRADE_SIZE: ("below_min_trade_size", "the trade would be smaller than the smallest allowed"),
    MissReason.LIMITS: ("limits", "turnover, number of trades, cash or cost leave no better trade"),
}
_IMPACT_BPS = Bounds(0.0, 10_000.0, open_high=True)
_SUM_TOLERANCE = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class RebalanceSpec:
    """A rebalance request, checked. `lot_method` None = the portfolio's own."""

    portfolio_id: str
    target_type: str
    pricing_pack_id: str
    benchmark_id: str
    optimization_id: str
    custom_target: Mapping[str, Decimal]
    optimization: OptimizationSpec
    limits: TradeLimits
    two_way_turnover: bool
    costs: CostModel
    search: SearchSettings
    lot_method: LotMethod | None
    validate_only: bool


def read_rebalance(message: pb.RebalancePlanRequest, settings: Settings, faults: Faults) -> RebalanceSpec:
    """What a rebalance request means; what is wrong with it is added to `faults`."""
    faults.identifier("portfolio_id", message.portfolio_id)
    faults.identifier("request_id", message.request_id, required=False)
    faults.text("reason", message.reason)
    target_type = faults.word("target_type", message.target_type, TARGET_TYPES)
    _refuse_later_fields(message, faults)
    seconds = read_time_limit(message.time_limit_seconds, settings, faults)
    two_way = _read_two_way(message.constraints, faults)
    return RebalanceSpec(
        portfolio_id=message.portfolio_id,
        target_type=target_type,
        pricing_pack_id=faults.identifier("pricing_pack_id", message.pricing_pack_id, required=False),
        benchmark_id=faults.identifier("benchmark_id", message.benchmark_id, required=False),
        optimization_id=faults.identifier(
            "optimization_id", message.optimization_id, required=target_type == "optimization"
        ),
        custom_target=_read_custom(message, faults),
        optimization=_read_optimal(message, settings, faults),
        limits=_read_limits(message.constraints, two_way, settings, faults),
        two_way_turnover=two_way,
        costs=_read_costs(message.constraints, settings, faults),
        search=SearchSettings(time_limit_seconds=seconds),
        lot_method=_read_lot_method(message.constraints, faults),
        validate_only=message.validate_only,
    )


def _refuse_later_fields(message: pb.RebalancePlanRequest, faults: Faults) -> None:
    """Fields of the contract that this version would have to ignore are refused instead."""
    for field in ("policy_id", "policy_version", "on_conflict", "relax_order", "cash_flow_amount", "drift"):
        if _is_set(message, field):
            faults.not_served(field)
    if message.HasField("strategy") and message.strategy != pb.REBALANCE_STRATEGY_FULL:
        faults.not_served("strategy (served: FULL)")
    for field in ("specific_lots", "avoid_short_term_gains", "harvest_losses", "max_participation"):
        if _is_set(message.constraints, field):
            faults.not_served(f"constraints.{field}")


def _is_set(message: pb.RebalancePlanRequest | pb.RebalanceConstraints, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())


def _read_custom(message: pb.RebalancePlanRequest, faults: Faults) -> dict[str, Decimal]:
    weights = faults.numbers("custom_target", message.custom_target, FRACTION)
    if message.target_type == "custom" and not weights:
        faults.add("custom_target", "is required for the target type custom")
    if message.target_type != "custom" and weights:
        faults.add("custom_target", "belongs to the target type custom")
    exact = {name: Decimal(repr(weight)) for name, weight in weights.items() if FRACTION.hold(weight)}
    total = sum(exact.values(), Decimal(0))
    if total > 1 + _SUM_TOLERANCE:
        faults.add("custom_target", f"must add up to at most 1, not {total}")
    return {name: weight for name, weight in exact.items() if name != CASH}


def _read_optimal(message: pb.RebalancePlanRequest, settings: Settings, faults: Faults) -> OptimizationSpec:
    """The optimization behind the target type optimal; maximum Sharpe ratio unless said otherwise."""
    asked = message.optimization
    given = message.HasField("optimization")
    if given and message.target_type != "optimal":
        faults.add("optimization", "belongs to the target type optimal")
    if given and asked.portfolio_id not in ("", message.portfolio_id):
        faults.add("optimization.portfolio_id", f"must be empty or {message.portfolio_id!r}")
    filled = type(asked)()
    filled.CopyFrom(asked)
    filled.portfolio_id = message.portfolio_id or "-"
    filled.pricing_pack_id = message.pricing_pack_id or asked.pricing_pack_id
    filled.optimization_type = asked.optimization_type or "mean_variance"
    if filled.optimization_type == "mean_variance" and not asked.objective:
        filled.objective = "maximize_sharpe"
    if message.constraints.consider_tax_implications:
        filled.preferences.consider_tax_implications = True
    return read_optimization(filled, settings, faults)


def _read_two_way(message: pb.RebalanceConstraints, faults: Faults) -> bool:
    if not message.HasField("turnover_definition"):
        return False
    if message.turnover_definition == common_pb2.TURNOVER_DEFINITION_UNSPECIFIED:
        faults.add("constraints.turnover_definition", "must be ONE_WAY or TWO_WAY")
    return message.turnover_definition == common_pb2.TURNOVER_DEFINITION_TWO_WAY


def _read_limits(message: pb.RebalanceConstraints, two_way: bool, settings: Settings, faults: Faults) -> TradeLimits:  # noqa: FBT001
    at = "constraints"
    turnover = faults.limit(f"{at}.max_turnover", message.max_turnover, Bounds(0.0, 2.0 if two_way else 1.0))
    smallest = faults.limit(f"{at}.min_trade_size", message.min_trade_size, Bounds(0.0))
    if message.max_trades < 0:
        faults.add(f"{at}.max_trades", f"must be at least 0, not {message.max_trades}")
    frozen = _read_names(f"{at}.do_not_trade", message.do_not_trade, faults)
    return TradeLimits(
        min_trade_value=settings.min_trade_value if smallest is None else _exact(smallest),
        max_trades=max(message.max_trades, 0) or None,
        max_turnover=None if turnover is None else _exact(turnover) / (2 if two_way else 1),
        min_cash=read_amount(f"{at}.min_cash_amount", message.min_cash_amount, faults) or Decimal(0),
        do_not_buy=_read_names(f"{at}.do_not_buy", message.do_not_buy, faults) | frozen,
        do_not_sell=_read_names(f"{at}.do_not_sell", message.do_not_sell, faults) | frozen,
    )


def _exact(value: float) -> Decimal:
    """The shortest decimal that is this number; nothing useful where a fault was noted."""
    return Decimal(repr(value)) if Bounds(0.0).hold(value) else Decimal(0)


def _read_names(field: str, names: Iterable[str], faults: Faults) -> frozenset[str]:
    return frozenset(faults.identifier(f"{field}[{k}]", name) for k, name in enumerate(names))


def _read_costs(message: pb.RebalanceConstraints, settings: Settings, faults: Faults) -> CostModel:
    field = "constraints.commission_per_trade_amount"
    commission = read_amount(field, message.commission_per_trade_amount, faults)
    impact = settings.market_impact_bps
    if message.HasField("market_impact_bps"):
        bps = faults.number("constraints.market_impact_bps", message.market_impact_bps, _IMPACT_BPS)
        impact = _exact(bps) if _IMPACT_BPS.hold(bps) else impact
    return CostModel(settings.commission_per_trade if commission is None else commission, impact)


def _read_lot_method(message: pb.RebalanceConstraints, faults: Faults) -> LotMethod | None:
    if not message.HasField("lot_method"):
        return LotMethod.LEAST_TAX if message.consider_tax_implications else None
    if message.lot_method == trade_pb2.LOT_METHOD_SPECIFIC:
        faults.not_served("constraints.lot_method SPECIFIC")
    elif message.lot_method not in _LOT_METHODS:
        accepted = ", ".join(map(trade_pb2.LotMethod.Name, _LOT_METHODS))
        faults.add("constraints.lot_method", f"must be one of {accepted}")
    return _LOT_METHODS.get(message.lot_method)


def read_amount(field: str, text: str, faults: Faults) -> Decimal | None:
    """An amount of money >= 0; None where the text is empty."""
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        faults.add(field, f"must be a decimal number, not {text[:40]!r}")
        return None
    if not amount.is_finite() or amount < 0 or amount > Decimal("1e15"):
        faults.add(field, f"must be at least 0 and at most 1e15, not {text[:40]}")
        return None
    return amount


def write_trade(trade: Trade) -> trade_pb2.Trade:
    """One trade."""
    return trade_pb2.Trade(
        instrument_id=trade.instrument_id,
        action=trade.action.value,
        quantity=float(trade.quantity),
        exact_quantity=f"{trade.quantity:f}",
        estimated_value=float(trade.value),
        price_amount=f"{trade.price:f}",
        weight_change=float(trade.weight_change),
        priority=trade.priority,
        transaction_cost_amount=f"{trade.cost:f}",
        transaction_cost_fraction=float(trade.cost / trade.value) if trade.value else 0.0,
        reason=trade.reason,
    )


def write_note(miss: TargetMiss) -> pb.PlanNote:
    """Why a position stays away from its target."""
    code, reason = _NOTES[miss.reason]
    direction = "above" if miss.value > 0 else "below"
    message = f"{miss.instrument_id} ends {abs(miss.value)} {direction} its target: {reason}"
    return pb.PlanNote(code=code, instrument_id=miss.instrument_id, message=message)


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
