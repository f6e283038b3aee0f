"""Trade plans with taxes, wash sales, risk and all limits against every set of trades there is."""

from decimal import Decimal

import pytest

from kernel.rebalancing.trades import plan_trades
from kernel.status import Status
from tests.unit.kernel.rebalancing.enumeration import Enumeration
from tests.unit.kernel.rebalancing.small_cases import random_case

LARGEST, CASES, PER_TEST = 6_000, 400, 10
CLOSE = Decimal("1e-4")


@pytest.mark.parametrize("first", range(0, CASES, PER_TEST))
def test_no_enumerated_set_of_trades_is_better(first):
    for seed in range(first, first + PER_TEST):
        request = random_case(seed)
        enumeration = Enumeration(request)
        if max(map(enumeration.size, enumeration.stages())) > LARGEST:
            continue
        plan, best = plan_trades(request), enumeration.best()
        if best is None:
            # Fractions of lots may keep a limit on tax that whole shares of them break.
            assert plan.status is Status.INFEASIBLE or enumeration.of_plan(plan) is not None, seed
            continue
        assert plan.status is Status.OPTIMAL, (seed, plan.message)
        mine = enumeration.of_plan(plan)
        assert mine is not None, seed
        assert plan.objective == pytest.approx(mine.objective, abs=CLOSE), seed
        assert plan.objective <= best.objective + CLOSE, seed
        assert plan.lower_bound <= best.objective + CLOSE, seed
        assert plan.quality.relaxation_bound <= plan.lower_bound <= plan.objective, seed
