"""Entropy pooling against a conic solver, closed forms and enumeration, and its refusals."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import brentq

from kernel.errors import ProblemError
from kernel.estimation.distribution_views import DistributionView as View
from kernel.estimation.entropy_pooling import Contradiction, EntropyPoolingInput, entropy_pooling
from kernel.estimation.relative_entropy import Conditions, tilt
from kernel.estimation.tail_views import TailCondition, tilt_with_tails
from kernel.measures.tails import tail_weights

T, N, H = 400, 5, 252.0
ONE = np.eye(N)


def returns(seed, periods=T):
    rng = np.random.default_rng(seed)
    return 0.0003 + 0.008 * rng.normal(size=(periods, 1)) + 0.01 * rng.standard_t(5, size=(periods, N))


R = returns(7)
EQUAL = np.full(T, 1.0 / T)


def pooled(*views, R=R, p=EQUAL, h=H):
    return entropy_pooling(EntropyPoolingInput(R, p, h, views))


def mean(name, leg, value, sense="="):
    return View(name, "mean", np.atleast_2d(leg), value, sense)


def volatility(name, leg, value, sense="="):
    return View(name, "volatility", np.atleast_2d(leg), value, sense)


def correlation(name, i, j, value, sense="="):
    return View(name, "correlation", ONE[[i, j]], value, sense)


def cvar(name, leg, value, sense="=", level=0.95):
    return View(name, "cvar", np.atleast_2d(leg), value, sense, level)


def ranking(name, order, margin=0.0):
    return View(name, "ranking", ONE[list(order)], margin, ">=")


def tail_mean(losses, p, level=0.95):
    """CVaR by sorting, the scenario at the edge of the tail in part."""
    order, left, total = np.argsort(-losses), 1.0 - level, 0.0
    for t in order:
        share = min(p[t], left)
        total, left = total + share * losses[t], left - share
    return total / (1.0 - level)


def nearest(p0, *limits):
    """The least relative entropy by a conic solver; limits are functions of the probabilities."""
    p = cp.Variable(len(p0), nonneg=True)
    problem = cp.Problem(cp.Minimize(cp.sum(cp.rel_entr(p, p0))), [cp.sum(p) == 1, *(limit(p) for limit in limits)])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert problem.status in ("optimal", "optimal_inaccurate")
    return p.value, float(problem.value)


@pytest.mark.parametrize("seed", range(5))
def test_means_and_rankings_equal_the_conic_solver(seed):
    R, rng = returns(seed), np.random.default_rng(seed)
    p0 = rng.dirichlet(np.full(T, 5.0))
    m = H * (p0 @ R)
    spread = np.array([1.0, -0.5, -0.5, 0.0, 0.0])
    found = pooled(
        mean("up", ONE[0], m[0] + 0.1),
        mean("spread", spread, float(spread @ m) - 0.05, "<="),
        mean("idle", ONE[1], m[1] - 2.0, ">="),
        ranking("order", (2, 3, 4), 0.03),
        R=R,
        p=p0,
    )
    p, value = nearest(
        p0,
        lambda p: H * (R[:, 0] @ p) == m[0] + 0.1,
        lambda p: H * ((R @ spread) @ p) <= spread @ m - 0.05,
        lambda p: H * ((R[:, 2] - R[:, 3]) @ p) >= 0.03,
        lambda p: H * ((R[:, 3] - R[:, 4]) @ p) >= 0.03,
    )
    assert found.relative_entropy == pytest.approx(value, abs=2e-8)
    np.testing.assert_allclose(found.p, p, atol=2e-6)
    assert found.gap < 1e-12
    assert found.violation < 1e-10
    assert found.views[2].multiplier == 0.0
    assert found.views[2].entropy_without == pytest.approx(found.relative_entropy, abs=1e-12)


def test_one_mean_is_an_exponential_tilt():
    x = H * R[:, 2] - 0.4

    def weights(strength):
        raw = np.exp(strength * x)
        return raw / raw.sum()

    strength = brentq(lambda s: weights(s) @ x, -3, 3, xtol=1e-15)
    found = pooled(mean("m", ONE[2], 0.4))
    np.testing.assert_allclose(found.p, weights(strength), rtol=1e-9)
    assert found.views[0].multiplier == pytest.approx(strength, rel=1e-7)
    assert found.effective_scenarios == pytest.approx(np.exp(-(found.p @ np.log(found.p))), rel=1e-12)
    assert found.tilts == pytest.approx((found.p.min() * T, found.p.max() * T))


def test_normal_returns_shift_as_the_normal_law_says():
    """For normal x the posterior of "E x = v" is the law moved by d = v - m, at a relative entropy of d^2 / 2 var."""
    x = np.random.default_rng(1).normal(0.0, 0.01, 200_000)[:, None]
    p = np.full(len(x), 1.0 / len(x))
    deviation = float(x.std())
    value = float(x.mean()) + 0.5 * deviation
    found = entropy_pooling(EntropyPoolingInput(x, p, 1.0, (View("m", "mean", np.ones((1, 1)), value),)))
    assert found.relative_entropy == pytest.approx(0.125, rel=0.01)
    assert (found.p @ (x[:, 0] - value) ** 2) ** 0.5 == pytest.approx(deviation, rel=0.01)


def test_a_view_that_repeats_the_prior_changes_nothing():
    found = pooled(mean("m", ONE[0], float(H * R[:, 0].mean())))
    np.testing.assert_allclose(found.p, EQUAL, rtol=1e-12)
    assert found.relative_entropy == pytest.approx(0.0, abs=1e-15)


def test_volatility_holds_around_the_mean_that_it_keeps():
    found = pooled(volatility("v", ONE[0], 0.3))
    x, m = R[:, 0], float(R[:, 0].mean())
    p, value = nearest(EQUAL, lambda p: x @ p == m, lambda p: H * (((x - m) ** 2) @ p) == 0.09)
    assert found.relative_entropy == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose(found.p, p, atol=2e-6)
    assert H * (found.p @ x) == pytest.approx(H * m, abs=1e-10)


def test_volatility_refers_to_the_mean_of_the_views():
    found = pooled(volatility("v", ONE[0], 0.3), mean("m", ONE[0], 0.5))
    x, m = R[:, 0], 0.5 / H
    _, value = nearest(EQUAL, lambda p: x @ p == m, lambda p: H * (((x - m) ** 2) @ p) == 0.09)
    assert found.relative_entropy == pytest.approx(value, abs=1e-8)
    assert [report.posterior_value for report in found.views] == pytest.approx([0.3, 0.5], abs=1e-10)


def test_correlation_keeps_means_and_volatilities():
    found = pooled(correlation("c", 0, 1, 0.7))
    X = R[:, :2] - R[:, :2].mean(axis=0)
    v = (X**2).mean(axis=0)
    _, value = nearest(
        EQUAL,
        lambda p: X.T @ p == 0,
        lambda p: (X**2).T @ p == v,
        lambda p: X.prod(axis=1) @ p == 0.7 * np.sqrt(v.prod()),
    )
    assert found.relative_entropy == pytest.approx(value, abs=1e-8)
    assert found.views[0].posterior_value == pytest.approx(0.7, abs=1e-10)
    np.testing.assert_allclose(found.p @ R[:, :2], R[:, :2].mean(axis=0), atol=1e-14)


@pytest.mark.parametrize("sense", ["=", ">="])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_a_heavier_tail_equals_the_conic_solver(sense, level):
    losses = -R[:, 0]
    value = 1.25 * tail_mean(losses, EQUAL, level)
    found = pooled(cvar("tail", ONE[0], value, sense, level))
    every = [
        lambda p, t=t: np.maximum(losses - t, 0.0) @ p >= (1.0 - level) * (value - t)
        for t in np.quantile(losses, np.linspace(0.7, 0.999, 120), method="nearest")
    ]
    _, entropy = nearest(EQUAL, *every)
    assert tail_mean(losses, found.p, level) == pytest.approx(value, abs=1e-10)
    assert found.relative_entropy == pytest.approx(entropy, abs=2e-8)
    assert found.gap < 1e-9


@pytest.mark.parametrize("share", [0.6, 0.9])
@pytest.mark.parametrize("sense", ["=", "<="])
def test_a_lighter_tail_is_the_best_of_all_places(share, sense):
    """Every loss as the value at risk, one after the other."""
    few = R[:150]
    losses, p0 = -few[:, 1], np.full(len(few), 1.0 / len(few))
    value = share * tail_mean(losses, p0)
    found = pooled(cvar("tail", ONE[1], value, sense), mean("m", ONE[0], 0.2), R=few, p=p0)
    plain = Conditions.none(len(few)).also(H * few[:, 0], 0.2)
    places = [tilt(p0, plain.also(np.maximum(losses - t, 0.0), 0.05 * (value - t), "<=")) for t in losses if t < value]
    assert found.relative_entropy == pytest.approx(min(one.entropy for one in places if one), abs=1e-9)
    assert tail_mean(losses, found.p) == pytest.approx(value, abs=1e-10)
    assert found.gap < 1e-9


def test_several_lighter_tails_hold_and_say_what_is_not_proven():
    losses = (-R[:, 0], -R[:, 1])
    values = [0.9 * tail_mean(loss, EQUAL) for loss in losses]
    found = pooled(cvar("a", ONE[0], values[0]), cvar("b", ONE[1], values[1], "<="))
    assert tail_mean(losses[0], found.p) == pytest.approx(values[0], abs=1e-10)
    assert tail_mean(losses[1], found.p) <= values[1] + 1e-10
    alone = pooled(cvar("a", ONE[0], values[0]))
    assert found.relative_entropy - found.gap <= found.relative_entropy
    assert found.relative_entropy >= alone.relative_entropy - 1e-9
    assert found.gap < found.relative_entropy


def test_a_tail_that_is_light_enough_costs_nothing():
    found = pooled(cvar("tail", ONE[0], 2.0 * tail_mean(-R[:, 0], EQUAL), "<="))
    assert found.relative_entropy == 0.0
    assert found.views[0].multiplier == 0.0


def test_multipliers_are_slopes_of_the_entropy():
    step = 1e-5

    def views(k, move):
        made = [
            mean("m", ONE[3], 0.15),
            ranking("r", (0, 2), 0.02),
            cvar("t", ONE[4], 1.2 * tail_mean(-R[:, 4], EQUAL)),
        ]
        moved = made[k]
        made[k] = View(moved.name, moved.kind, moved.legs, moved.value + move, moved.sense)
        return made

    base = pooled(*views(0, 0.0))
    for k in range(3):
        up, down = pooled(*views(k, step)).relative_entropy, pooled(*views(k, -step)).relative_entropy
        assert base.views[k].multiplier == pytest.approx((up - down) / (2 * step), rel=2e-3, abs=1e-5)


def test_all_kinds_hold_together_in_any_order():
    views = [
        mean("m", ONE[0], 0.2),
        volatility("v", ONE[1], 0.25),
        correlation("c", 1, 2, 0.5),
        ranking("r", (3, 4), 0.02),
        cvar("t", ONE[3], 1.1 * tail_mean(-R[:, 3], EQUAL)),
    ]
    found = [pooled(*order) for order in itertools.islice(itertools.permutations(views), 0, 120, 40)]
    for one in found:
        assert one.violation < 1e-8
        assert one.relative_entropy == pytest.approx(found[0].relative_entropy, abs=1e-9)
        np.testing.assert_allclose(one.p, found[0].p, rtol=1e-5)


def test_cost_of_a_view_is_what_is_saved_without_it():
    a, b = mean("a", ONE[0], 0.3), mean("b", ONE[1], 0.5)
    both = pooled(a, b)
    assert both.views[0].entropy_without == pytest.approx(pooled(b).relative_entropy, abs=1e-14)
    assert both.views[1].entropy_without == pytest.approx(pooled(a).relative_entropy, abs=1e-14)
    assert both.relative_entropy >= max(report.entropy_without for report in both.views)


def test_the_same_view_twice_counts_once():
    once, twice = pooled(mean("a", ONE[0], 0.3)), pooled(mean("a", ONE[0], 0.3), mean("b", 2 * ONE[0], 0.6))
    np.testing.assert_allclose(twice.p, once.p, rtol=1e-9)


def test_impossible_scenarios_stay_impossible():
    p0 = EQUAL.copy()
    p0[:10] = 0.0
    p0 /= p0.sum()
    found = pooled(mean("m", ONE[0], 0.3), p=p0)
    assert not found.p[:10].any()
    rest = pooled(mean("m", ONE[0], 0.3), R=R[10:], p=np.full(T - 10, 1.0 / (T - 10)))
    np.testing.assert_allclose(found.p[10:], rest.p, rtol=1e-12)


def test_an_edge_of_the_scenarios_can_still_be_stated():
    x = np.arange(10.0)[:, None] / 10
    found = entropy_pooling(EntropyPoolingInput(x, np.full(10, 0.1), 1.0, (View("m", "mean", np.ones((1, 1)), 0.9),)))
    assert found.relative_entropy == pytest.approx(np.log(10.0), abs=1e-10)
    assert found.p[-1] == pytest.approx(1.0, abs=1e-10)


def reach(column, sign):
    return H * float((sign * R[:, column]).max()) * sign


@pytest.mark.parametrize(
    ("views", "named"),
    [
        ([mean("far", ONE[0], reach(0, 1) + 1e-3)], {"far"}),
        ([mean("low", ONE[0], reach(0, -1) - 1e-3, "<=")], {"low"}),
        ([mean("a", ONE[0], 0.1), mean("x", ONE[1], 0.1), mean("b", 2 * ONE[0], 0.3)], {"a", "b"}),
        ([ranking("r", (0, 1, 2)), ranking("s", (2, 0), 0.01), mean("x", ONE[4], 0.1)], {"r", "s"}),
        ([correlation("one", 0, 1, 1.0), mean("x", ONE[4], 0.1)], {"one"}),
        ([correlation(f"{i}{j}", i, j, -0.8) for i, j in ((0, 1), (1, 2), (0, 2))], {"01", "12", "02"}),
        ([volatility("v", ONE[0], 100.0)], {"v"}),
        ([cvar("t", ONE[0], 1.0, ">=")], {"t"}),
        ([cvar("t", ONE[0], -1.0, "<=")], {"t"}),
        ([cvar("t", ONE[0], 0.05), cvar("u", ONE[0], 0.02, "<="), mean("x", ONE[1], 0.1)], {"t", "u"}),
    ],
)
def test_contradictions_are_proven_and_named(views, named):
    found = pooled(*views)
    assert isinstance(found, Contradiction)
    assert set(found.views) == named
    assert "cannot hold" in found.sentence


def test_a_contradiction_is_confirmed_by_a_linear_program():
    p = cp.Variable(T, nonneg=True)
    X = R[:, [0, 1, 2]]
    problem = cp.Problem(cp.Minimize(0), [cp.sum(p) == 1, H * (R[:, 0] @ p) >= reach(0, 1) + 1e-3])
    problem.solve(solver=cp.HIGHS)
    assert problem.status == "infeasible"
    assert tilt(EQUAL, Conditions.none(T).also(H * X[:, 0], reach(0, 1) + 1e-3, ">=")) is None


@pytest.mark.parametrize(
    ("view", "field"),
    [
        (mean("m", np.zeros(N), 0.1), "views[m]"),
        (mean("m", np.ones(N - 1), 0.1), "views[m]"),
        (mean("m", np.full(N, np.nan), 0.1), "views[m]"),
        (mean("m", ONE[0], np.nan), "views[m].value"),
        (mean("m", ONE[0], 1e9), "views[m].value"),
        (mean("m", ONE[0], 0.1, "<"), "views[m]"),
        (volatility("v", ONE[0], 0.0), "views[v].value"),
        (correlation("c", 0, 1, 1.01), "views[c].value"),
        (correlation("c", 1, 1, 0.5), "views[c]"),
        (cvar("t", ONE[0], 0.1, level=1.0), "views[t].confidence_level"),
        (ranking("r", (0,)), "views[r]"),
        (ranking("r", (0, 1, 0)), "views[r]"),
        (ranking("r", (0, 1), -0.1), "views[r].value"),
        (View("k", "kurtosis", ONE[:1], 3.0), "views[k]"),
        (mean("first", ONE[0], 0.1), "views[first]"),
    ],
)
def test_bad_view_is_named(view, field):
    with pytest.raises(ProblemError) as error:
        pooled(mean("first", ONE[1], 0.1), view)
    assert error.value.field == field


def test_no_view_is_no_request():
    with pytest.raises(ProblemError, match="at least one view"):
        pooled()


@pytest.mark.parametrize(
    ("R", "p", "h", "field"),
    [
        (np.where(np.arange(T)[:, None] == 3, np.nan, R), EQUAL, H, "returns[3][0]"),
        (R, EQUAL[:-1], H, "p"),
        (R, 2.0 * EQUAL, H, "p"),
        (R, np.where(np.arange(T) == 0, -1.0, EQUAL + 1.0 / T), H, "p"),
        (R, EQUAL, 0.0, "periods_per_year"),
    ],
)
def test_bad_scenarios_are_named(R, p, h, field):
    with pytest.raises(ProblemError) as error:
        pooled(mean("m", ONE[0], 0.1), R=R, p=p, h=h)
    assert error.value.field == field


def test_a_constant_has_no_correlation():
    still = R.copy()
    still[:, 1] = 0.001
    with pytest.raises(ProblemError, match="same return in all scenarios"):
        pooled(correlation("c", 0, 1, 0.5), R=still)


def test_tail_weights_and_sorting_agree():
    p = np.random.default_rng(2).dirichlet(np.ones(T))
    assert tail_weights(-R[:, 0], p, 0.95) @ -R[:, 0] == pytest.approx(tail_mean(-R[:, 0], p), rel=1e-12)


def test_search_reports_its_bound():
    losses = -R[:, 0]
    condition = TailCondition(losses, 0.95, 0.8 * tail_mean(losses, EQUAL), "<=")
    found = tilt_with_tails(EQUAL, Conditions.none(T), (condition,))
    assert found is not None
    assert 0.0 <= found.tilt.entropy - found.tilt.bound < 1e-9
    assert found.tail_prices[0] < 0.0


def slope(views, k, step=1e-5):
    def moved(by):
        changed = View(views[k].name, views[k].kind, views[k].legs, views[k].value + by, views[k].sense)
        return pooled(*views[:k], changed, *views[k + 1 :]).relative_entropy

    return (moved(step) - moved(-step)) / (2 * step)


@pytest.mark.parametrize("sense", ["=", ">="])
def test_a_mean_and_the_volatility_around_it_share_no_multiplier(sense):
    views = (mean("m", ONE[3], 0.3, sense), volatility("v", ONE[3], 0.14))
    found = pooled(*views)
    # Where the mean is what the volatility keeps, nothing else is kept; the volatility comes last in any case.
    for k, view in enumerate(found.views):
        assert view.multiplier == pytest.approx(slope(views, k), rel=2e-3, abs=1e-5)


def test_a_view_that_moves_what_volatilities_keep_has_no_multiplier():
    found = pooled(mean("spread", ONE[0] - ONE[1], 0.05), volatility("v", ONE[0], 0.2), volatility("u", ONE[1], 0.2))
    assert found.views[0].multiplier is None
    assert found.views[1].multiplier is not None


def test_what_a_volatility_keeps_is_said_where_it_cannot_hold():
    found = pooled(volatility("v", np.eye(1), 0.1), R=np.array([[-0.1], [0.1]]), p=np.array([0.9, 0.1]), h=1.0)
    assert isinstance(found, Contradiction)
    assert "with the expected returns that volatilities keep" in found.sentence


def test_many_tails_that_may_stay_as_they_are_change_nothing():
    views = [cvar(f"t{k}", ONE[k % N], 0.9, "<=", 0.9 + 0.005 * (k // N)) for k in range(20)]
    assert pooled(*views).relative_entropy == pytest.approx(0.0, abs=1e-12)
