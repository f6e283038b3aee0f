"""A small market with one portfolio, and the way of its plans at a moment that tests move."""

from __future__ import annotations

import pytest
from plan_examples import Clock, portfolio, store_market, store_portfolio

from server.settings import Settings
from server.workflows.plans import PlanWorkflow
from storage.database import Database


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def plans(database: Database, clock: Clock) -> PlanWorkflow:
    """The workflow; the portfolio `one` holds XOM and KO and some cash."""
    await store_market(database)
    await store_portfolio(database, portfolio())
    return PlanWorkflow(database, Settings(), clock)
