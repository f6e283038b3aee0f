"""Trades of policies in whole shares: their limits, reasons, remarks, and what rounding needs of loosened limits."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from kernel.problem import Settings
from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.policy import policy_target
from kernel.rebalancing.policy_case import OnConflict, PolicyCase, PolicyLimits
from kernel.rebalancing.policy_trades import plan_policy, policy_remarks, with_target
from kernel.rebalancing.request import CASH, TradeLimits, TradeRequest, WeightLimit
from kernel.rebalancing.trades import TradeAction

SHARES = {"AAPL": Decimal(100), "JNJ": Decimal(150), "XOM": Decimal(200)}
PRICES = {"AAPL": Decimal("232.50"), "JNJ": Decimal("165.80"), "XOM": Decimal("112.30")}
SCORES = {"AAPL": Decimal("9.2"), "JNJ": Decimal("9.0"), "XOM": Decimal("4.5")}
SECTORS = {"AAPL": "Tech", "JNJ": "Health", "XOM": "Energy"}
COSTS = CostModel(Decimal(5), Decimal(15))


def request(shares=None, cash="0", **fields):
    return TradeRequest(shares or SHARES, Decimal(cash), PRICES, {}, costs=COSTS, **fields)


def case_of(asked, limits, **changes):
    values = {name: shares * asked.prices[name] for name, shares in asked.holdings.items()}
    total = sum(values.values()) + asked.cash
    weights = np.array([float(value / total) for value in (*values.values(), asked.cash)])
    plain = {
        "names": (*values, CASH),
        "w0": weights,
        "scores": SCORES,
        "sectors": SECTORS,
        "limits": limits,
        "do_not_sell": asked.limits.do_not_sell,
    }
    return PolicyCase(**{**plain, **changes})


def planned(asked, limits, **changes):
    target = policy_target(case_of(asked, limits, **changes), Settings())
    assert target.weights is not None
    return target, plan_policy(with_target(asked, target), target)


def quantities(plan):
    return {t.instrument_id: t.quantity if t.action is TradeAction.BUY else -t.quantity for t in plan.trades}


def quality(least="6.0", **limits):
    return PolicyLimits(Decimal(least), **{name: Decimal(limit) for name, limit in limits.items()})


def test_reasons_in_the_words_of_the_limits():
    _, found = planned(request(), quality())
    reasons = {trade.instrument_id: trade.reason for trade in found.plan.trades}
    assert reasons["XOM"] == "Below min quality (4.5 < 6.0)"
    assert reasons["AAPL"].startswith("Invest in proportion to present weights. Increase from 32.94%")
    cash = Decimal(70_000)
    _, found = planned(request(cash=str(cash)), PolicyLimits(max_single_position=Decimal("0.17")))
    (sale,) = [trade for trade in found.plan.trades if trade.instrument_id == "JNJ"]
    share = 24870 / (70580 + cash)
    assert sale.reason.startswith(f"Above max single position ({float(100 * share):.3f}")
    _, found = planned(request(cash=str(cash)), PolicyLimits(max_sector=Decimal("0.17")))
    (sale,) = [trade for trade in found.plan.trades if trade.instrument_id == "JNJ"]
    assert sale.reason.startswith("Sector Health above max sector (")


def test_limits_hold_in_whole_shares():
    target, found = planned(request(), quality(max_single_position="0.6", max_turnover="0.4"))
    assert found.plan.feasible
    held = {name: SHARES[name] + quantities(found.plan).get(name, 0) for name in SHARES}
    total = sum(SHARES[name] * PRICES[name] for name in SHARES)
    assert max(held[name] * PRICES[name] / total for name in held) <= Decimal("0.6")
    assert found.plan.turnover <= Decimal("0.4")
    assert found.plan.cash_after >= 0
    assert not found.relaxations
    assert target.limits.max_turnover == Decimal("0.4")


def test_a_weight_that_stays_is_exactly_the_present_one():
    asked = request({"AAPL": Decimal(100), "JNJ": Decimal(150)}, cash="17.13")
    target = policy_target(case_of(asked, quality()), Settings())
    aimed = with_target(asked, target)
    total = sum(asked.holdings[name] * PRICES[name] for name in asked.holdings) + asked.cash
    assert aimed.target_weights == {name: asked.holdings[name] * PRICES[name] / total for name in asked.holdings}


def test_loosened_limits_give_way_to_whole_shares():
    """One share is a fifth of the portfolio, and the limit that is needed is just two of them."""
    prices = {"A": Decimal(1000), "B": Decimal(1000), "C": Decimal(1000)}
    asked = TradeRequest(
        {"A": Decimal(1), "B": Decimal(2), "C": Decimal(2)},
        Decimal(0),
        prices,
        {},
        limits=TradeLimits(min_cash=Decimal(0)),
    )
    scores = {"A": Decimal(9), "B": Decimal(9), "C": Decimal(1)}
    case = PolicyCase(
        names=("A", "B", "C", CASH),
        w0=np.array([0.2, 0.4, 0.4, 0.0]),
        scores=scores,
        sectors={},
        limits=quality(max_turnover="0.1"),
        on_conflict=OnConflict.RELAX,
        relax_order=("max_turnover",),
        do_not_buy=frozenset({"B"}),
    )
    target = policy_target(case, Settings())
    assert float(target.weights["A"]) == pytest.approx(0.6, abs=1e-6)
    found = plan_policy(with_target(asked, target), target)
    assert quantities(found.plan) == {"A": 2, "C": -2}
    (relaxation,) = found.relaxations
    assert relaxation.relaxed_limit == pytest.approx(0.4, abs=2e-6)


def test_rounding_loosens_further_only_where_nothing_else_goes(monkeypatch):
    """Whole shares cannot meet the loosened limit, so the nearest plan says how far it has to give way."""
    from kernel.rebalancing import policy_trades  # noqa: PLC0415

    asked, seen = request(), []
    target = policy_target(
        case_of(asked, quality(max_turnover="0.2"), on_conflict=OnConflict.RELAX, relax_order=("max_turnover",)),
        Settings(),
    )
    real = policy_trades.plan_trades

    def never_within(problem):
        seen.append(problem.limits.max_turnover)
        plan = real(problem)
        return plan if problem.limits.max_turnover is None else replace(plan, feasible=False)

    monkeypatch.setattr(policy_trades, "plan_trades", never_within)
    found = plan_policy(with_target(asked, target), target)
    assert seen == [Decimal("0.318221"), None]
    assert found.plan.feasible
    (relaxation,) = found.relaxations
    assert relaxation.relaxed_limit == pytest.approx(max(0.318221, float(found.plan.turnover)))
    assert [remark.code for remark in found.remarks if remark.code == "relaxed"] == ["relaxed"]


def test_in_a_stage_what_is_above_its_limit_may_stay_and_not_grow():
    target, found = planned(
        request(), quality(max_single_position="0.10", max_turnover="0.20"), on_conflict=OnConflict.STAGE
    )
    assert quantities(found.plan) == {"XOM": -125}
    codes = [remark.code for remark in found.remarks]
    assert codes == ["excluded", "limits", "staged"]
    # 75 shares of 112.30 are left of 70,580 less the costs of 26.06; they are one more rebalance of 20%.
    left = 75 * 112.30 / (70580 - 26.06)
    staged = found.remarks[-1].message
    assert staged.startswith(f"{100 * left:.4f}% of the portfolio stays in excluded instruments")
    assert "about 1 more rebalance at 20% each" in staged
    assert target.no_worse


def test_what_is_excluded_is_never_bought():
    asked = request({"AAPL": Decimal(100), "JNJ": Decimal(150), "XOM": Decimal(200)}, cash="50000")
    asked = replace(asked, limits=TradeLimits(do_not_sell=frozenset({"XOM"})))
    target = policy_target(case_of(asked, quality(), on_conflict=OnConflict.STAGE), Settings())
    found = plan_policy(replace(asked, target_weights={"XOM": Decimal("0.9")}), target)
    assert "XOM" not in quantities(found.plan)


def test_of_two_limits_of_one_name_the_tighter_counts():
    own = WeightLimit("max_sector[Health]", {"JNJ": Decimal(1)}, maximum=Decimal("0.10"))
    asked = request(cash="70000", limits=TradeLimits(weights=(own,)))
    target = policy_target(case_of(asked, PolicyLimits(max_sector=Decimal("0.17"))), Settings())
    found = plan_policy(with_target(asked, target), target)
    left = (SHARES["JNJ"] + quantities(found.plan)["JNJ"]) * PRICES["JNJ"]
    assert left / (Decimal("70580") + 70000) <= Decimal("0.10")


def test_remarks_on_what_cannot_be_judged():
    case = case_of(request(), quality(max_sector="0.9"), scores={"XOM": Decimal("4.5")}, sectors={"XOM": "Energy"})
    remarks = policy_remarks(policy_target(case, Settings()))
    assert [(remark.code, remark.instrument_id) for remark in remarks] == [
        ("excluded", "XOM"),
        ("unknown_quality", ""),
        ("unknown_sector", ""),
    ]
    assert all("AAPL, JNJ" in remark.message for remark in remarks[1:])


def random_request(rng, count):
    names = [f"n{k}" for k in range(count)]
    return TradeRequest(
        {name: Decimal(int(rng.integers(20, 400))) for name in names},
        Decimal(int(rng.integers(0, 5_000))),
        {name: Decimal(int(rng.integers(500, 9_000))) / 100 for name in names},
        {},
        costs=COSTS,
        limits=TradeLimits(min_trade_value=Decimal(100)),
    )


@pytest.mark.parametrize("on_conflict", list(OnConflict))
def test_no_plan_breaks_a_limit(on_conflict):
    """Measured once more from the shares alone, whichever way out of conflicts was chosen."""
    rng = np.random.default_rng(17)
    made = 0
    for _ in range(30):
        asked = random_request(rng, int(rng.integers(4, 9)))
        names = list(asked.holdings)
        scores = {name: Decimal(int(rng.integers(0, 101))) / 10 for name in names}
        sectors = {name: f"s{k % 3}" for k, name in enumerate(names)}
        limits = quality(
            "2.0",
            max_single_position=str(rng.choice(["0.2", "0.4", "0.6"])),
            max_sector=str(rng.choice(["0.5", "0.9"])),
            max_turnover=str(rng.choice(["0.15", "0.3", "0.6"])),
        )
        order = ("max_turnover", "max_sector", "max_single_position") if on_conflict is OnConflict.RELAX else ()
        case = case_of(asked, limits, scores=scores, sectors=sectors, on_conflict=on_conflict, relax_order=order)
        target = policy_target(case, Settings())
        if target.weights is None:
            assert on_conflict is OnConflict.FAIL
            continue
        found = plan_policy(with_target(asked, target), target)
        if not found.plan.feasible:
            continue
        made += 1
        check_limits(asked, found, target)
    assert made > 8


def check_limits(asked, found, target):
    """Positions, sectors and turnover as fractions of the value before trading; nothing excluded is bought."""
    prices, traded = asked.prices, quantities(found.plan)
    held = {name: shares + traded.get(name, Decimal(0)) for name, shares in asked.holdings.items()}
    total = sum(shares * prices[name] for name, shares in asked.holdings.items()) + asked.cash
    limits = replace(target.limits, **{r.name: Decimal(repr(r.relaxed_limit)) for r in found.relaxations})
    slack = Decimal("1e-12")
    for name, shares in held.items():
        before = asked.holdings[name] * prices[name] / total if target.no_worse else Decimal(0)
        assert shares >= 0
        assert shares * prices[name] / total <= max(limits.max_single_position, before) + slack
        if name in target.case.excluded:
            assert shares <= asked.holdings[name]
            assert target.no_worse or shares == 0
    for sector in set(target.case.sectors.values()):
        members = [name for name in held if target.case.sectors[name] == sector]
        before = sum(asked.holdings[n] * prices[n] for n in members) / total if target.no_worse else Decimal(0)
        assert sum(held[n] * prices[n] for n in members) / total <= max(limits.max_sector, before) + slack
    moved = sum(abs(shares) * prices[name] for name, shares in traded.items())
    turnover = (moved + abs(found.plan.cash_after - asked.cash)) / 2 / total
    assert turnover <= limits.max_turnover + slack
    assert found.plan.cash_after >= 0
