"""Trade plans against other solvers' answers to problems posed afresh, and under changes that must not matter."""

from dataclasses import replace
from decimal import Decimal
from random import Random

import cvxpy as cp
import numpy as np
import pytest
from scipy import optimize

from kernel.rebalancing.costs import CostModel, PowerImpact
from kernel.rebalancing.lots import GainRates, LotMethod
from kernel.rebalancing.mixed_integer import SearchSettings
from kernel.rebalancing.netting import unrounded_tax
from kernel.rebalancing.request import TrackingRisk, TradeDistance, TradeLimits, TradeRequest, TradeTax
from kernel.rebalancing.tax import NetGains, TaxRules, tax_on
from kernel.rebalancing.trades import plan_trades
from tests.unit.kernel.rebalancing.enumeration import Enumeration, is_long
from tests.unit.kernel.rebalancing.small_cases import TODAY, random_case, random_lots
from tests.unit.kernel.rebalancing.trade_requests import EXACT

FINE = Decimal("0.000001")
RULES = TaxRules(GainRates(Decimal("0.4"), Decimal("0.2")), Decimal(300), Decimal("0.35"), Decimal("0.1"))


def medium(seed, n):
    """Names with about three lots each, whole shares."""
    rng = Random(seed)
    names = [f"N{i:02d}" for i in range(n)]
    prices = {name: Decimal(rng.randint(20, 90)) for name in names}
    holdings = {name: Decimal(rng.randint(5, 60)) for name in names}
    lots = {name: random_lots(rng, name, int(holdings[name]), int(prices[name])) for name in names}
    parts = [rng.randint(1, 6) for _ in names]
    targets = {name: Decimal(part) / (sum(parts) + 1) for name, part in zip(names, parts, strict=True)}
    tax = TradeTax(
        lots,
        RULES,
        NetGains(Decimal(rng.randint(-600, 600)), Decimal(rng.randint(-600, 600))),
        TODAY,
        LotMethod.LEAST_TAX,
        Decimal(1),
    )
    limits = TradeLimits(Decimal(50), rng.choice([None, n // 2]), rng.choice([None, Decimal("0.15")]))
    return TradeRequest(
        holdings,
        Decimal(rng.randint(0, 500)),
        prices,
        targets,
        {},
        limits,
        CostModel(Decimal(1), Decimal(10)),
        EXACT,
        tax=tax,
    )


def judge(request):  # noqa: C901  # one program, written down row by row
    """The same problem for scipy's solver: big-M flags, absolute values by two rows, netting by signs."""
    names, tax, limits = sorted(request.holdings), request.tax, request.limits
    n = len(names)
    price = np.array([float(request.prices[k]) for k in names])
    held = np.array([float(request.holdings[k]) for k in names])
    total = float(price @ held) + float(request.cash)
    target = np.array([float(request.target_weights[k]) for k in names]) * total
    lots = [(i, lot) for i, name in enumerate(names) for lot in tax.lots[name]]
    buy, sell, bought, sold, miss = (slice(k * n, (k + 1) * n) for k in range(5))
    first = 5 * n
    lot_at = slice(first, first + len(lots))
    moved, short, long, plus, minus, carried, shield, s_sign, x_sign, deep = range(lot_at.stop, lot_at.stop + 10)
    width = deep + 1
    low, high, whole = np.zeros(width), np.full(width, np.inf), np.zeros(width)
    whole[: 4 * n] = 1
    high[bought], high[sold], high[sell] = 1, 1, held
    aim = target / price - held
    high[buy] = np.maximum(0.0, np.ceil(aim - 1e-9))
    high[sell] = np.minimum(held, np.where(aim < -1e-9, np.floor(-aim + 1e-9) + 1, 0.0))
    high[lot_at] = [float(lot.quantity) for _, lot in lots]
    low[[short, long]] = -np.inf
    for flag in (s_sign, x_sign, deep):
        whole[flag], high[flag] = 1, 1
    rows, lower, upper = [], [], []

    def row(terms, at_least=-np.inf, at_most=np.inf):
        line = np.zeros(width)
        for column, value in terms:
            line[column] += value
        rows.append(line), lower.append(at_least), upper.append(at_most)

    rate, flat = float(request.costs.impact_bps) / 1e4, float(request.costs.commission)
    cash = [(buy.start + i, -price[i] * (1 + rate)) for i in range(n)] + [
        (sell.start + i, price[i] * (1 - rate)) for i in range(n)
    ]
    cash += [(bought.start + i, -flat) for i in range(n)] + [(sold.start + i, -flat) for i in range(n)]
    for i in range(n):
        b, s, y, z, d = (part.start + i for part in (buy, sell, bought, sold, miss))
        small = float(limits.min_trade_value)
        row([(b, 1), (y, -high[b])], at_most=0)
        row([(s, 1), (z, -high[s])], at_most=0)
        row([(b, price[i]), (y, -small)], at_least=0)
        if high[s] == held[i] and held[i] * price[i] < small:
            row([(s, 1), (z, -held[i])], at_least=0)
        else:
            row([(s, price[i]), (z, -small)], at_least=0)
        row([(y, 1), (z, 1)], at_most=1)
        for sign in (1, -1):
            row([(d, 1), (b, -sign * price[i]), (s, sign * price[i])], at_least=sign * (held[i] * price[i] - target[i]))
        row([(s, -1)] + [(first + j, 1) for j, (k, _) in enumerate(lots) if k == i], at_least=0, at_most=0)
    row(cash, at_least=float(limits.min_cash - request.cash))
    if limits.max_trades is not None:
        row([(k, 1) for k in range(bought.start, sold.stop)], at_most=limits.max_trades)
    for sign in (1, -1):
        row([(moved, 1)] + [(k, sign * v) for k, v in cash], at_least=0)
    if limits.max_turnover is not None:
        traded = [(buy.start + i, price[i]) for i in range(n)] + [(sell.start + i, price[i]) for i in range(n)]
        row([*traded, (moved, 1)], at_most=2 * float(limits.max_turnover) * total)
    for column, start, of_term in (
        (short, tax.year_to_date.short_term, False),
        (long, tax.year_to_date.long_term, True),
    ):
        gains = [
            (first + j, -(price[i] - float(lot.unit_cost)))
            for j, (i, lot) in enumerate(lots)
            if is_long(lot, TODAY) is of_term
        ]
        row([(column, 1), *gains], at_least=float(start), at_most=float(start))
    big, limit = 1e5, float(RULES.loss_limit)
    # x = plus - minus with one of them zero; carried is what of minus lies beyond the limit, all of it at most.
    row([(short, 1), (long, 1), (plus, -1), (minus, 1)], at_least=0, at_most=0)
    row([(plus, 1), (x_sign, -big)], at_most=0)
    row([(minus, 1), (x_sign, big)], at_most=big)
    row([(carried, 1), (minus, -1)], at_least=-limit)
    row([(carried, 1), (deep, -big)], at_most=0)
    row([(carried, 1), (minus, -1), (deep, big)], at_most=big - limit)
    # shield is taxed at the short-term rate: min(short, x) where that is positive.
    row([(shield, 1), (short, -1), (s_sign, big)], at_least=0)
    row([(shield, 1), (plus, -1), (s_sign, -big)], at_least=-big)
    cost = np.zeros(width)
    cost[miss] = 1
    for part, amount in ((buy, rate * price), (sell, rate * price), (bought, flat), (sold, flat)):
        cost[part] = amount
    rates = RULES.rates
    cost[plus], cost[shield] = float(rates.long_term), float(rates.short_term - rates.long_term)
    cost[minus], cost[carried] = -float(RULES.income_rate), float(RULES.income_rate - RULES.carried_loss_value)
    answer = optimize.milp(
        cost,
        integrality=whole,
        bounds=optimize.Bounds(low, high),
        constraints=optimize.LinearConstraint(np.array(rows), lower, upper),
        options={"mip_rel_gap": 0.0},
    )
    return answer.fun - float(tax_on(tax.year_to_date, RULES).tax)


@pytest.mark.parametrize("seed", range(12))
def test_another_formulation_of_netting_has_the_same_optimum(seed):
    request = medium(seed, 5 + seed % 4)
    plan = plan_trades(request)
    assert float(plan.objective) == pytest.approx(judge(request), abs=0.02)
    assert plan.gap < 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_fractions_under_risk_and_impact_are_the_convex_optimum(seed):
    """Without thresholds and taxes the problem is convex: the conic solver's optimum is the plan's."""
    rng = np.random.default_rng(seed)
    n = 8
    names = [f"N{i}" for i in range(n)]
    weights, target = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n))
    factors, specific = rng.normal(0.0, 0.15, (n, 3)), rng.uniform(0.01, 0.06, n)
    value, daily, cap = 1e6, 2e6, 0.2
    request = TradeRequest(
        {name: Decimal(f"{value * w / 10:.6f}") for name, w in zip(names, weights, strict=True)},
        Decimal(1000),
        dict.fromkeys(names, Decimal(10)),
        {name: Decimal(f"{w:.12f}") for name, w in zip(names, target * 0.999, strict=True)},
        dict.fromkeys(names, FINE),
        TradeLimits(max_turnover=Decimal(str(cap))),
        CostModel(impact_bps=Decimal(5), power=dict.fromkeys(names, PowerImpact(Decimal("0.02"), Decimal(int(daily))))),
        SearchSettings(relative_gap=1e-7, time_limit_seconds=60.0),
        TradeDistance.TRACKING_RISK,
        TrackingRisk(tuple(names), factors, specific, target, aversion=8.0),
    )
    plan = plan_trades(request)
    error = round(0.97 * plan.tracking_error_after, 6)
    if seed % 2:
        looser = TradeLimits(max_turnover=Decimal(str(cap + 0.1)), max_tracking_error=Decimal(str(error)))
        cap, request = cap + 0.1, replace(request, limits=looser)
        plan = plan_trades(replace(request, risk=replace(request.risk, aversion=0.1)))
    held = np.array([float(q) * 10 for q in request.holdings.values()]) / value
    total = held.sum() + 1000 / value
    change = cp.Variable(n)
    active = (held + change) / total - target
    variance = cp.sum_squares(factors.T @ active) + cp.sum(cp.multiply(specific, cp.square(active)))
    cost = cp.Variable()
    law = 5e-4 * cp.norm1(change) + 0.02 / np.sqrt(daily / value) * cp.sum(cp.power(cp.abs(change), 1.5))
    limits = [cost >= law, 1000 / value - cp.sum(change) - cost >= 0.0]
    limits += [cp.norm1(change) + cp.abs(cp.sum(change) + cost) <= 2 * cap * total]
    limits += [variance <= error**2] if seed % 2 else []
    problem = cp.Problem(cp.Minimize((0.05 if seed % 2 else 4.0) * variance * total + cost), limits)
    best = problem.solve(solver=cp.CLARABEL)
    assert plan.feasible
    assert float(plan.objective) / value == pytest.approx(best, rel=1e-4)
    assert float(plan.lower_bound) / value <= best * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_new_names_change_nothing(seed):
    """The same problem under names in another order."""
    request = random_case(seed)
    swapped = {name: f"M{9 - int(name[1:])}" for name in request.prices}

    def renamed(mapping):
        return {swapped[name]: value for name, value in mapping.items()}

    tax, risk = request.tax, request.risk
    if tax is not None:
        wash = {
            swapped[name]: replace(exposure, identical=frozenset(swapped[other] for other in exposure.identical))
            for name, exposure in tax.wash.items()
        }
        tax = replace(tax, lots=renamed(tax.lots), wash=wash)
    if risk is not None:
        risk = replace(risk, names=tuple(swapped[name] for name in risk.names))
    limits = replace(
        request.limits,
        do_not_buy=frozenset(swapped[name] for name in request.limits.do_not_buy),
        do_not_sell=frozenset(swapped[name] for name in request.limits.do_not_sell),
        weights=tuple(replace(limit, coefficients=renamed(limit.coefficients)) for limit in request.limits.weights),
    )
    other = replace(
        request,
        holdings=renamed(request.holdings),
        prices=renamed(request.prices),
        target_weights=renamed(request.target_weights),
        costs=replace(request.costs, power=renamed(request.costs.power)),
        limits=limits,
        tax=tax,
        risk=risk,
    )
    mine, theirs = plan_trades(request), plan_trades(other)
    assert mine.status is theirs.status
    assert mine.objective == pytest.approx(theirs.objective, abs=Decimal("1e-4"))


@pytest.mark.parametrize("seed", range(40))
def test_a_tighter_limit_is_never_better(seed):
    request = random_case(seed)
    for change in ({"max_turnover": Decimal("0.1")}, {"max_trades": 1}):
        tight = plan_trades(replace(request, limits=replace(request.limits, **change)))
        loose = plan_trades(replace(request, limits=replace(request.limits, **dict.fromkeys(change))))
        if tight.feasible and tight.concessions == loose.concessions:
            assert tight.objective >= loose.objective - Decimal("1e-4")


@pytest.mark.parametrize("seed", range(10))
def test_larger_plans_keep_every_limit(seed):
    """Re-derived from trades and lots alone, with the search stopped early."""
    request = medium(seed, 20)
    request = replace(
        request,
        limits=replace(
            request.limits, max_tax=Decimal(50 * seed), do_not_sell=frozenset({"N01"}), min_cash=Decimal(100)
        ),
        search=SearchSettings(node_limit=3),
    )
    plan = plan_trades(request)
    assert plan.feasible
    mine = Enumeration(request).of_plan(plan)
    assert mine is not None
    assert plan.objective == pytest.approx(mine.objective, abs=Decimal("1e-6"))
    assert plan.lower_bound <= plan.objective


@pytest.mark.parametrize("seed", range(200))
def test_the_cells_are_the_bill(seed):
    rng = Random(seed)
    rules = TaxRules(
        GainRates(Decimal(rng.randint(0, 50)) / 100, Decimal(rng.randint(0, 50)) / 100),
        Decimal(rng.choice([0, 10, 3000])),
        Decimal(rng.randint(0, 50)) / 100,
        Decimal(rng.randint(0, 50)) / 100,
    )
    gains = NetGains(Decimal(rng.randint(-4000, 4000)), Decimal(rng.randint(-4000, 4000)))
    assert unrounded_tax(gains, rules) == tax_on(gains, rules).tax


@pytest.mark.parametrize("seed", range(12))
def test_many_factors_say_what_few_say(seed):
    """The same covariance written with 150 factors, most of them in one square of the program."""
    request = medium(seed, 6)
    names = tuple(request.holdings)
    rng = np.random.default_rng(seed)
    many = rng.normal(0.0, 0.02, (6, 150))
    few = np.linalg.cholesky(many @ many.T)
    risk = TrackingRisk(names, few, np.full(6, 0.01 * (seed % 2)), rng.dirichlet(np.ones(7))[:6], aversion=30.0)
    limits = replace(request.limits, max_tracking_error=Decimal("0.15") if seed % 3 else None)
    request = replace(request, distance=TradeDistance.TRACKING_RISK, risk=risk, limits=limits)
    mine, theirs = plan_trades(request), plan_trades(replace(request, risk=replace(risk, factors=many)))
    assert mine.status is theirs.status
    assert mine.objective == pytest.approx(theirs.objective, abs=Decimal("0.02"))
    assert theirs.lower_bound <= mine.objective + Decimal("1e-4")


@pytest.mark.parametrize("seed", range(10))
def test_the_same_request_gives_the_same_plan(seed):
    request = replace(random_case(seed), price_limits=True)
    assert plan_trades(request) == plan_trades(request)
