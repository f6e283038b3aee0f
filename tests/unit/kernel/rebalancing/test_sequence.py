"""The order of trades: examples by hand, and what holds for any orders."""

import random
from datetime import date
from decimal import Decimal

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.execution import ExecutionSettings
from kernel.rebalancing.sequence import Funds, SequencedPlan, sequence
from kernel.rebalancing.trades import TradeAction
from tests.unit.kernel.rebalancing.sequences import BANK_HOLIDAY, DAYS, START, calendar, judge, purchase, sale

ONE_DAY = ExecutionSettings()
TENTH = ExecutionSettings(max_participation=Decimal("0.1"))


def run(orders, cash=0, floor=0, settings=ONE_DAY, start=START, cycle=1):
    plan = sequence(orders, Funds(Decimal(cash), Decimal(floor)), calendar(cycle), start, settings)
    if orders:
        judge(plan, orders, Decimal(cash), Decimal(floor), settings.max_participation)
    return plan


def ranks(plan):
    return [placed.instrument_id for placed in plan.orders]


def needs(plan):
    names = {placed.priority: placed.instrument_id for placed in plan.orders}
    return {placed.instrument_id: {names[rank] for rank in placed.depends_on} for placed in plan.orders}


def days(plan, name):
    (placed,) = [placed for placed in plan.orders if placed.instrument_id == name]
    return [part.day for part in placed.slices]


def test_no_orders():
    assert run([]) == SequencedPlan()
    assert run([], cash=-100) == SequencedPlan()


def test_cash_alone_pays():
    plan = run([purchase("A", 500), sale("B", 700), purchase("C", 300)], cash=2000)
    assert ranks(plan) == ["B", "A", "C"]
    assert needs(plan) == {"A": set(), "B": set(), "C": set()}
    assert all(placed.funds_settle_on is None for placed in plan.orders)


def test_sale_pays_for_purchase_in_the_same_session():
    plan = run([purchase("A", 500), sale("B", 700)])
    assert needs(plan) == {"A": {"B"}, "B": set()}
    assert days(plan, "A") == days(plan, "B") == [START]
    assert plan.orders[1].funds_settle_on == date(2026, 11, 3)
    assert plan.cash_projection == ((date(2026, 11, 3), Decimal(198)),)


def test_each_purchase_names_few_sales():
    """1000 and 500 come in, 499 and 998 go out: the first purchase in line takes the larger sale alone."""
    plan = run([sale("X", "501"), sale("Y", "1000"), purchase("A", "498"), purchase("B", "998")])
    assert ranks(plan) == ["Y", "X", "B", "A"]
    assert needs(plan) == {"X": set(), "Y": set(), "A": {"X"}, "B": {"Y"}}


def test_every_cent_is_promised_once():
    orders = [sale("X", "101"), sale("Y", "101"), sale("Z", "101"), purchase("A", "149"), purchase("B", "149")]
    plan = run(orders)
    assert needs(plan)["A"] | needs(plan)["B"] == {"X", "Y", "Z"}
    assert plan.cash_projection[-1][1] == 0
    with pytest.raises(ProblemError, match=r"orders: take 0\.01 more"):
        run([*orders, purchase("C", "0.01", "0")])


def test_a_sale_that_pays_for_nothing_comes_after_those_that_do():
    plan = run([sale("X", "5000"), sale("Y", "1000", days=3), purchase("A", "600")], settings=TENTH)
    assert ranks(plan) == ["X", "Y", "A"]
    assert needs(plan)["A"] == {"X"}


def test_a_purchase_waits_for_the_last_slice_of_its_sale():
    plan = run([sale("X", "3000", days=3), purchase("A", "2000", days=2)], settings=TENTH)
    assert days(plan, "X") == list(DAYS[:3])
    assert days(plan, "A") == list(DAYS[2:4])
    assert plan.cash_projection == (
        (date(2026, 11, 3), Decimal("999.67")),
        (date(2026, 11, 4), Decimal("1999.33")),
        (date(2026, 11, 5), Decimal("1998.50")),
        (date(2026, 11, 6), Decimal("998.00")),
    )


def test_a_purchase_that_cash_pays_does_not_wait():
    plan = run([sale("X", "3000", days=3), purchase("A", "900", days=2), purchase("B", "800")], 901, settings=TENTH)
    assert days(plan, "A") == list(DAYS[:2])
    assert days(plan, "B") == [DAYS[2]]


def test_a_delayed_sale_delays_what_depends_on_it():
    orders = [sale("X", "1000", not_before=date(2026, 11, 6)), sale("Y", "500"), purchase("A", "800")]
    plan = run([*orders, purchase("B", "400")])
    assert days(plan, "X") == [date(2026, 11, 6)]
    assert needs(plan)["A"] >= {"X"}
    assert days(plan, "A") == [date(2026, 11, 6)]
    waiting = [name for name in ("A", "B") if "X" in needs(plan)[name]]
    assert all(days(plan, name) == [date(2026, 11, 6)] for name in waiting)


def test_a_purchase_does_not_settle_before_what_pays_for_it():
    plan = run([sale("X", "1000", settlement_days=3), purchase("A", "900")])
    assert plan.orders[0].settlement_date == date(2026, 11, 5)
    assert days(plan, "A") == [date(2026, 11, 4)]
    assert plan.cash_projection == ((date(2026, 11, 5), Decimal(98)),)
    free = run([sale("X", "1000", settlement_days=3), purchase("A", "900")], cash=901)
    assert days(free, "A") == [START]


