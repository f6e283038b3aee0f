"""How far plans go: bands, part of the way, deposits and withdrawals, each against a judge of its own."""

from decimal import Decimal

import numpy as np
import pytest
from scipy.optimize import linprog

from kernel.errors import ProblemError
from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.drift import DriftMeasure, measure_drift
from kernel.rebalancing.request import CASH, TradeLimits, TradeRequest
from kernel.rebalancing.strategies import (
    Strategy,
    StrategyKind,
    apply_strategy,
    level,
    strategy_remarks,
    with_cash,
)
from kernel.rebalancing.trades import TradeAction, plan_trades

CENT = Decimal("0.01")


def request(values, target, cash="0", **fields):
    """Shares of one unit of money each, traded in cents."""
    names = {*values, *target}
    return TradeRequest(
        holdings={name: Decimal(value) for name, value in values.items()},
        cash=Decimal(cash),
        prices=dict.fromkeys(names, Decimal(1)),
        target_weights={name: Decimal(weight) for name, weight in target.items()},
        increments=dict.fromkeys(names, CENT),
        **fields,
    )


def threshold(value="0.05", measure=DriftMeasure.MAX_ABSOLUTE):
    return Strategy(StrategyKind.THRESHOLD, measure=measure, threshold=Decimal(value))


def flow(amount):
    return Strategy(StrategyKind.CASH_FLOW, cash_flow=Decimal(amount))


def random_request(rng, count, **fields):
    names = [f"n{k}" for k in range(count)]
    values = {name: str(Decimal(int(rng.integers(0, 50_000))) + Decimal("0.37")) for name in names}
    shares = rng.dirichlet(np.ones(count + 1))[:-1]
    target = {
        name: str(Decimal(repr(float(share))).quantize(Decimal("0.0001")))
        for name, share in zip(names, shares, strict=True)
    }
    return request(values, target, cash=str(int(rng.integers(0, 9_000))), **fields)


def weights_after(outcome):
    return with_cash(outcome.request.target_weights)


def test_full_is_the_request_itself():
    asked = request({"A": "60", "B": "40"}, {"A": "0.5", "B": "0.5"})
    assert apply_strategy(asked, Strategy()).request is asked


# --- THRESHOLD


def test_below_the_threshold_nothing_trades():
    asked = request({"A": "54900", "B": "45100"}, {"A": "0.5", "B": "0.5"})
    outcome = apply_strategy(asked, threshold())
    assert not outcome.fired
    assert [remark.code for remark in outcome.remarks] == ["no_trades"]
    assert "4.9%" in outcome.remarks[0].message
    assert plan_trades(outcome.request).trades == ()


def test_exactly_at_the_threshold_it_fires():
    asked = request({"A": "30", "B": "70"}, {"A": "0.25", "B": "0.75"})
    assert apply_strategy(asked, threshold()).fired
    assert not apply_strategy(asked, threshold("0.0500000001")).fired


def test_only_what_is_outside_goes_and_only_to_the_edge():
    asked = request({"A": "580", "B": "220", "C": "200"}, {"A": "0.5", "B": "0.25", "C": "0.25"})
    outcome = apply_strategy(asked, threshold("0.06"))
    # A goes from 58% to 56%. Its proceeds stay in cash, which is within its own band.
    assert outcome.request.target_weights == {"A": Decimal("0.56"), "B": Decimal("0.22"), "C": Decimal("0.2")}


def test_both_sides_to_their_edges():
    asked = request({"A": "58000", "B": "42000"}, {"A": "0.5", "B": "0.5"}, costs=CostModel())
    plan = plan_trades(apply_strategy(asked, threshold()).request)
    assert [(trade.instrument_id, trade.action, trade.value) for trade in plan.trades] == [
        ("A", TradeAction.SELL, Decimal("3000.00")),
        ("B", TradeAction.BUY, Decimal("3000.00")),
    ]


def test_cash_above_its_band_buys_what_is_furthest_below():
    asked = request({"A": "450", "B": "350"}, {"A": "0.5", "B": "0.5"}, cash="200")
    outcome = apply_strategy(asked, threshold("0.10"))
    # B is outside and goes to 40%; cash is then 15%, and the 5% above its band go to A and B, level at 45% and 45%.
    assert weights_after(outcome) == {"A": Decimal("0.45"), "B": Decimal("0.45"), CASH: Decimal("0.1")}


