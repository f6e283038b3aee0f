"""A market with everything that can be wrong with an instrument, and the arithmetic of plans on it, done again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from portfolio_optimization.v1 import common_pb2, instruments_pb2, portfolio_data_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub

from tests.integration.server.data_examples import price_block, price_header
from tests.integration.server.open_service import OpenService

Account, Constraints, Lot = portfolio_data_pb2.AccountSettings, pb.RebalanceConstraints, portfolio_data_pb2.TaxLot
OPTIMAL, INFEASIBLE = common_pb2.OUTCOME_STATUS_OPTIMAL, common_pb2.OUTCOME_STATUS_INFEASIBLE
MARGIN = Account(margin_enabled=True)
FREE = Constraints(commission_per_trade_amount="0", market_impact_bps=0.0)
TOP_RATES = portfolio_data_pb2.TaxSettings(short_term_rate=0.4, long_term_rate=0.2)
TWO = {"ALPHA": 30, "BETA": 16}
HALF = {"ALPHA": 0.5, "BETA": 0.5}
# The day after the last one of prices is a holiday, and the day after that one is a Friday.
LAST_DAY, HOLIDAY, NEXT_DAY, SETTLED_DAY = "2024-07-03", "2024-07-04", "2024-07-05", "2024-07-08"
DAYS = 300
LAST = {
    "ALPHA": "100.00",
    "BETA": "250.00",
    "GAMMA": "20.00",
    "FRACTION": "40.00",
    "HALTED": "30.00",
    "DELISTED": "12.50",
    "STALE": "25.00",
    "FRESH": "25.00",
    "OPTION": "10.00",
}
PRICES = {name: Decimal(price) for name, price in LAST.items()}
# Trading days without a price before the last one. Five of them are still young enough, six are not.
AGES = {"DELISTED": 40, "STALE": 6, "FRESH": 5}
STATUS = {"HALTED": instruments_pb2.INSTRUMENT_STATUS_HALTED, "DELISTED": instruments_pb2.INSTRUMENT_STATUS_DELISTED}
OPTION_LEVEL = 3
COMMISSION, IMPACT, SMALLEST = Decimal(5), Decimal("0.0015"), Decimal(100)
_CENT, _ZERO = Decimal("0.01"), Decimal(0)


def to_cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)


def cost_of(value: Decimal) -> Decimal:
    """Of a trade, before it is rounded to the cent."""
    return COMMISSION + value * IMPACT


def price_history() -> tuple[list[str], dict[str, list[float]]]:
    """Weekdays that end before the holiday, with prices that end where `LAST` says."""
    random = np.random.default_rng(20240703)
    days = np.busday_offset(LAST_DAY, np.arange(1 - DAYS, 1), roll="backward")
    closes = {}
    for name, last in LAST.items():
        path = np.cumsum(random.normal(0.0003, 0.012, DAYS))
        prices = np.round(float(last) * np.exp(path - path[-1 - AGES.get(name, 0)]), 2)
        prices[DAYS - AGES.get(name, 0) :] = math.nan
        closes[name] = prices.tolist()
    return days.astype(str).tolist(), closes


class EdgeDesk:
    """A service with this market, called one call at a time."""

    def __init__(self, service: OpenService) -> None:
        self._service = service
        self.data: Any = PortfolioDataServiceStub(service.channel)
        self.rebalancing: Any = RebalancingServiceStub(service.channel)
        self._numbers = itertools.count()
        service.run(self._stock())

    def put(self, shares: Mapping[str, str | int], cash: str = "0", **fields: Any) -> str:
        """Stores a portfolio and gives its id."""
        portfolio_id = f"edge-{next(self._numbers)}"
        holdings = [portfolio_data_pb2.Holding(instrument_id=n, quantity=str(q)) for n, q in shares.items()]
        plain = {"base_currency": "USD", "cash_amount": cash, "holdings": holdings}
        portfolio = portfolio_data_pb2.Portfolio(portfolio_id=portfolio_id, **{**plain, **fields})
        request = portfolio_data_pb2.PutPortfolioRequest(portfolio=portfolio)
        self.call(self.data, "PutPortfolio", request)
        return portfolio_id

    def plan(self, portfolio_id: str, target: Mapping[str, float] | None = None, **fields: Any) -> Any:
        """A plan that is kept nowhere unless asked for; to a custom target where one is given."""
        aim = {} if target is None else {"target_type": "custom", "custom_target": target}
        request = pb.RebalancePlanRequest(portfolio_id=portfolio_id, **{"validate_only": True, **aim, **fields})
        return self._service.call("GenerateRebalancePlan", request)

    def call(self, stub: Any, method: str, request: Message) -> Any:
        """The answer of a call of another service."""
        return self._service.run(self._call(stub, method, request))

    async def _call(self, stub: Any, method: str, request: Message) -> Any:
        return await getattr(stub, method)(request, timeout=120.0)

    async def _stock(self) -> None:
        instruments = [
            instruments_pb2.Instrument(
                instrument_id=name,
                name=name,
                asset_class="option" if name == "OPTION" else "equity",
                sector="Energy",
                currency="USD",
                lot_size="0.000001" if name == "FRACTION" else "1",
                status=STATUS.get(name, instruments_pb2.INSTRUMENT_STATUS_ACTIVE),
                required_option_level=OPTION_LEVEL if name == "OPTION" else 0,
            )
            for name in [*LAST, "UNPRICED"]
        ]
        await self.data.UpsertInstruments(instruments_pb2.UpsertInstrumentsRequest(instruments=instruments))
        days, closes = price_history()
        blocks = [price_header(days), *(price_block(**{name: prices}) for name, prices in closes.items())]
        await self.data.LoadPricingPack(iter(blocks))


def traded(plan: Any) -> dict[str, Decimal]:
    """Shares by instrument, negative for sales."""
    return {t.instrument_id: Decimal(t.exact_quantity) * (1 if t.action == "buy" else -1) for t in plan.trades}


def after(plan: Any, shares: Mapping[str, str | int]) -> dict[str, Decimal]:
    """The shares that a plan leads to."""
    moves = traded(plan)
    return {
        name: Decimal(str(shares.get(name, 0))) + moves.get(name, _ZERO)
        for name in sorted(shares.keys() | moves.keys())
    }


def notes(plan: Any, code: str) -> list[Any]:
    return [note for note in plan.notes if note.code == code]


def noted(plan: Any) -> set[tuple[str, str]]:
    """Codes and instruments of all notes."""
    return {(note.code, note.instrument_id) for note in plan.notes}


def worth(shares: Mapping[str, Any]) -> Decimal:
    """Value of holdings at the last prices."""
    return sum((Decimal(str(quantity)) * PRICES[name] for name, quantity in shares.items()), _ZERO)


def reconciled(plan: Any, shares: Mapping[str, str | int], cash: str = "0") -> Decimal:
    """Checks everything that a plan says in money against its shares, and gives the cash it ends with."""
    left, costs, gross = Decimal(cash), _ZERO, _ZERO
    for trade in plan.trades:
        quantity = Decimal(trade.exact_quantity)
        value = to_cents(quantity * PRICES[trade.instrument_id])
        cost = to_cents(cost_of(quantity * PRICES[trade.instrument_id]))
        assert quantity > 0
        assert Decimal(trade.price_amount) == PRICES[trade.instrument_id]
        assert Decimal(trade.transaction_cost_amount) == cost
        left += (-value if trade.action == "buy" else value) - cost
        costs, gross = costs + cost, gross + value
    assert Decimal(plan.cash_before_amount) == Decimal(cash)
    assert Decimal(plan.cash_after_amount) == left
    assert Decimal(plan.metrics.transaction_costs_amount) == costs
    assert Decimal(plan.metrics.gross_trade_amount) == gross
    before = worth(shares) + Decimal(cash)
    assert Decimal(plan.portfolio_value_amount) == to_cents(before)
    total = worth(after(plan, shares)) + left
    # Fractions of a share are paid for in whole cents.
    assert abs(total - (before - costs)) <= _CENT / 2 * len(plan.trades)
    for name, quantity in after(plan, shares).items():
        assert math.isclose(plan.planned_allocation[name], quantity * PRICES[name] / total, abs_tol=1e-12), name
    return left


def least_objective(
    shares: Mapping[str, str | int],
    cash: str,
    target: Mapping[str, float],
    *,
    floor: Decimal = _ZERO,
    fixed: frozenset[str] = frozenset(),
) -> Decimal:
    """The least distance and cost of all whole trades that end with enough cash, found by trying every one.

    Args:
        shares: Whole shares held.
        cash: Before the trades.
        target: Weights.
        floor: Least cash after the trades.
        fixed: What is not traded.
    """
    total = worth(shares) + Decimal(cash)
    names = sorted(shares.keys() | target.keys())
    aims = {name: Decimal(repr(target.get(name, 0.0))) * total for name in names}
    best = None
    for moves in itertools.product(
        *(_moves(name, int(shares.get(name, 0)), aims[name], (Decimal(cash) < floor, name in fixed)) for name in names)
    ):
        left, objective = Decimal(cash), _ZERO
        for name, move in zip(names, moves, strict=True):
            price = PRICES[name]
            objective += abs((int(shares.get(name, 0)) + move) * price - aims[name])
            if move:
                cost = cost_of(abs(move) * price)
                objective += cost
                left -= move * price + to_cents(cost)
        if left >= floor and (best is None or objective < best):
            best = objective
    assert best is not None, "no trades reach the floor"
    return best


def _moves(name: str, held: int, aim: Decimal, state: tuple[bool, bool]) -> list[int]:
    """Trades of one instrument that pass the target by less than a share and are no smaller than the smallest."""
    short_of_cash, fixed = state
    price = PRICES[name]
    wanted = aim / price - held
    low, high = int(wanted.to_integral_value(ROUND_FLOOR)), int(wanted.to_integral_value(ROUND_CEILING))
    least = -held if short_of_cash else max(min(low, 0), -held)
    every = [0] if fixed else range(least, max(high, 0) + 1)
    return [move for move in every if not move or move == -held or abs(move) * price >= SMALLEST]


def refusal(desk: EdgeDesk, portfolio_id: str, *arguments: Any, **fields: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        desk.plan(portfolio_id, *arguments, **fields)
    return caught.value


def is_best(plan: Any, least: Decimal) -> bool:
    """Whether a plan is as good as the best one that trying all of them found."""
    assert plan.outcome.status == OPTIMAL, plan.outcome.message
    assert Decimal(plan.quality.lower_bound_amount) <= least + Decimal("0.01")
    return abs(Decimal(plan.quality.objective_amount) - least) <= Decimal("0.01")
