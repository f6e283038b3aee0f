"""Value at risk against the enumeration of every set of scenarios that may be exempt, each a linear program."""

import itertools

import numpy as np
import pytest
import scipy.optimize

from kernel.constraints import RiskLimit, WeightBounds, budget
from kernel.errors import ProblemError
from kernel.measures.value_at_risk import ConvexBound, ValueAtRisk, quantile, reach_of_losses
from kernel.methods import value_at_risk
from kernel.methods.mean_risk import canonicalize, optimize
from kernel.methods.value_at_risk import has_value_at_risk
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.status import Status
from tests.unit.kernel.measures.markets import Market, returns

SETTINGS = Settings()
AVERSION = 3.0
# Lowers all returns, so that few portfolios have a negative value at risk.
LOSING = -0.003
MARKETS = {
    "equal": Market(LOSING + returns(21, 12, 4), np.ones(12), 0.0, 0.7, 0.8),
    "unequal": Market(LOSING + returns(22, 10, 4), np.array([1, 2, 1, 3, 1, 0, 2, 1, 1, 2.0]), 0.0, 1.0, 0.78),
    "shorts": Market(returns(23, 12, 3), np.ones(12), -0.25, 0.8, 0.83),
    "one asset": Market(returns(24, 10, 1), np.ones(10), 0.0, 1.0, 0.9),
}


def solve(problem, settings=SETTINGS):
    return optimize(problem, settings)


def exemptions(market: Market):
    """Largest sets of scenarios whose probabilities add up to at most 1 - c."""
    p, possible = market.p, np.flatnonzero(market.p > 0.0).tolist()
    share = 1.0 - market.confidence_level + 1e-9
    sets = [
        frozenset(chosen)
        for size in range(len(possible))
        for chosen in itertools.combinations(possible, size)
        if p[list(chosen)].sum() <= share
    ]
    return [chosen for chosen in sets if not any(chosen < other for other in sets)]


class Enumeration:
    """Linear programs over (y, kappa, x, t) with x the risk and t the changes; kappa is fixed outside of ratios."""

    def __init__(self, market: Market, *, costs=False):
        self.market, self.n = market, market.n
        self.rates = market.cost.rates if costs else np.zeros(market.n)

    def best(self, goal, rows=(), equations=()):
        """Least goal (N,) over all exemptions, under further rows ``a'v <= b`` and equations."""
        values = [self._solve(goal, exempt, rows, equations) for exempt in exemptions(self.market)]
        return min(value for value in values if value is not None)

    def place(self, y=0.0, kappa=0.0, x=0.0, t=0.0):
        n = self.n
        return np.concatenate([np.broadcast_to(y, n), [kappa, x], np.broadcast_to(t, n)]).astype(float)

    def _solve(self, goal, exempt, rows, equations):
        market, n, eye = self.market, self.n, np.eye(self.n)
        A = [self.place(y=-market.R[t], x=-1.0) for t in np.flatnonzero(market.p > 0.0) if t not in exempt]
        A += [self.place(y=-eye[i], kappa=market.lower) for i in range(n)]
        A += [self.place(y=eye[i], kappa=-market.upper) for i in range(n)]
        A += [self.place(y=s * eye[i], kappa=-s * market.w0[i], t=-eye[i]) for i in range(n) for s in (1.0, -1.0)]
        b = np.zeros(len(A))
        A_eq = [self.place(y=1.0, kappa=-1.0), *(a for a, _ in equations)]
        b_eq = [0.0, *(value for _, value in equations)]
        found = scipy.optimize.linprog(
            goal,
            np.array([*A, *(a for a, _ in rows)]),
            np.append(b, [value for _, value in rows]),
            np.array(A_eq),
            np.array(b_eq),
            [(None, None)] * n + [(0.0, None), (None, None)] + [(0.0, None)] * n,
        )
        return found.fun if found.status == 0 else None


def check(problem, expected):
    solution = solve(problem)
    assert solution.status is Status.OPTIMAL, solution.message
    assert solution.message.startswith("exact mixed-integer search")
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-7)
    assert solution.certificate.bound == pytest.approx(expected, rel=1e-7)
    assert solution.certificate.objective == problem.objective.value(problem, solution.weights)
    return solution