def test_trades_of_a_bank_holiday_settle_with_those_of_the_day_before():
    plan = run([sale("X", "2000", days=2), purchase("A", "900")], settings=TENTH, start=date(2026, 11, 10))
    assert days(plan, "X") == [date(2026, 11, 10), BANK_HOLIDAY]
    assert {placed.settlement_date for placed in plan.orders} == {date(2026, 11, 12)}
    assert plan.cash_projection == ((date(2026, 11, 12), Decimal(1098)),)


def test_an_overdraft_is_made_up_first():
    plan = run([sale("X", "300"), sale("Y", "2000", days=2), purchase("A", "500")], cash=-200, settings=TENTH)
    assert needs(plan)["A"] == {"X", "Y"}
    assert days(plan, "A") == [DAYS[1]]
    assert plan.cash_projection[0] == (DAYS[1], Decimal("1098.50"))
    with pytest.raises(ProblemError, match="orders"):
        run([sale("X", "300")], cash=-400)


def test_a_floor_below_zero_lends():
    plan = run([sale("X", "300"), purchase("A", "500")], cash=100, floor=-1000)
    assert needs(plan)["A"] == set()
    assert plan.cash_projection[-1][1] == -102


def test_a_sale_that_costs_more_than_it_brings_waits():
    plan = run([sale("X", "2", "5"), sale("Y", "100"), purchase("A", "90")])
    assert ranks(plan) == ["Y", "X", "A"]
    assert needs(plan) == {"X": {"Y"}, "Y": set(), "A": {"Y"}}


def test_the_longest_purchase_gets_the_cash():
    plan = run([sale("X", "3000", days=3), purchase("A", "950"), purchase("B", "900", days=4)], 901, settings=TENTH)
    assert days(plan, "B")[0] == START
    assert needs(plan) == {"X": set(), "A": {"X"}, "B": set()}


def test_start_on_a_day_without_trading():
    plan = run([sale("X", "100")], start=date(2026, 11, 7))
    assert days(plan, "X") == [date(2026, 11, 9)]


def test_refusals():
    with pytest.raises(ProblemError, match="twice"):
        run([sale("X", "100"), purchase("X", "50")])
    with pytest.raises(ProblemError, match="trading calendar ends"):
        run([sale("X", "100")], start=date(2030, 1, 1))
    with pytest.raises(ProblemError, match="settlement calendar ends"):
        run([sale("X", "100")], start=DAYS[-1])
    with pytest.raises(ProblemError, match=r"max_participation\[X\]: .* 251 days"):
        run([sale("X", "100000", days=251)], settings=TENTH)
    for wrong in ("-1", "NaN", "Infinity"):
        with pytest.raises(ProblemError, match=r"orders\[X\]\.cost"):
            sale("X", "100", wrong)


def random_orders(chance):
    """Up to six takers and six payers, some of them slow, late or with a cycle of their own."""
    orders = []
    for k in range(chance.randint(1, 12)):
        others = {"days": chance.choice([1, 1, 1, 2, 5, 11])}
        if chance.random() < 0.2:
            others["not_before"] = chance.choice(DAYS[:15])
        if chance.random() < 0.2:
            others["settlement_days"] = chance.randint(0, 3)
        value, cost = f"{chance.randint(1, 10**6) / 100:.2f}", f"{chance.randint(0, 900) / 100:.2f}"
        make = sale if chance.random() < 0.5 else purchase
        orders.append(make(f"{chance.choice('ABCDEF')}{k}", value, cost, **others))
    return orders


@pytest.mark.parametrize("seed", range(300))
def test_any_orders(seed):
    """Cash just suffices in half of the cases, so that every cent counts."""
    chance = random.Random(seed)
    orders = random_orders(chance)
    floor = Decimal(chance.choice([0, 0, 100, -500]))
    spare = Decimal(chance.choice([0, 0, 50, 5000]))
    cash = floor + spare - sum(order.cash_flow for order in orders)
    settings = ExecutionSettings(Decimal("0.1"), chance.choice([0, 6]), chance.choice([0.0, 1e-4]))
    plan = run(orders, cash, floor, settings, cycle=chance.choice([0, 1, 2, 5]))
    payers = [placed for placed in plan.orders if placed.action is TradeAction.SELL]
    assert ranks(plan)[: len(payers)] == [placed.instrument_id for placed in payers]


@pytest.mark.parametrize("seed", range(40))
def test_fills_in_any_order_that_keeps_the_dependencies(seed):
    """Fills come in random parts, a taker's only after the last of each of its payers'."""
    chance = random.Random(1000 + seed)
    orders = random_orders(chance)
    cash = max(Decimal(0), -sum(order.cash_flow for order in orders))
    plan = run(orders, cash, 0, TENTH)
    flows = {
        placed.priority: order.cash_flow
        for placed in plan.orders
        for order in orders
        if order.instrument_id == placed.instrument_id
    }
    left = dict.fromkeys(flows, 4)
    while any(left.values()):
        free = [
            placed.priority
            for placed in plan.orders
            if left[placed.priority] and not any(left[rank] for rank in placed.depends_on)
        ]
        rank = chance.choice(free)
        left[rank] -= 1
        cash += flows[rank] / 4
        assert cash >= 0


def test_the_same_orders_in_another_order_give_the_same_plan():
    chance = random.Random(7)
    orders = random_orders(chance)
    cash = -sum(order.cash_flow for order in orders)
    wanted = run(orders, cash, 0, TENTH)
    for _ in range(5):
        chance.shuffle(orders)
        assert run(orders, cash, 0, TENTH) == wanted