def test_what_a_purchase_lacks_is_sold_of_what_is_furthest_above():
    asked = request({"A": "540", "B": "360", "C": "100"}, {"A": "0.5", "B": "0.32", "C": "0.18"})
    outcome = apply_strategy(asked, threshold())
    # C lacks 3 points to its edge at 13%. A and B are 4 points above: both give 1.5.
    assert weights_after(outcome) == {
        "A": Decimal("0.525"),
        "B": Decimal("0.345"),
        "C": Decimal("0.13"),
        CASH: Decimal(0),
    }


def test_relative_and_5_25_bands():
    asked = request({"A": "560", "B": "130", "C": "310"}, {"A": "0.6", "B": "0.1", "C": "0.3"})
    five = apply_strategy(asked, threshold(measure=DriftMeasure.BAND_5_25))
    assert five.request.target_weights == {"A": Decimal("0.56"), "B": Decimal("0.125"), "C": Decimal("0.31")}
    relative = apply_strategy(asked, threshold("0.2", DriftMeasure.RELATIVE))
    assert relative.request.target_weights == {"A": Decimal("0.56"), "B": Decimal("0.12"), "C": Decimal("0.31")}


def test_a_rest_of_cash_does_not_fire_relative_measures():
    asked = request({"A": "499", "B": "499"}, {"A": "0.5", "B": "0.5"}, cash="2")
    for measure in (DriftMeasure.RELATIVE, DriftMeasure.BAND_5_25):
        assert not apply_strategy(asked, threshold(measure=measure)).fired


def test_half_l1_goes_part_of_the_way_with_the_least_trade():
    rng = np.random.default_rng(7)
    fired = 0
    for _ in range(60):
        asked = random_request(rng, int(rng.integers(2, 7)))
        outcome = apply_strategy(asked, threshold("0.08", DriftMeasure.HALF_L1))
        if not outcome.fired:
            continue
        fired += 1
        total = sum(asked.holdings.values()) + asked.cash
        before = {**{name: value / total for name, value in asked.holdings.items()}, CASH: asked.cash / total}
        after, target = weights_after(outcome), with_cash(asked.target_weights)
        assert measure_drift(after, target).half_l1 == pytest.approx(Decimal("0.08"), abs=Decimal("1e-20"))
        moved = float(measure_drift(before, after).half_l1)
        assert moved == pytest.approx(least_turnover(before, target, 0.08), abs=1e-9)
    assert fired > 30


def least_turnover(before, target, most):
    """Least one-way turnover to any weights whose half-L1 drift is at most `most`, by a linear program."""
    names = sorted(before.keys() | target.keys())
    n, eye = len(names), np.eye(len(names))
    c, t = (np.array([float(side.get(name, 0)) for name in names]) for side in (before, target))
    zero = np.zeros((n, n))
    rows = np.vstack(
        [
            np.hstack([eye, -eye, zero]),
            np.hstack([-eye, -eye, zero]),
            np.hstack([eye, zero, -eye]),
            np.hstack([-eye, zero, -eye]),
            np.concatenate([np.zeros(2 * n), np.full(n, 0.5)])[None, :],
        ]
    )
    limits = np.concatenate([c, -c, t, -t, [most]])
    cost = np.concatenate([np.zeros(n), np.full(n, 0.5), np.zeros(n)])
    budget = np.concatenate([np.ones(n), np.zeros(2 * n)])[None, :]
    answer = linprog(cost, A_ub=rows, b_ub=limits, A_eq=budget, b_eq=[1.0])
    assert answer.success
    return answer.fun


def test_a_threshold_plan_raises_cash_that_is_short_even_in_band():
    asked = request({"A": "500", "B": "500"}, {"A": "0.5", "B": "0.5"}, limits=TradeLimits(min_cash=Decimal(20)))
    plan = plan_trades(apply_strategy(asked, threshold()).request)
    assert plan.cash_after >= 20


# --- Levelling


