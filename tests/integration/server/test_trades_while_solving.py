"""A trade of the household that is recorded while a plan is computed counts as one after the plan was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from portfolio_optimization.v1 import plan_workflow_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.compute.tasks import run_rebalance
from server.convert.plans import write_plan
from storage.embedded import EmbeddedServer
from storage.events import EventRepository
from storage.portfolios import PortfolioRepository
from storage.records import Transaction
from storage.transactions import TransactionRepository
from tests.integration.server.many_portfolios import make_model, store_model, store_portfolios
from tests.integration.server.open_service import OpenService, copied_database, open_service

MODEL = make_model(count=10, days=90)
PLANNED, OTHER, STRANGER = "account-000", "account-001", "account-002"


@pytest.fixture(scope="module")
def service(postgres_server: EmbeddedServer, template_database: str) -> Iterator[OpenService]:
    with copied_database(postgres_server, template_database) as url, open_service(url, load_sample=False) as opened:
        opened.run(_fill(opened))
        yield opened


async def _fill(service: OpenService) -> None:
    database = service.application.database
    await store_model(database, MODEL)
    await store_portfolios(database, MODEL, (PLANNED, OTHER, STRANGER))
    async with database.transaction() as connection:
        repository = PortfolioRepository(connection)
        for name in (PLANNED, OTHER):
            await repository.put(replace(await repository.find(name), account={"household_id": "home"}))


async def _buy(service: OpenService, portfolio_id: str, instrument_id: str) -> None:
    """A purchase that the owner notes; the books of the account do not show its shares yet."""
    bought = Transaction(
        portfolio_id=portfolio_id,
        id=f"bought-{portfolio_id}",
        instrument_id=instrument_id,
        action="buy",
        quantity=Decimal(1000),
        price=Decimal(100),
        traded_on=datetime.now(UTC).date(),
    )
    async with service.application.database.transaction() as connection:
        await PortfolioRepository(connection).lock_household(portfolio_id)
        await TransactionRepository(connection).append([bought])


async def _submitted(service: OpenService, buyer: str) -> tuple[str, plan_workflow_pb2.PlanWorkflow]:
    """A plan during whose computation `buyer` buys what it sells at a loss; that instrument, and the way so far."""
    application = service.application
    rebalances = application.rebalances()
    message = pb.RebalancePlanRequest(portfolio_id=PLANNED, target_type="custom", custom_target=MODEL.weights)
    prepared = await rebalances.prepare(message)
    answer = await application.pool.run(run_rebalance, prepared.inputs, timeout=60.0)
    response = write_plan(answer, prepared)
    loser = next(sale.instrument_id for sale in response.tax.sales if Decimal(sale.gain_amount or "0") < 0)
    await _buy(service, buyer, loser)
    async with application.database.transaction() as connection:
        kept = await rebalances.keep(connection, prepared, response, answer, "maker")
        await EventRepository(connection).append_all(kept.events)
    assert (kept.created, len(kept.events)) == (True, 1)
    return loser, await application.plans().submit(response.rebalance_id, "", "maker")


def test_a_purchase_of_the_household_during_the_computation_ends_the_plan(service: OpenService) -> None:
    _, workflow = service.run(_submitted(service, STRANGER))
    assert workflow.status == plan_workflow_pb2.REBALANCE_PLAN_STATUS_PENDING_APPROVAL
    loser, workflow = service.run(_submitted(service, OTHER))
    assert workflow.status == plan_workflow_pb2.REBALANCE_PLAN_STATUS_EXPIRED
    assert f"{loser} was bought" in workflow.transitions[-1].comment
    assert f"portfolio {OTHER}, transaction bought-{OTHER}" in workflow.transitions[-1].comment
