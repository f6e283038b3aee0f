"""From a request for a plan to everything that its computation needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from portfolio_optimization.v1 import rebalancing_pb2 as pb
from portfolio_optimization.v1.portfolio_data_pb2 import AccountSettings

from kernel.rebalancing.remarks import Remark
from kernel.rebalancing.request import TradeRequest
from server.compute.rebalance import RebalanceInputs
from server.compute.restrictions import AccountState, InstrumentState, restrict
from server.compute.sequence import SequenceContext, sequence_context
from server.convert.accounts import write_account
from server.convert.faults import Faults, checked
from server.convert.rebalance import read_rebalance
from server.convert.text_values import shortest_decimal
from server.errors import NotReady
from server.loading import Holdings, MarketLoader
from server.plans.trade_days import exchange_of
from server.policies import load_policy, policy_inputs, with_preferences
from server.preparing import surroundings, with_stored
from server.rebalance_specs import RebalanceSpec
from server.settings import Settings
from server.targets import Target, TargetFinder, equal_weights
from server.taxes import load_taxes
from server.universe import check_universe
from storage.database import Database
from storage.instruments import InstrumentRepository
from storage.plans import PlanRepository
from storage.portfolios import PortfolioRepository
from storage.records import Instrument, Portfolio


@dataclass(frozen=True, slots=True)
class PreparedPlan:
    """A plan that can be computed.

    Attributes:
        message: The request as it was sent, without preferences filled in.
        rules: Names and versions of what the plan is made by.
        remarks: What is restricted.
        frozen: Why an instrument is not traded: a code and a phrase.
        states: What restricts the instruments of the universe.
        last_transaction: Place of the household's last transaction when its taxes were read.
        policy_version: 0 without a policy.
    """

    message: pb.RebalancePlanRequest
    spec: RebalanceSpec
    inputs: RebalanceInputs
    holdings: Holdings
    rules: dict[str, str]
    remarks: tuple[Remark, ...]
    frozen: Mapping[str, tuple[str, str]]
    states: Mapping[str, InstrumentState]
    last_transaction: int
    policy_version: int = 0


class PlanPreparer:
    """Loads and checks what plans need."""

    def __init__(self, database: Database, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._loader, self._settings = database, loader, settings
        self._targets = TargetFinder(database, loader)

    async def prepare(self, message: pb.RebalancePlanRequest, *, price_limits: bool = True) -> PreparedPlan:
        """Everything for one plan.

        Args:
            message: The request.
            price_limits: Whether the price of each binding limit is found, too.

        Raises:
            InvalidRequest, NotFound, NotReady, Conflict: See `server.errors`.
        """
        _check_portfolio_id(message)
        portfolio = await self._loader.portfolio(message.portfolio_id)
        spec = checked(read_rebalance, with_preferences(message, portfolio), self._settings)
        target = await self._targets.find(spec)
        optimization = await with_stored(self._loader.models, spec.optimization)
        model = replace(
            optimization.model,
            pricing_pack_id=spec.pricing_pack_id,
            benchmark_id=spec.tracking_benchmark_id or spec.benchmark_id or optimization.model.benchmark_id,
        )
        candidates = optimization.instrument_ids if target is None else sorted(target)
        if not candidates and not any(holding.quantity for holding in portfolio.holdings):
            raise NotReady(f"portfolio {portfolio.id} holds nothing but cash, and the target names nothing to buy")
        market, holdings = await self._loader.market(spec.portfolio_id, model, candidates)
        if spec.target_type == "optimal":
            check_universe(surroundings(market), optimization)
        if spec.target_type == "equal_weight":
            target = equal_weights(holdings)
        await self._check_names(spec)
        policy = None if spec.policy is None else await load_policy(self._database, spec.policy)
        account, states = account_state(holdings.portfolio), instrument_states(holdings.instruments)
        sequence = await self._sequence(spec, holdings, account)
        async with self._database.transaction() as connection:
            # What is sold on the first day of trading, not on the day of the prices, is short-term or long-term.
            # First, so that what is recorded meanwhile counts as later.
            members = await PortfolioRepository(connection).household(holdings.portfolio.id)
            last_transaction = await PlanRepository(connection).last_transaction(members)
            taxes = await load_taxes(connection, holdings.portfolio, sequence.start)
        trading = _trading_problem(spec, holdings, target or {})
        restricted = restrict(trading, account, states, holdings.ages, self._settings.max_price_age_days)
        inputs = RebalanceInputs(
            market=market,
            trading=restricted.trading,
            spec=spec,
            taxes=taxes,
            sequence=sequence,
            model=optimization.model,
            optimization=optimization if spec.target_type == "optimal" else None,
            policy=None if policy is None else policy_inputs(policy, spec, holdings),
            price_limits=price_limits,
        )
        rules = {"tax_rules": f"{taxes.rules.jurisdiction}/{taxes.rules.valid_from.isoformat()}"}
        if policy is not None:
            rules["policy"] = f"{policy.id}/{policy.version}"
        return PreparedPlan(
            message,
            spec,
            inputs,
            holdings,
            rules,
            restricted.remarks,
            restricted.frozen,
            states,
            last_transaction,
            policy_version=0 if policy is None else policy.version,
        )

    async def _sequence(self, spec: RebalanceSpec, holdings: Holdings, account: AccountState) -> SequenceContext:
        exchange = exchange_of(holdings.portfolio)
        as_of, margin = holdings.pack.as_of, account.margin_enabled
        return await asyncio.to_thread(
            sequence_context, exchange, as_of, spec.execution, self._settings.extra_closures, margin_account=margin
        )

    async def _check_names(self, spec: RebalanceSpec) -> None:
        """Lists that name what nobody knows are a mistake, not a restriction."""
        named = sorted(spec.limits.do_not_buy | spec.limits.do_not_sell)
        async with self._database.transaction() as connection:
            await InstrumentRepository(connection).require(named)


def _check_portfolio_id(message: pb.RebalancePlanRequest) -> None:
    faults = Faults()
    faults.identifier("portfolio_id", message.portfolio_id)
    faults.check()


def _trading_problem(spec: RebalanceSpec, holdings: Holdings, target: Target) -> TradeRequest:
    return TradeRequest(
        holdings={name: quantity for name, quantity in holdings.quantities.items() if quantity},
        cash=holdings.portfolio.cash,
        prices=holdings.prices,
        target_weights=target,
        increments={instrument.id: instrument.lot_size for instrument in holdings.instruments},
        limits=spec.limits,
        costs=spec.costs,
        search=spec.search,
    )


def account_state(portfolio: Portfolio) -> AccountState:
    """Flags and lists of an account.

    Raises:
        NotReady: A file brought in something else than the contract says.
    """
    account, usual = write_account(portfolio) or AccountSettings(), AccountState()
    margin = account.maintenance_margin
    if not 0 <= margin <= 1:
        raise NotReady(f"account of portfolio {portfolio.id}: maintenance_margin is {margin:g}, not above 0 to 1")
    frozen = frozenset(account.do_not_trade)
    return AccountState(
        margin_enabled=account.margin_enabled,
        shorting_enabled=account.shorting_enabled,
        option_level=account.option_approval_level,
        maintenance_margin=shortest_decimal(margin) if margin else usual.maintenance_margin,
        do_not_buy=frozenset(account.do_not_buy) | frozen,
        do_not_sell=frozenset(account.do_not_sell) | frozen,
    )


def instrument_states(instruments: Iterable[Instrument]) -> dict[str, InstrumentState]:
    """What restricts instruments."""
    return {
        found.id: InstrumentState(found.status, found.lot_size, found.required_option_level) for found in instruments
    }
