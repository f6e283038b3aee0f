"""Limits, costs, tax choices and execution settings of a rebalance request, from the wire."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from portfolio_optimization.v1 import common_pb2, trade_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.lots import LotMethod
from kernel.rebalancing.request import TradeDistance, TradeLimits
from server.convert.faults import FRACTION, POSITIVE, Bounds, Faults
from server.convert.text_values import MONEY_NOT_NEGATIVE, SHARES_ABOVE_ZERO, read_day, read_decimal
from server.rebalance_specs import ExecutionSpec, PositionLimits, TaxChoice
from server.settings import Settings

_AT = "constraints"
_LOT_METHODS = {
    trade_pb2.LOT_METHOD_FIFO: LotMethod.FIFO,
    trade_pb2.LOT_METHOD_LIFO: LotMethod.LIFO,
    trade_pb2.LOT_METHOD_HIFO: LotMethod.HIFO,
    trade_pb2.LOT_METHOD_LEAST_TAX: LotMethod.LEAST_TAX,
    trade_pb2.LOT_METHOD_SPECIFIC: LotMethod.SPECIFIC,
}
LOT_METHODS = {method: number for number, method in _LOT_METHODS.items()}
_DISTANCES = {
    pb.TRADE_DISTANCE_TARGET_VALUE: TradeDistance.TARGET_VALUE,
    pb.TRADE_DISTANCE_TRACKING_RISK: TradeDistance.TRACKING_RISK,
}
_WASH_SALES = {pb.WASH_SALE_HANDLING_AVOID: False, pb.WASH_SALE_HANDLING_PRICE: True}
_IMPACT_BPS = Bounds(0.0, 10_000.0, open_high=True)
_TAX_WEIGHT = Bounds(0.0, 1000.0)
_DAYS = Bounds(0, 250)
_LARGEST_FACTOR = Bounds(0.0, 1e6)


def read_two_way(message: pb.RebalanceConstraints, faults: Faults) -> bool:
    """Whether turnover is counted both ways."""
    if not message.HasField("turnover_definition"):
        return False
    if message.turnover_definition not in (
        common_pb2.TURNOVER_DEFINITION_ONE_WAY,
        common_pb2.TURNOVER_DEFINITION_TWO_WAY,
    ):
        faults.add(f"{_AT}.turnover_definition", "must be ONE_WAY or TWO_WAY")
    return message.turnover_definition == common_pb2.TURNOVER_DEFINITION_TWO_WAY


def read_limits(message: pb.RebalanceConstraints, settings: Settings, faults: Faults) -> TradeLimits:
    """Limits that need no universe; turnover as one-way."""
    ways = 2 if read_two_way(message, Faults()) else 1
    turnover = faults.limit(f"{_AT}.max_turnover", message.max_turnover, Bounds(0.0, float(ways)))
    smallest = faults.limit(f"{_AT}.min_trade_size", message.min_trade_size, Bounds(0.0))
    tracking = faults.limit(f"{_AT}.max_tracking_error", message.max_tracking_error, POSITIVE)
    if message.max_trades < 0:
        faults.add(f"{_AT}.max_trades", f"must be at least 0, not {message.max_trades}")
    frozen = _read_names("do_not_trade", message.do_not_trade, faults)
    return TradeLimits(
        min_trade_value=settings.min_trade_value if smallest is None else exact(smallest),
        max_trades=max(message.max_trades, 0) or None,
        max_turnover=None if turnover is None else exact(turnover) / ways,
        min_cash=_read_money("min_cash_amount", message, faults) or Decimal(0),
        do_not_buy=_read_names("do_not_buy", message.do_not_buy, faults) | frozen,
        do_not_sell=_read_names("do_not_sell", message.do_not_sell, faults) | frozen,
        max_tracking_error=None if tracking is None else exact(tracking),
        max_tax=_read_money("max_tax_amount", message, faults),
        max_realized_gain=_read_money("max_realized_gain_amount", message, faults),
    )


def read_positions(message: pb.RebalanceConstraints, faults: Faults) -> PositionLimits:
    """Limits on the weights after the trades."""
    position = faults.limit(f"{_AT}.max_position", message.max_position, FRACTION)
    sector = faults.limit(f"{_AT}.max_sector", message.max_sector, FRACTION)
    return PositionLimits(
        max_position=None if position is None else exact(position), max_sector=None if sector is None else exact(sector)
    )


def read_min_trade_fraction(message: pb.RebalanceConstraints, faults: Faults) -> Decimal:
    """The smallest trade as a fraction of the portfolio's value."""
    return exact(faults.number(f"{_AT}.min_trade_fraction", message.min_trade_fraction, FRACTION))


def read_distance(message: pb.RebalanceConstraints, faults: Faults) -> tuple[TradeDistance, float]:
    """What the plan is measured by, and the weight of the variance."""
    aversion = faults.limit(f"{_AT}.risk_aversion", message.risk_aversion, POSITIVE)
    if not message.HasField("distance"):
        if aversion is not None:
            faults.add(f"{_AT}.risk_aversion", "belongs to the distance TRACKING_RISK")
        return TradeDistance.TARGET_VALUE, 10.0
    if message.distance not in _DISTANCES:
        faults.add(f"{_AT}.distance", f"must be one of {', '.join(map(pb.TradeDistance.Name, _DISTANCES))}")
    return _DISTANCES.get(message.distance, TradeDistance.TARGET_VALUE), 10.0 if aversion is None else aversion


