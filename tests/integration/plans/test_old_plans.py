"""Plans without a way: those made before there was one, and those that found no trades."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from server.settings import Settings
from server.workflows.plans import PlanWorkflow
from storage.database import Database
from storage.embedded import EmbeddedServer
from storage.errors import Conflict
from storage.migrate import load_migrations, migrate
from storage.portfolios import PortfolioRepository
from storage.rebalances import RebalanceRepository
from storage.records import Portfolio, RebalanceRequest, RebalanceResult

MIGRATIONS = load_migrations()
BEFORE = next(step.version for step in MIGRATIONS if step.name == "plan_workflow") - 1

OLD = """
    INSERT INTO portfolios (
        id, name, base_currency, cash, short_term_tax_rate, long_term_tax_rate, lot_method, account, preferences,
        updated_at
    ) VALUES ('one', 'One', 'USD', 0, 0, 0, 'fifo', '{}', '{}', NOW());
    INSERT INTO rebalance_requests (id, portfolio_id, target_type, constraints, status)
        VALUES ('old', 'one', 'custom', '{}', 'completed');
    INSERT INTO rebalance_results (rebalance_id, current_allocation, target_allocation, trades, metrics)
        VALUES ('old', '{}', '{}', '[]', '{}');
    INSERT INTO rebalance_plans
        SELECT 'old', 'one', 'custom', '{}', '{}', '[]', '{}', created_at FROM rebalance_requests;
"""


@pytest.fixture
def empty_database(postgres_server: EmbeddedServer) -> Iterator[str]:
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.connection_string, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        yield urlsplit(postgres_server.connection_string)._replace(path=f"/{name}").geturl()
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def test_plans_made_before_there_were_approvals_have_lapsed(empty_database: str) -> None:
    await migrate(empty_database, MIGRATIONS[:BEFORE])
    with psycopg.connect(empty_database) as connection:
        connection.execute(OLD)
    await migrate(empty_database)
    async with Database(empty_database) as database:
        plans = PlanWorkflow(database, Settings())
        workflow = (await plans.find("old")).workflow
        assert [step.comment for step in workflow.transitions] == ["made before plans had approvals"]
        assert [row.status for row in await plans.page("one", None, 10, None)] == ["expired"]
        with pytest.raises(Conflict, match="old is expired: submit is not possible"):
            await plans.submit("old", "", "maker")


async def test_a_plan_that_found_no_trades_has_no_way(database: Database) -> None:
    async with database.transaction() as connection:
        await PortfolioRepository(connection).put(Portfolio(id="one", name="One"))
        repository = RebalanceRepository(connection)
        await repository.create(RebalanceRequest(id="none", portfolio_id="one", target_type="custom"))
        result = RebalanceResult(
            rebalance_id="none", current_allocation={}, target_allocation={}, trades=[], metrics={}
        )
        await repository.complete("none", "infeasible", result, None)
    plans = PlanWorkflow(database, Settings())
    found = await plans.find("none")
    assert (found.rebalance_id, found.HasField("workflow")) == ("none", False)
    assert not await plans.page("one", None, 10, None)
    for step in (plans.submit, plans.approve, plans.cancel):
        with pytest.raises(Conflict, match="none is infeasible: it has no trades to carry out"):
            await step("none", "", "maker")