@pytest.mark.parametrize("costs", [False, True])
@pytest.mark.parametrize("name", MARKETS)
def test_least_value_at_risk(name, costs):
    judge = Enumeration(MARKETS[name], costs=costs)
    aversion = AVERSION if costs else 1.0
    fixed = [(judge.place(kappa=1.0), 1.0)]
    expected = judge.best(judge.place(x=aversion, t=judge.rates), equations=fixed)
    check(MARKETS[name].problem(MinimizeRisk(aversion), "var", costs=costs), expected)


@pytest.mark.parametrize("name", MARKETS)
def test_highest_utility(name):
    judge, mu = Enumeration(MARKETS[name]), MARKETS[name].moments.mu
    expected = -judge.best(judge.place(y=-mu, x=AVERSION), equations=[(judge.place(kappa=1.0), 1.0)])
    check(MARKETS[name].problem(MaximizeUtility(AVERSION), "var"), expected)


@pytest.mark.parametrize("name", MARKETS)
def test_highest_return_within_a_limit(name):
    posed = MARKETS[name]
    judge = Enumeration(posed, costs=True)
    fixed = [(judge.place(kappa=1.0), 1.0)]
    limit = judge.best(judge.place(x=1.0), equations=fixed) + 0.0005
    goal = judge.place(y=-posed.moments.mu, t=judge.rates)
    expected = -judge.best(goal, rows=[(judge.place(x=1.0), limit)], equations=fixed)
    cap = RiskLimit("max_var", posed.measure("var"), limit)
    solution = check(posed.problem(MaximizeReturn(), "volatility", cap, costs=True), expected)
    report = next(report for report in solution.constraints if report.name == "max_var")
    assert report.value <= limit + 1e-9


@pytest.mark.parametrize("costs", [False, True])
@pytest.mark.parametrize("name", MARKETS)
def test_highest_ratio(name, costs):
    posed = MARKETS[name]
    judge = Enumeration(posed, costs=costs)
    excess = judge.place(y=posed.moments.mu, kappa=-posed.reference, t=-judge.rates)
    expected = 1.0 / judge.best(judge.place(x=1.0), equations=[(excess, 1.0)])
    check(posed.problem(MaximizeRatio(posed.reference), "var", costs=costs), expected)


@pytest.mark.parametrize("objective", [MinimizeRisk(), MaximizeUtility(AVERSION), MaximizeRatio(0.01)])
@pytest.mark.parametrize("seed", range(3))
def test_a_local_search_says_so_and_is_bounded(objective, seed, monkeypatch):
    posed = Market(returns(30 + seed, 40, 6), np.ones(40), 0.0, 1.0, 0.9)
    problem = posed.problem(objective, "var")
    exact = solve(problem)
    assert exact.status is Status.OPTIMAL, exact.message
    monkeypatch.setattr(value_at_risk, "_LARGEST_EXACT", 0)
    local = solve(problem)
    assert local.status in (Status.LIMIT_REACHED, Status.OPTIMAL)
    assert local.message.startswith("local search")
    sign = 1.0 if objective.maximizes else -1.0
    best = exact.certificate.objective
    assert sign * (local.certificate.bound - best) >= -1e-9
    assert 0.0 <= sign * (best - local.certificate.objective) + 1e-9 <= 0.1 * abs(best)


def test_many_scenarios_have_an_answer_with_a_bound():
    posed = Market(returns(40, 400, 12), np.ones(400), 0.0, 0.3, 0.95)
    solution = solve(posed.problem(MinimizeRisk(), "var"))
    assert solution.status is Status.LIMIT_REACHED
    assert solution.certificate.bound <= solution.certificate.objective
    assert solution.certificate.objective < posed.measure("var").of(posed.w0)
    assert solution.certificate.violation <= 1e-9


def test_a_limit_below_every_portfolio_is_explained():
    posed = MARKETS["equal"]
    cap = RiskLimit("max_var", posed.measure("var"), -0.5)
    solution = solve(posed.problem(MaximizeReturn(), "volatility", cap))
    assert solution.status is Status.INFEASIBLE
    assert "max_var" in solution.explanation.conflicting


def test_a_limit_that_only_integers_refute_is_infeasible():
    posed = MARKETS["equal"]
    least = solve(posed.problem(MinimizeRisk(), "var")).certificate.objective
    cap = RiskLimit("max_var", posed.measure("var"), least - 1e-5)
    assert solve(posed.problem(MaximizeReturn(), "volatility", cap)).status is Status.INFEASIBLE