def test_levelling_by_bisection():
    rng = np.random.default_rng(3)
    for _ in range(300):
        names = [f"n{k}" for k in range(int(rng.integers(1, 8)))]
        differences = {name: Decimal(int(rng.integers(-20, 20))) / 4 for name in names}
        most = {name: Decimal(int(rng.integers(0, 30))) / 4 for name in names}
        amount = Decimal(repr(float(rng.uniform(0, 1.2)))) * sum(most.values())
        taken = level(differences, most, amount)
        low, high = Decimal(-100), Decimal(100)
        for _ in range(120):
            middle = (low + high) / 2
            reached = sum(min(max(differences[name] - middle, Decimal(0)), most[name]) for name in names)
            low, high = (middle, high) if reached > amount else (low, middle)
        for name in names:
            expected = min(max(differences[name] - high, Decimal(0)), most[name])
            assert taken[name] == pytest.approx(expected, abs=Decimal("1e-15"))
        assert sum(taken.values()) == pytest.approx(min(amount, sum(most.values())), abs=Decimal("1e-20"))


def test_levelling_nothing():
    assert level({}, {}, Decimal(1)) == {}
    assert level({"A": Decimal(1)}, {"A": Decimal(1)}, Decimal(0)) == {"A": Decimal(0)}


# --- CASH_FLOW


def test_a_deposit_buys_what_is_furthest_below_and_sells_nothing():
    asked = request({"A": "600", "B": "250", "C": "150"}, {"A": "0.4", "B": "0.3", "C": "0.3"})
    outcome = apply_strategy(asked, flow("200"))
    # Of 1200: A aims at 480 and has 600; B lacks 110, C lacks 210. 200 levels what is left at 60 each.
    total = Decimal(1200)
    assert outcome.request.cash == 200
    assert outcome.request.target_weights == {"A": 600 / total, "B": 300 / total, "C": 300 / total}
    plan = plan_trades(outcome.request)
    assert {(trade.instrument_id, trade.action, trade.value) for trade in plan.trades} == {
        ("B", TradeAction.BUY, Decimal("50.00")),
        ("C", TradeAction.BUY, Decimal("150.00")),
    }


def test_cash_that_was_there_stays_and_the_deposit_pays_the_costs():
    costs = CostModel(commission=Decimal(1), impact_bps=Decimal(10))
    asked = request({"A": "5000", "B": "4000"}, {"A": "0.5", "B": "0.5"}, cash="70", costs=costs)
    plan = plan_trades(apply_strategy(asked, flow("500")).request)
    assert plan.cash_before == 570
    assert [(trade.instrument_id, trade.action) for trade in plan.trades] == [("B", TradeAction.BUY)]
    assert 70 <= plan.cash_after < Decimal("70.02")


def test_a_deposit_first_fills_cash_to_its_floor_and_its_target():
    floor = request({"A": "900"}, {"A": "1"}, cash="-50", limits=TradeLimits(min_cash=Decimal(30)))
    assert plan_trades(apply_strategy(floor, flow("100")).request).cash_after == 30
    target = request({"A": "900"}, {"A": "0.9"}, cash="0")
    assert apply_strategy(target, flow("100")).request.target_weights == {"A": Decimal("0.9")}
    too_little = apply_strategy(floor, flow("60"))
    assert [remark.code for remark in too_little.remarks] == ["cash_flow", "too_little_cash"]
    assert plan_trades(too_little.request).trades == ()


def test_a_withdrawal_sells_what_is_furthest_above_and_buys_nothing():
    asked = request({"A": "600", "B": "250", "C": "150"}, {"A": "0.4", "B": "0.3", "C": "0.3"})
    plan = plan_trades(apply_strategy(asked, flow("-100")).request)
    assert [(trade.instrument_id, trade.action, trade.value) for trade in plan.trades] == [
        ("A", TradeAction.SELL, Decimal("100.00"))
    ]
    assert plan.cash_after == 100


def test_a_withdrawal_takes_idle_cash_first():
    asked = request({"A": "500", "B": "500"}, {"A": "0.5", "B": "0.5"}, cash="300")
    outcome = apply_strategy(asked, flow("-250"))
    assert plan_trades(outcome.request).trades == ()
    more = plan_trades(apply_strategy(asked, flow("-400")).request)
    assert sum(trade.value for trade in more.trades) == 100


