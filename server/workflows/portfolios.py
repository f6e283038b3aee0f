"""Storing, finding and valuing portfolios."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, localcontext

import structlog
from portfolio_optimization.v1 import portfolio_data_pb2 as pb

from kernel.rebalancing.money import to_cents
from server.convert.accounts import TAX
from server.convert.faults import checked
from server.convert.portfolios import Valuation, read_portfolio
from server.errors import Fault, InvalidRequest, NotReady
from server.imports.known import is_stored
from server.outside_purchases import settle_after_put
from server.settings import Settings
from server.specs import CASH
from server.workflows.reference_data import unknown_instruments
from storage.benchmarks import BenchmarkRepository
from storage.database import Connection, Database
from storage.errors import NotFound
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Portfolio, PricingPack
from storage.tax_rules import TaxRuleRepository

_log = structlog.get_logger()
# Digits that hold the value of the largest holding at the highest price to the last decimal.
_DIGITS = 100


class PortfolioWorkflow:
    """Portfolios, each stored and found as a whole."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    async def put(self, message: pb.PutPortfolioRequest) -> tuple[Portfolio, bool]:
        """Check and store a portfolio. Without preferences in the request the stored ones stay.

        Returns:
            The portfolio, and whether it is new.

        Raises:
            InvalidRequest: With every fault.
        """
        portfolio = await asyncio.to_thread(checked, read_portfolio, message, self._settings)
        async with self._database.transaction() as connection:
            if faults := await _unknown(connection, portfolio):
                raise InvalidRequest(faults)
            repository = PortfolioRepository(connection)
            known = await repository.lock(portfolio.id)
            if known and not message.portfolio.HasField("preferences"):
                portfolio = replace(portfolio, preferences=(await repository.find(portfolio.id)).preferences)
            if message.validate_only:
                return portfolio, not known
            await repository.put(portfolio)
        async with self._database.transaction() as connection:
            # Apart from the other: whoever locks a household does so before any lock on one of its portfolios.
            repository = PortfolioRepository(connection)
            await repository.lock_household(portfolio.id)
            try:
                await settle_after_put(connection, portfolio.id)
            except (NotFound, NotReady) as error:
                # Another account of the household keeps nobody from storing this one; the next call settles.
                _log.warning("wash sales not settled", portfolio_id=portfolio.id, reason=str(error))
            return await repository.find(portfolio.id), not known

    async def find(self, portfolio_id: str, pack_id: str) -> tuple[Portfolio, Valuation | None]:
        """A portfolio with its value on a pricing pack.

        Args:
            portfolio_id: The portfolio.
            pack_id: Empty = the newest pack with prices of all that it holds.

        Raises:
            NotFound: There is no portfolio or pack of this id.
        """
        async with self._database.transaction() as connection:
            portfolio = await PortfolioRepository(connection).find(portfolio_id)
            held = [holding.instrument_id for holding in portfolio.holdings]
            pack = await _pack(connection, pack_id, held)
            if pack is None:
                return portfolio, None
            closes = await PricingPackRepository(connection).last_closes(pack.id, held)
        return portfolio, _value(portfolio, pack, closes)

    async def page(self, limit: int, after: str) -> tuple[Portfolio, ...]:
        """Portfolios in the order of their ids, behind `after`."""
        async with self._database.transaction() as connection:
            return await PortfolioRepository(connection).page(limit, after)


async def _unknown(connection: Connection, portfolio: Portfolio) -> list[Fault]:
    """What the portfolio refers to and is not stored."""
    faults = await unknown_instruments(connection, "portfolio.holdings", [h.instrument_id for h in portfolio.holdings])
    benchmark_id = portfolio.benchmark_id
    if benchmark_id is not None and not await is_stored(BenchmarkRepository(connection).find, benchmark_id):
        faults.append(Fault("portfolio.benchmark_id", f"names {benchmark_id}, not known as a benchmark"))
    rules = portfolio.account.get(TAX, {}).get("jurisdiction", "")
    if rules and not await is_stored(TaxRuleRepository(connection).find, rules):
        faults.append(Fault("portfolio.tax.jurisdiction", f"names {rules}, not known as tax rules"))
    return faults


async def _pack(connection: Connection, pack_id: str, held: list[str]) -> PricingPack | None:
    """The pack asked for, or else the newest with prices of all that is held, if there is one."""
    packs = PricingPackRepository(connection)
    if pack_id:
        return await packs.find(pack_id)
    try:
        return await packs.latest(held)
    except NotFound:
        return None


def _value(portfolio: Portfolio, pack: PricingPack, closes: Mapping[str, float]) -> Valuation | None:
    """The value at the last prices; None when something held has none."""
    if any(holding.instrument_id not in closes for holding in portfolio.holdings):
        return None
    with localcontext(prec=_DIGITS):
        values = {h.instrument_id: h.quantity * Decimal(repr(closes[h.instrument_id])) for h in portfolio.holdings}
        total = sum(values.values(), portfolio.cash)
        parts = {CASH: portfolio.cash, **values}
        weights = {name: float(part / total) for name, part in parts.items()} if total > 0 else {}
        return Valuation(pack, to_cents(total), weights)