def test_a_ratio_without_excess_is_ill_posed_or_falls_back():
    posed = MARKETS["equal"]
    assert solve(posed.problem(MaximizeRatio(0.5), "var")).status is Status.ILL_POSED
    fallen = solve(posed.problem(MaximizeRatio(0.5, MinimizeRisk()), "var"))
    least = solve(posed.problem(MinimizeRisk(), "var"))
    assert fallen.certificate.objective == pytest.approx(least.certificate.objective, rel=1e-9)
    assert "the fallback instead" in fallen.message
    assert fallen.numbers["best_excess_return"] < 0.0


def test_a_ratio_over_a_gain_has_no_maximum():
    R = np.abs(returns(21, 12, 4))
    posed = Market(R, np.ones(12), 0.0, 1.0, 0.8)
    assert solve(posed.problem(MaximizeRatio(0.01), "var")).status is Status.UNBOUNDED


def test_unbounded_weights_are_refused():
    posed = MARKETS["equal"]
    open_bounds = WeightBounds(np.full(4, -np.inf), np.full(4, np.inf), posed.names, posed.names)
    problem = Problem(posed.moments, MinimizeRisk(), posed.measure("var"), (budget(4), open_bounds))
    with pytest.raises(ProblemError, match="lower bound for every weight, A0 has none"):
        solve(problem)
    with pytest.raises(ProblemError, match="add up to 1"):
        solve(Problem(posed.moments, MinimizeRisk(), posed.measure("var"), (posed_bounds(posed),)))


def posed_bounds(posed):
    return WeightBounds(np.full(4, posed.lower), np.full(4, posed.upper), posed.names, posed.names)


def test_only_problems_with_a_value_at_risk_need_this_method():
    posed = MARKETS["equal"]
    assert has_value_at_risk(posed.problem(MinimizeRisk(), "var"))
    cap = RiskLimit("max_var", posed.measure("var"), 0.01)
    assert has_value_at_risk(posed.problem(MinimizeRisk(), "cvar", cap))
    assert not has_value_at_risk(posed.problem(MinimizeRisk(), "cvar"))


def test_a_value_at_risk_without_reach_writes_no_program():
    posed = MARKETS["equal"]
    with pytest.raises(ProblemError, match="not convex"):
        canonicalize(posed.problem(MinimizeRisk(), "var"))


def portfolios(posed: Market, count: int):
    rng = np.random.default_rng(1)
    raw = rng.dirichlet(np.full(posed.n, 0.7), count)
    return raw * (1.0 - posed.n * posed.lower) + posed.lower


@pytest.mark.parametrize("most_pairs", [0, 10**7])
@pytest.mark.parametrize("name", ["equal", "unequal", "shorts"])
def test_no_loss_exceeds_the_value_at_risk_by_more_than_its_reach(name, most_pairs, monkeypatch):
    posed = MARKETS[name]
    monkeypatch.setattr("kernel.measures.value_at_risk._MOST_PAIRS", most_pairs)
    upper = np.full(posed.n, posed.upper)
    reach = reach_of_losses(posed.scenarios, posed.confidence_level, np.full(posed.n, posed.lower), upper)
    for w in portfolios(posed, 300):
        if (w <= posed.upper).all():
            losses = -posed.R @ w
            excess = losses - quantile(losses, posed.p, posed.confidence_level)
            assert (excess <= reach + 1e-12)[posed.p > 0.0].all()


@pytest.mark.parametrize("name", ["equal", "unequal", "shorts"])
def test_the_convex_bound_is_what_its_program_says_and_below_the_value_at_risk(name):
    posed = MARKETS[name]
    box = np.full(posed.n, posed.lower), np.full(posed.n, 1.0)
    reach = reach_of_losses(posed.scenarios, posed.confidence_level, *box)
    bound = ConvexBound(posed.scenarios, posed.confidence_level, reach)
    exact = ValueAtRisk(posed.scenarios, posed.confidence_level)
    for w in (w for w in portfolios(posed, 30) if (w <= 1.0).all()):
        assert bound.of(w) <= exact.of(w) + 1e-12
        fixed = WeightBounds(w, w, posed.names, posed.names)
        found = optimize(Problem(posed.moments, MinimizeRisk(), bound, (fixed,)), SETTINGS)
        assert found.certificate.objective == pytest.approx(found.certificate.bound, abs=1e-9)
