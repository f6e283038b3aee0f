"""Plans of several portfolios in one process: none costs another its plan, and common prices cross once."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from kernel.errors import ProblemError
from server.compute import batches
from server.compute.batches import PlanFailure, run_plans, with_shared_prices
from server.compute.inputs import Asset, MarketInputs
from server.compute.rebalance import RebalanceInputs
from server.errors import NotReady

DAYS = np.arange("2025-01-01", "2025-04-11", dtype="datetime64[D]")


def inputs(portfolio_id: str, pack: str = "pack", names: tuple[str, ...] = ("A", "B"), days: int = 100) -> Any:
    """A portfolio on a market of its own; the rest of its problem is not looked at here."""
    market = MarketInputs(
        portfolio_id=portfolio_id,
        pricing_pack_id=pack,
        assets=tuple(Asset(name, "", "", None) for name in names),
        dates=DAYS[:days].copy(),
        closes=np.ones((days, len(names))),
        w0=np.full(len(names), 0.25),
        cash_weight=0.5,
        value=Decimal(100),
    )
    rest: Any = None
    return RebalanceInputs(market=market, trading=rest, spec=rest, taxes=rest, sequence=rest, model=rest)


def test_common_prices_are_one_object_and_cross_once() -> None:
    batch = [inputs(f"p{k}") for k in range(50)]
    shared = with_shared_prices(batch)
    assert len({id(one.market.closes) for one in shared}) == len({id(one.market.dates) for one in shared}) == 1
    assert [one.market.portfolio_id for one in shared] == [f"p{k}" for k in range(50)]
    assert len(pickle.dumps(shared)) < len(pickle.dumps(batch)) / 3
    again = pickle.loads(pickle.dumps(shared))
    assert len({id(one.market.closes) for one in again}) == 1


def test_other_prices_stay_apart() -> None:
    batch = [inputs("a"), inputs("b", pack="other"), inputs("c", names=("A", "C")), inputs("d", days=60)]
    shared = with_shared_prices(batch)
    assert len({id(one.market.closes) for one in shared}) == 4
    assert [one.market.closes.shape for one in shared] == [(100, 2), (100, 2), (100, 2), (60, 2)]


def test_one_that_fails_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = {
        "b": NotReady("no prices of X"),
        "c": ProblemError("risk", "is no covariance"),
        "d": ZeroDivisionError(),
    }

    def run(one: RebalanceInputs) -> Any:
        if one.market.portfolio_id in failures:
            raise failures[one.market.portfolio_id]
        return one.market.portfolio_id

    monkeypatch.setattr(batches, "run_rebalance", run)
    answer = run_plans([inputs(name) for name in "abcde"])
    assert [found for found in answer.answers if not isinstance(found, PlanFailure)] == ["a", "e"]
    first, second, third = (found for found in answer.answers if isinstance(found, PlanFailure))
    assert (first.reason, first.trace) == ("no prices of X", "")
    assert "is no covariance" in second.reason
    assert third.reason == ""
    assert "ZeroDivisionError" in third.trace
    assert answer.processor_seconds >= 0.0
