"""The drift of portfolios from their targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from portfolio_optimization.v1 import drift_pb2, policies_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.drift import DriftThresholds, group_weights, measure_drift
from kernel.rebalancing.policy import PolicyTarget
from kernel.rebalancing.remarks import present_weights
from kernel.rebalancing.request import TradeLimits, TradeRequest
from kernel.rebalancing.strategies import with_cash
from server.compute.inputs import MarketInputs
from server.compute.policy import PolicyTargetInputs
from server.compute.pool import SolverPool
from server.compute.tasks import run_policy_target
from server.convert.drift import DriftSettings, DriftSpec, read_drift, write_items, write_measures, write_settings
from server.convert.faults import Faults, checked
from server.convert.preferences import with_defaults
from server.convert.strategies import read_drift_settings, read_policy_choice
from server.convert.text_values import shortest_decimal
from server.errors import NotReady
from server.loading import Holdings, MarketLoader
from server.policies import load_policy, plain_inputs, stored_preferences
from server.rebalance_specs import PolicySpec
from server.settings import Settings
from server.specs import CASH, ModelSpec
from server.targets import Target, TargetFinder, equal_weights
from storage.database import Database

_CASH_CLASS = "cash"


class DriftWorkflow:
    """Measures how far portfolios are from their targets."""

    def __init__(self, database: Database, pool: SolverPool, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._pool, self._loader, self._settings = database, pool, loader, settings
        self._targets = TargetFinder(database, loader)

    @property
    def longest_seconds(self) -> float:
        """The longest that a call may take."""
        return 2 * self._settings.solve_limit_seconds

    async def measure(self, portfolio_id: str) -> drift_pb2.GetDriftResponse:
        """The drift from the target of the portfolio's preferences, by their measure, on the newest prices.

        Raises:
            NotFound, NotReady, Conflict, OutOfTime, Busy: See `server.errors`.
        """
        return await self.drift(drift_pb2.GetDriftRequest(portfolio_id=portfolio_id), self.longest_seconds)

    async def drift(self, message: drift_pb2.GetDriftRequest, seconds: float) -> drift_pb2.GetDriftResponse:
        """The drift from the target asked for, else from that of the preferences.

        Raises:
            InvalidRequest, NotFound, NotReady, Conflict, OutOfTime, Busy: See `server.errors`.
        """
        asked = checked(read_drift, message, self._settings)
        portfolio = await self._loader.portfolio(asked.portfolio_id)
        preferred = with_defaults(stored_preferences(portfolio), self._settings)
        spec = _with_target(asked, preferred)
        target = await self._targets.find(spec)
        model = ModelSpec(
            self._settings.risk_free_rate, pricing_pack_id=spec.pricing_pack_id, benchmark_id=spec.benchmark_id
        )
        market, holdings = await self._loader.market(portfolio.id, model, sorted(target or ()))
        if spec.target_type == "equal_weight":
            target = equal_weights(holdings)
        elif spec.target_type == "policy":
            found = await self._policy_target(_choice(preferred, spec.policy_id), market, holdings, seconds)
            target = _weights(found, spec.policy_id)
        return _answer(holdings, target or {}, asked.settings or _settings(preferred))

    async def _policy_target(
        self, choice: PolicySpec, market: MarketInputs, holdings: Holdings, seconds: float
    ) -> PolicyTarget:
        """Where the policy leads when neither turnover nor what may not be traded counts."""
        policy = await load_policy(self._database, choice)
        inputs = PolicyTargetInputs(
            policy=plain_inputs(policy, choice, holdings),
            market=market,
            trading=_trading(holdings, {}),
            model=ModelSpec(self._settings.risk_free_rate),
            time_limit_seconds=self._settings.solve_limit_seconds,
        )
        return await self._pool.run(run_policy_target, inputs, timeout=seconds)


def _with_target(asked: DriftSpec, preferred: policies_pb2.RebalancingPreferences) -> DriftSpec:
    """The question with the target of the preferences where it names none, or not all of it.

    Of the target `optimal` the last answer is what the portfolio was to become.
    """
    word = asked.target_type or preferred.target_type
    changes: dict[str, Any] = {"target_type": "optimization" if word == "optimal" else word}
    if word == "policy":
        changes["policy_id"] = asked.policy_id or _required_policy(asked, preferred)
    elif not asked.target_type and word == "custom":
        pairs = ((name, shortest_decimal(weight)) for name, weight in preferred.custom_target.items())
        changes["custom_target"] = {name: weight for name, weight in pairs if name != CASH}
    elif not asked.target_type and word == "optimization":
        changes["optimization_id"] = preferred.optimization_id
    return replace(asked, **changes)


def _required_policy(asked: DriftSpec, preferred: policies_pb2.RebalancingPreferences) -> str:
    if not preferred.policy_id:
        raise NotReady(f"the preferences of portfolio {asked.portfolio_id} name no policy, and the request names none")
    return preferred.policy_id


def _settings(preferred: policies_pb2.RebalancingPreferences) -> DriftSettings:
    """Those of the preferences, which were checked when they were stored."""
    faults = Faults()
    settings = DriftSettings(*read_drift_settings("preferences.drift", preferred.drift, faults))
    faults.check()
    return settings


def _choice(preferred: policies_pb2.RebalancingPreferences, policy_id: str) -> PolicySpec:
    """The policy, with what the preferences say of conflicts."""
    faults, message = Faults(), pb.RebalancePlanRequest(target_type="policy", policy_id=policy_id)
    message.on_conflict = preferred.on_conflict
    message.relax_order.extend(preferred.relax_order)
    choice = read_policy_choice(message, faults)
    faults.check()
    assert choice is not None
    return choice


def _weights(found: PolicyTarget, policy_id: str) -> Target:
    if found.weights is None:
        raise NotReady(f"policy {policy_id} has no target for this portfolio: {found.message}")
    return found.weights


def _trading(holdings: Holdings, target: Target) -> TradeRequest:
    held = {name: quantity for name, quantity in holdings.quantities.items() if quantity}
    return TradeRequest(held, holdings.portfolio.cash, holdings.prices, target, limits=TradeLimits())


def _answer(holdings: Holdings, target: Target, settings: DriftSettings) -> drift_pb2.GetDriftResponse:
    thresholds = DriftThresholds(settings.threshold, settings.threshold, settings.threshold)
    current, wanted = present_weights(_trading(holdings, target)), with_cash(target)
    classes = {instrument.id: instrument.asset_class for instrument in holdings.instruments} | {CASH: _CASH_CLASS}
    report = measure_drift(current, wanted, thresholds, residual=CASH)
    by_class = measure_drift(
        group_weights(current, classes), group_weights(wanted, classes), thresholds, residual=_CASH_CLASS
    )
    return drift_pb2.GetDriftResponse(
        portfolio_id=holdings.portfolio.id,
        pricing_pack_id=holdings.pack.id,
        as_of=holdings.pack.as_of.isoformat(),
        settings=write_settings(settings),
        measures=write_measures(report),
        rebalance_needed=settings.measure in report.breaches,
        instruments=write_items(report, settings),
        asset_classes=write_items(by_class, settings),
    )