def test_a_withdrawal_covers_an_overdraft_and_a_floor_too():
    asked = request(
        {"A": "600", "B": "500"}, {"A": "0.5", "B": "0.5"}, "-100", limits=TradeLimits(min_cash=Decimal(50))
    )
    outcome = apply_strategy(asked, flow("-200"))
    # 350 bring cash from -100 to 250: of 1,100 in A and B 750 stay, level above their targets of 400 each.
    assert outcome.request.target_weights == {"A": Decimal("0.375"), "B": Decimal("0.375")}
    assert plan_trades(outcome.request).cash_after == 250


def test_a_withdrawal_is_raised_to_the_cent_with_its_costs():
    costs = CostModel(commission=Decimal(5), impact_bps=Decimal(15))
    asked = request({"A": "30000", "B": "70000"}, {"A": "0.5", "B": "0.5"}, costs=costs)
    plan = plan_trades(apply_strategy(asked, flow("-1234.56")).request)
    assert [trade.action for trade in plan.trades] == [TradeAction.SELL]
    assert Decimal("1234.56") <= plan.cash_after <= Decimal("1234.58")
    assert plan.cash_after == sum(trade.value - trade.cost for trade in plan.trades)


def test_a_flow_keeps_its_side_and_levels_best():
    """No other use of the deposit leaves a smaller largest shortfall."""
    rng = np.random.default_rng(11)
    for _ in range(40):
        asked = random_request(rng, int(rng.integers(2, 7)))
        amount = Decimal(int(rng.integers(100, 20_000)))
        outcome = apply_strategy(asked, flow(str(amount)))
        total = sum(asked.holdings.values()) + asked.cash + amount
        names = sorted(asked.holdings)
        now = np.array([float(asked.holdings[name]) for name in names])
        aims = np.array([float(asked.target_weights[name] * total) for name in names])
        after = np.array([float(outcome.request.target_weights.get(name, Decimal(0)) * total) for name in names])
        assert (after >= now - 1e-9).all()
        spent = float((after - now).sum())
        assert spent <= float(amount) + 1e-9
        room = np.maximum(aims - now, 0.0)
        n = len(names)
        best = linprog(
            [*np.zeros(n), 1.0],
            A_ub=np.hstack([-np.eye(n), -np.ones((n, 1))]),
            b_ub=now - aims,
            A_eq=[[*np.ones(n), 0.0]],
            b_eq=[spent],
            bounds=[*((0.0, top) for top in room), (None, None)],
        )
        assert best.success
        assert (aims - after).max() == pytest.approx(best.fun, abs=1e-6)


def test_plans_of_flows_never_cross_their_side():
    rng = np.random.default_rng(5)
    costs = CostModel(commission=Decimal(2), impact_bps=Decimal(10))
    for _ in range(15):
        asked = random_request(rng, 4, costs=costs, limits=TradeLimits(min_cash=Decimal(50)))
        amount = Decimal(int(rng.integers(500, 5_000)))
        bought = plan_trades(apply_strategy(asked, flow(str(amount))).request)
        assert all(trade.action is TradeAction.BUY for trade in bought.trades)
        assert bought.cash_after >= max(Decimal(50), asked.cash)
        sold = plan_trades(apply_strategy(asked, flow(str(-amount))).request)
        assert all(trade.action is TradeAction.SELL for trade in sold.trades)
        assert sold.cash_after >= amount + 50


@pytest.mark.parametrize("amount", ["0", "NaN", "Infinity", "-1000.01"])
def test_flows_that_cannot_be(amount):
    with pytest.raises(ProblemError, match="cash_flow_amount"):
        apply_strategy(request({"A": "1000"}, {"A": "1"}), flow(amount))


def test_what_drift_stays_is_said():
    asked = request({"A": "600", "B": "250", "C": "150"}, {"A": "0.4", "B": "0.3", "C": "0.3"})
    deposit = flow("200")
    plan = plan_trades(apply_strategy(asked, deposit).request)
    (remark,) = strategy_remarks(plan, asked.target_weights, deposit)
    assert remark.code == "drift_remains"
    assert "A, 10% above" in remark.message
    withdrawal = flow("-100")
    plan = plan_trades(apply_strategy(asked, withdrawal).request)
    (remark,) = strategy_remarks(plan, asked.target_weights, withdrawal)
    # 500, 250 and 150 of the 900 that stay: A is 15.5556 points above its 40%.
    assert "A, 15.5556% above" in remark.message
    assert strategy_remarks(plan, asked.target_weights, Strategy()) == ()
