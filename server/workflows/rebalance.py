"""Rebalance plans, computed while the caller waits and kept."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from google.protobuf import json_format
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.lots import GainRates, LotMethod, TaxLot
from kernel.rebalancing.request import TradeLimits, TradeRequest
from server.compute.pool import SolverPool
from server.compute.rebalance import RebalanceAnswer, RebalanceInputs, TaxInputs
from server.compute.tasks import run_rebalance
from server.convert.answers import timestamp, to_json
from server.convert.faults import checked
from server.convert.plans import life_of_plan, write_plan
from server.convert.rebalance import read_rebalance
from server.loading import Holdings, MarketLoader
from server.preparing import with_stored
from server.rebalance_specs import RebalanceSpec
from server.settings import Settings
from server.specs import ModelSpec
from server.targets import Target, TargetFinder, equal_weights
from server.universe import check_universe
from storage.database import Database
from storage.errors import Conflict
from storage.rebalances import RebalanceRepository
from storage.records import RebalanceRequest, RebalanceResult

_ACTIVE = "active"


class RebalanceWorkflow:
    """Makes rebalance plans."""

    def __init__(self, database: Database, pool: SolverPool, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._pool, self._loader, self._settings = database, pool, loader, settings
        self._targets = TargetFinder(database, loader)

    @property
    def longest_seconds(self) -> float:
        """The longest that a call may take."""
        return 2 * self._settings.solve_limit_seconds

    async def plan(self, message: pb.RebalancePlanRequest, seconds: float) -> pb.RebalancePlanResponse:
        """Check, load, compute, store. A request_id that was used before gives the plan it gave then.

        Raises:
            InvalidRequest, NotServed, NotFound, NotReady, Conflict, OutOfTime, Busy: See `server.errors`.
        """
        spec = checked(read_rebalance, message, self._settings)
        earlier = await self._earlier(message)
        if earlier is not None:
            return earlier
        target = await self._targets.find(spec)
        optimization = await with_stored(self._loader.models, spec.optimization)
        model = replace(optimization.model, pricing_pack_id=spec.pricing_pack_id)
        candidates = optimization.instrument_ids if target is None else sorted(target)
        market, holdings = await self._loader.market(spec.portfolio_id, _model(model, spec), candidates)
        if spec.target_type == "optimal":
            check_universe(market.assets, optimization, market.benchmark)
        if spec.target_type == "equal_weight":
            target = equal_weights(holdings)
        inputs = RebalanceInputs(
            market=market,
            trading=_trading(spec, holdings, target or {}),
            tax=_tax(spec, holdings),
            model=optimization.model,
            optimization=optimization if spec.target_type == "optimal" else None,
        )
        answer = await self._pool.run(run_rebalance, inputs, timeout=seconds)
        return await self._finish(message, write_plan(answer, inputs, spec, holdings), answer)

    async def _finish(
        self, message: pb.RebalancePlanRequest, response: pb.RebalancePlanResponse, answer: RebalanceAnswer
    ) -> pb.RebalancePlanResponse:
        """Name the plan and keep it, unless it was only to be looked at."""
        request = _request(message, response)
        response.created_at.CopyFrom(timestamp(request.created_at))
        if message.validate_only:
            return response
        response.rebalance_id = request.id
        async with self._database.transaction() as connection:
            repository = RebalanceRepository(connection)
            _, created = await repository.create(request)
            if created:
                await repository.complete(request.id, life_of_plan(answer), _result(response), None)
        if created:
            return response
        # Another call with the same request_id was quicker: its plan is the plan.
        return await self._earlier(message) or response

    async def _earlier(self, message: pb.RebalancePlanRequest) -> pb.RebalancePlanResponse | None:
        """The plan that was made for this request_id, if there is one."""
        if not message.request_id or message.validate_only:
            return None
        async with self._database.transaction() as connection:
            stored = await RebalanceRepository(connection).find_by_request_id(message.portfolio_id, message.request_id)
        if stored is None or stored.result is None:
            return None
        if stored.request.specification != to_json(message):
            used = f"request_id {message.request_id} was used for a different plan, {stored.request.id}"
            raise Conflict(used)
        result = stored.result
        columns = {
            name: getattr(result, name) for name in ("current_allocation", "target_allocation", "trades", "metrics")
        }
        content = {**result.details, **{name: value for name, value in columns.items() if value}}
        return json_format.ParseDict(content, pb.RebalancePlanResponse(), ignore_unknown_fields=True)


def _model(model: ModelSpec, spec: RebalanceSpec) -> ModelSpec:
    return replace(model, benchmark_id=spec.benchmark_id or model.benchmark_id)


def _trading(spec: RebalanceSpec, holdings: Holdings, target: Target) -> TradeRequest:
    held = {name: quantity for name, quantity in holdings.quantities.items() if quantity}
    return TradeRequest(
        holdings=held,
        cash=holdings.portfolio.cash,
        prices=holdings.prices,
        target_weights=target,
        increments={instrument.id: instrument.lot_size for instrument in holdings.instruments},
        limits=_with_restrictions(spec.limits, holdings),
        costs=spec.costs,
        search=spec.search,
    )


def _with_restrictions(limits: TradeLimits, holdings: Holdings) -> TradeLimits:
    """The request's limits with the account's lists, and without trades in what is halted or delisted."""
    account = holdings.portfolio.account
    inactive = {instrument.id for instrument in holdings.instruments if instrument.status != _ACTIVE}
    frozen = inactive | _names(account.get("do_not_trade", ()))
    return replace(
        limits,
        do_not_buy=limits.do_not_buy | frozen | _names(account.get("do_not_buy", ())),
        do_not_sell=limits.do_not_sell | frozen | _names(account.get("do_not_sell", ())),
    )


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


def _tax(spec: RebalanceSpec, holdings: Holdings) -> TaxInputs:
    """Lots by instrument. An unknown cost counts as zero and an unknown date as today: tax is never understated."""
    portfolio, today = holdings.portfolio, holdings.pack.as_of
    lots: dict[str, list[TaxLot]] = {}
    for lot in portfolio.lots:
        acquired = min(lot.acquired_on or today, today)
        known = TaxLot(lot.id, lot.quantity, lot.cost_per_share or Decimal(0), acquired)
        lots.setdefault(lot.instrument_id, []).append(known)
    return TaxInputs(
        lots={name: tuple(own) for name, own in lots.items()},
        method=spec.tax.lot_method or LotMethod(portfolio.lot_method),
        rates=GainRates(portfolio.short_term_tax_rate, portfolio.long_term_tax_rate),
        sold_on=today,
    )


def _request(message: pb.RebalancePlanRequest, response: pb.RebalancePlanResponse) -> RebalanceRequest:
    return RebalanceRequest(
        id=str(uuid.uuid4()),
        portfolio_id=message.portfolio_id,
        specification=to_json(message),
        request_id=message.request_id or None,
        pricing_pack_id=response.pricing_pack_id,
        target_type=message.target_type,
        constraints=to_json(message.constraints),
    )


def _result(response: pb.RebalancePlanResponse) -> RebalanceResult:
    content = to_json(response)
    return RebalanceResult(
        rebalance_id=response.rebalance_id,
        current_allocation=content.pop("current_allocation", {}),
        target_allocation=content.pop("target_allocation", {}),
        trades=content.pop("trades", []),
        metrics=content.pop("metrics", {}),
        details=content,
        solve_seconds=response.certificate.solve_seconds,
    )