def read_costs(message: pb.RebalanceConstraints, settings: Settings, faults: Faults) -> CostModel:
    """Commission and proportional impact; the service's default impact only where no other law is asked for."""
    commission = _read_money("commission_per_trade_amount", message, faults)
    impact = Decimal(0) if message.impact_coefficient else settings.market_impact_bps
    if message.HasField("market_impact_bps"):
        bps = faults.number(f"{_AT}.market_impact_bps", message.market_impact_bps, _IMPACT_BPS)
        impact = exact(bps) if _IMPACT_BPS.hold(bps) else impact
    return CostModel(settings.commission_per_trade if commission is None else commission, impact)


def read_tax_choice(message: pb.RebalanceConstraints, faults: Faults) -> TaxChoice:
    """How tax counts, and which lots are sold."""
    weight = 1.0
    if message.HasField("tax_weight"):
        weight = faults.number(f"{_AT}.tax_weight", message.tax_weight, _TAX_WEIGHT)
        if not message.consider_tax_implications:
            faults.add(f"{_AT}.tax_weight", "belongs to consider_tax_implications")
    handling = message.wash_sales if message.HasField("wash_sales") else pb.WASH_SALE_HANDLING_AVOID
    if handling not in _WASH_SALES:
        faults.add(f"{_AT}.wash_sales", f"must be one of {', '.join(map(pb.WashSaleHandling.Name, _WASH_SALES))}")
    return TaxChoice(
        lot_method=_read_lot_method(message, faults),
        considered=message.consider_tax_implications,
        weight=exact(weight),
        avoid_short_term_gains=message.avoid_short_term_gains,
        harvest_losses=message.harvest_losses,
        price_wash_sales=_WASH_SALES.get(handling, False),
        specific=read_lot_selections(f"{_AT}.specific_lots", message.specific_lots, faults),
    )


def _read_lot_method(message: pb.RebalanceConstraints, faults: Faults) -> LotMethod | None:
    specific = bool(message.specific_lots)
    if not message.HasField("lot_method"):
        if specific:
            faults.add(f"{_AT}.specific_lots", "belongs to LOT_METHOD_SPECIFIC")
        return LotMethod.LEAST_TAX if message.consider_tax_implications else None
    method = read_lot_method(f"{_AT}.lot_method", message.lot_method, faults)
    if specific != (method is LotMethod.SPECIFIC):
        needs = "is required for LOT_METHOD_SPECIFIC" if not specific else "belongs to LOT_METHOD_SPECIFIC"
        faults.add(f"{_AT}.specific_lots", needs)
    return method


def read_lot_method(field: str, number: int, faults: Faults) -> LotMethod | None:
    """How lots are chosen."""
    if number not in _LOT_METHODS:
        faults.add(field, f"must be one of {', '.join(map(trade_pb2.LotMethod.Name, _LOT_METHODS))}")
    return lot_method_of(number)


def lot_method_of(number: int) -> LotMethod | None:
    """The method of a stored number; None where there is none."""
    return _LOT_METHODS.get(number)  # type: ignore[call-overload, no-any-return]


def read_lot_selections(field: str, selections: Iterable[pb.LotSelection], faults: Faults) -> dict[str, Decimal | None]:
    """Shares by lot id; None where all of the lot is meant."""
    chosen: dict[str, Decimal | None] = {}
    for k, lot in enumerate(selections):
        identifier = faults.identifier(f"{field}[{k}].lot_id", lot.lot_id)
        if identifier in chosen:
            faults.add(f"{field}[{k}].lot_id", f"repeats {identifier}")
        chosen[identifier] = read_decimal(f"{field}[{k}].quantity", lot.quantity, SHARES_ABOVE_ZERO, faults)
    return chosen


def read_execution(message: pb.RebalanceConstraints, faults: Faults) -> ExecutionSpec:
    """How large trades are spread over days."""
    asked, at = message.execution, f"{_AT}.execution"
    participation = faults.limit(f"{_AT}.max_participation", message.max_participation, FRACTION)
    coefficient = faults.limit(f"{_AT}.impact_coefficient", message.impact_coefficient, _LARGEST_FACTOR)
    spread = faults.limit(f"{at}.half_spread", asked.half_spread, FRACTION)
    aversion = faults.number(f"{at}.risk_aversion", asked.risk_aversion, Bounds(0.0))
    if not _DAYS.hold(asked.days):
        faults.add(f"{at}.days", f"must be {_DAYS}, not {asked.days}")
    return ExecutionSpec(
        start=read_day(f"{at}.start_date", asked.start_date, faults),
        days=asked.days,
        risk_aversion=aversion,
        half_spread=None if spread is None else exact(spread),
        max_participation=None if participation is None else exact(participation),
        impact_coefficient=None if coefficient is None else exact(coefficient),
    )


def exact(value: float) -> Decimal:
    """The shortest decimal that is this number; nothing useful where a fault was noted."""
    return Decimal(repr(value)) if Bounds(0.0).hold(value) else Decimal(0)


def _read_names(name: str, instruments: Iterable[str], faults: Faults) -> frozenset[str]:
    return frozenset(faults.identifier(f"{_AT}.{name}[{k}]", found) for k, found in enumerate(instruments))


def _read_money(name: str, message: pb.RebalanceConstraints, faults: Faults) -> Decimal | None:
    return read_decimal(f"{_AT}.{name}", getattr(message, name), MONEY_NOT_NEGATIVE, faults)
