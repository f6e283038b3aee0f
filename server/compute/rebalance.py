"""One rebalance plan, from its inputs to trades, tax and expected improvement."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import numpy as np

from kernel import performance
from kernel.rebalancing.lots import GainRates, LotMethod, LotSale, Sale, TaxLot, select_lots
from kernel.rebalancing.request import TradeRequest
from kernel.rebalancing.tax import NetGains, SalesTax, TaxRules, tax_of_sales
from kernel.rebalancing.trades import TradeAction, TradePlan, plan_trades
from server.compute.estimate import Estimate, estimate
from server.compute.inputs import Floats, MarketInputs
from server.compute.optimization import OptimizationAnswer, measure_weights, run_optimization
from server.compute.weights import exact_weights
from server.specs import ModelSpec, OptimizationSpec


@dataclass(frozen=True, slots=True)
class TaxInputs:
    """How sales are taxed."""

    lots: Mapping[str, tuple[TaxLot, ...]]
    method: LotMethod
    rates: GainRates
    sold_on: date


@dataclass(frozen=True, slots=True)
class RebalanceInputs:
    """What a plan is made from.

    Attributes:
        market: The universe: holdings and targets.
        trading: Holdings, cash, prices and limits; its target is replaced when `optimization` is given.
        optimization: The optimization that finds the target, for the target type optimal.
        model: Estimators of the expected improvement.
    """

    market: MarketInputs
    trading: TradeRequest
    tax: TaxInputs
    model: ModelSpec
    optimization: OptimizationSpec | None = None


@dataclass(frozen=True, slots=True)
class RebalanceAnswer:
    """A plan with its tax and what it improves. `plan` is None when the optimization found no target."""

    target: Mapping[str, Decimal]
    plan: TradePlan | None
    lot_sales: Mapping[str, tuple[LotSale, ...]]
    tax: SalesTax | None
    before: performance.PerformanceReport
    after: performance.PerformanceReport | None
    estimate: Estimate
    lot_method: LotMethod
    optimized: OptimizationAnswer | None
    solve_seconds: float


def run_rebalance(inputs: RebalanceInputs) -> RebalanceAnswer:
    """Find the target where it is to be found, then the trades, their tax, and what they improve."""
    started = time.perf_counter()
    optimized = None if inputs.optimization is None else run_optimization(inputs.market, inputs.optimization)
    estimated = estimate(inputs.market, inputs.model) if optimized is None else optimized.estimate
    target = inputs.trading.target_weights if optimized is None else _target(optimized)
    before = measure_weights(inputs.market, estimated, inputs.model, inputs.market.weights_with_cash)
    plan = None if target is None else plan_trades(replace(inputs.trading, target_weights=target))
    sales = {} if plan is None else _lot_sales(plan, inputs.tax)
    return RebalanceAnswer(
        target=target or {},
        plan=plan,
        lot_sales=sales,
        tax=_tax(sales, inputs.tax),
        before=before,
        after=None if plan is None else measure_weights(inputs.market, estimated, inputs.model, _planned(inputs, plan)),
        estimate=estimated,
        lot_method=inputs.tax.method,
        optimized=optimized,
        solve_seconds=time.perf_counter() - started,
    )


def _target(optimized: OptimizationAnswer) -> dict[str, Decimal] | None:
    weights = optimized.solution.weights
    if weights is None:
        return None
    return exact_weights(dict(zip(optimized.names, weights.tolist(), strict=True)))


def _planned(inputs: RebalanceInputs, plan: TradePlan) -> Floats:
    return np.array([float(plan.planned_allocation.get(name, Decimal(0))) for name in inputs.market.names])


def _lot_sales(plan: TradePlan, tax: TaxInputs) -> dict[str, tuple[LotSale, ...]]:
    """The lots that each sale takes; an instrument without lots has none."""
    return {
        trade.instrument_id: select_lots(
            tax.lots[trade.instrument_id], Sale(trade.quantity, trade.price, tax.sold_on), tax.method, tax.rates
        )
        for trade in plan.trades
        if trade.action is TradeAction.SELL and trade.instrument_id in tax.lots
    }


def _tax(sales: Mapping[str, tuple[LotSale, ...]], tax: TaxInputs) -> SalesTax:
    every = [lot_sale for lot_sales in sales.values() for lot_sale in lot_sales]
    return tax_of_sales(every, NetGains(), TaxRules(tax.rates))
