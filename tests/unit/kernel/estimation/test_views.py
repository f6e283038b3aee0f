"""Black-Litterman against the dense formula and in its limits."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from kernel.errors import ProblemError
from kernel.estimation.expected_returns import equilibrium
from kernel.estimation.views import BlackLittermanInput, View, black_litterman

N, DELTA, TAU = 5, 2.5, 0.05


def covariance(seed=11):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(N, 3 * N))
    S = A @ A.T / (3 * N) * 0.04
    return 0.5 * (S + S.T)


SIGMA = covariance()
MARKET = np.array([0.4, 0.25, 0.2, 0.1, 0.05])


def leg(**weights):
    p = np.zeros(N)
    for name, weight in weights.items():
        p[int(name[1:])] = weight
    return p


A_OVER_B = View("a over b", leg(a0=1, a1=-1), 0.03)
C_ALONE = View("c", leg(a2=1), 0.10, variance=0.002)
D_SURE = View("d", leg(a3=1), 0.04, confidence=0.8)


def posterior(*views, Sigma=SIGMA, market=MARKET, tau=TAU):
    return black_litterman(BlackLittermanInput(Sigma, market, DELTA, tau, views))


def dense(views, omega):
    """The formula with inverses of n x n matrices, as Black and Litterman print it."""
    P, Q = np.array([v.weights for v in views]), np.array([v.expected_return for v in views])
    precision = np.linalg.inv(TAU * SIGMA) + P.T @ np.diag(1 / omega) @ P
    pi = DELTA * SIGMA @ MARKET
    M = np.linalg.inv(precision)
    return M @ (np.linalg.inv(TAU * SIGMA) @ pi + P.T @ (Q / omega)), M


def test_equals_the_dense_formula():
    views = (A_OVER_B, C_ALONE, D_SURE)
    risk = [TAU * v.weights @ SIGMA @ v.weights for v in views]
    omega = np.array([risk[0], 0.002, risk[2] * (1 / 0.8 - 1)])
    mean, M = dense(views, omega)
    result = posterior(*views)
    np.testing.assert_allclose(result.posterior, mean, rtol=1e-11)
    np.testing.assert_allclose(result.M, M, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(result.Sigma_posterior, SIGMA + M, rtol=1e-11)
    np.testing.assert_allclose([r.variance for r in result.views], omega, rtol=1e-12)


def test_reports_repeat_the_views_in_order():
    result = posterior(A_OVER_B, C_ALONE)
    assert [r.name for r in result.views] == ["a over b", "c"]
    for report, view in zip(result.views, (A_OVER_B, C_ALONE), strict=True):
        assert report.expected_return == view.expected_return
        assert report.prior_return == pytest.approx(view.weights @ result.prior, rel=1e-14)
        assert report.posterior_return == pytest.approx(view.weights @ result.posterior, rel=1e-12)


def test_without_views_the_prior_stays():
    result = posterior()
    np.testing.assert_array_equal(result.posterior, equilibrium(SIGMA, MARKET, DELTA))
    np.testing.assert_array_equal(result.M, TAU * SIGMA)
    np.testing.assert_allclose(np.linalg.solve(DELTA * result.Sigma_posterior, result.posterior), MARKET / (1 + TAU))
    assert result.views == ()


def test_view_that_repeats_the_equilibrium_returns_the_market():
    pi = equilibrium(SIGMA, MARKET, DELTA)
    p = leg(a0=1, a3=-1)
    result = posterior(View("same", p, float(p @ pi), confidence=0.9))
    np.testing.assert_allclose(result.posterior, pi, rtol=1e-15)


def test_reversing_a_view_reverses_its_tilt():
    pi, p = equilibrium(SIGMA, MARKET, DELTA), leg(a0=1, a1=-1)
    middle = float(p @ pi)
    up, down = posterior(View("up", p, middle + 0.02)), posterior(View("down", p, middle - 0.02))
    np.testing.assert_allclose(up.posterior - pi, pi - down.posterior, rtol=1e-10)
    mirrored = posterior(View("mirrored", -p, -(middle + 0.02)))
    np.testing.assert_allclose(mirrored.posterior, up.posterior, rtol=1e-13)


def test_tilt_of_optimal_weights_lies_in_the_views():
    """He and Litterman's theorem: (1 + tau) w* - w_eq is a combination of the view portfolios."""
    result = posterior(A_OVER_B, C_ALONE)
    w = np.linalg.solve(DELTA * result.Sigma_posterior, result.posterior)
    tilt = (1 + TAU) * w - MARKET
    np.testing.assert_allclose(tilt[3:], 0, atol=1e-12)
    assert tilt[0] == pytest.approx(-tilt[1], rel=1e-9)


@pytest.mark.parametrize("confidence", [1e-6, 0.25, 0.5, 0.9, 1.0])
def test_confidence_is_the_share_of_the_way(confidence):
    (report,) = posterior(View("v", leg(a2=1), 0.2, confidence=confidence)).views
    share = (report.posterior_return - report.prior_return) / (0.2 - report.prior_return)
    assert share == pytest.approx(confidence, rel=1e-9)


def test_half_confidence_is_the_default():
    p = leg(a1=1)
    default, half = posterior(View("v", p, 0.1)), posterior(View("v", p, 0.1, confidence=0.5))
    np.testing.assert_array_equal(default.posterior, half.posterior)


@pytest.mark.parametrize("certain", [{"confidence": 1.0}, {"variance": 0.0}])
def test_certain_views_hold_exactly(certain):
    views = (View("x", leg(a0=1, a4=-1), 0.05, **certain), View("y", leg(a2=1), 0.01, **certain), A_OVER_B)
    result = posterior(*views)
    for view in views[:2]:
        assert view.weights @ result.posterior == pytest.approx(view.expected_return, abs=1e-15)
        np.testing.assert_allclose(result.M @ view.weights, 0, atol=1e-16)


def test_small_variance_tends_to_certainty():
    p = leg(a0=1, a4=-1)
    certain = posterior(View("v", p, 0.05, variance=0.0)).posterior
    gaps = [
        np.abs(posterior(View("v", p, 0.05, variance=omega)).posterior - certain).max() for omega in (1e-4, 1e-6, 1e-8)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-6


def test_all_assets_certain_leaves_nothing_uncertain():
    result = posterior(*(View(f"v{i}", np.eye(N)[i], 0.01 * i, confidence=1.0) for i in range(N)))
    np.testing.assert_allclose(result.posterior, 0.01 * np.arange(N), atol=1e-14)
    np.testing.assert_allclose(result.M, 0, atol=1e-15)


def optimal_weights(result):
    return np.linalg.solve(DELTA * result.Sigma_posterior, result.posterior)


@pytest.mark.parametrize(
    "views",
    [
        (A_OVER_B,),
        (A_OVER_B, C_ALONE, D_SURE),
        (View("sure", leg(a0=1, a4=-1), 0.05, confidence=1.0), C_ALONE),
        (View("x", leg(a0=1), 0.08, variance=1e6), View("y", leg(a1=2, a2=1), 0.3)),
    ],
)
def test_tilts_make_the_optimal_portfolio(views):
    """w* = w_market / (1 + tau) + P' tilts, against the weights that solve the posterior problem."""
    result = posterior(*views)
    tilts = sum(report.tilt * view.weights for report, view in zip(result.views, views, strict=True))
    np.testing.assert_allclose(MARKET / (1 + TAU) + tilts, optimal_weights(result), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("confidence", [0.3, 0.8, 1.0])
def test_return_changes_add_up_to_the_posterior(confidence):
    views = (A_OVER_B, View("c", leg(a2=1), 0.10, confidence=confidence), D_SURE, View("b", leg(a1=1), 0.2))
    result = posterior(*views)
    total = sum(report.return_changes for report in result.views)
    np.testing.assert_allclose(total, result.posterior - result.prior, rtol=1e-11, atol=1e-16)
    assert all(not report.return_changes.flags.writeable for report in result.views)


def test_a_single_view_moves_everything_itself():
    result = posterior(A_OVER_B)
    np.testing.assert_allclose(result.views[0].return_changes, result.posterior - result.prior, atol=1e-16)


def test_certain_views_that_say_the_same_share_evenly():
    once = posterior(View("only", leg(a0=1, a1=-1), 0.03, confidence=1.0), C_ALONE)
    pair = [View("a", leg(a0=1, a1=-1), 0.03, confidence=1.0), View("b", leg(a0=2, a1=-2), 0.06, confidence=1.0)]
    both = posterior(*pair, C_ALONE)
    np.testing.assert_allclose(both.posterior, once.posterior, rtol=1e-12)
    half = 0.5 * once.views[0].return_changes
    for report in both.views[:2]:
        np.testing.assert_allclose(report.return_changes, half, rtol=1e-9)
    assert both.views[0].tilt == pytest.approx(0.5 * once.views[0].tilt, rel=1e-9)
    assert both.consistency.degrees_of_freedom == 2
    assert both.consistency.statistic == pytest.approx(once.consistency.statistic, rel=1e-9)


@pytest.mark.parametrize("confidence", [1e-9, 0.2, 0.5, 0.99, 1.0])
def test_the_reported_confidence_is_the_one_given(confidence):
    (report,) = posterior(View("v", leg(a2=1), 0.2, confidence=confidence)).views
    assert report.confidence == pytest.approx(confidence, rel=1e-9)


def test_a_variance_is_reported_as_a_confidence():
    risk = TAU * SIGMA[2, 2]
    (report,) = posterior(View("v", leg(a2=1), 0.2, variance=3.0 * risk)).views
    assert report.confidence == pytest.approx(0.25, rel=1e-12)
    assert posterior(View("v", leg(a2=1), 0.2, variance=0.0)).views[0].confidence == 1.0


def test_net_weight_tells_absolute_from_relative():
    reports = posterior(C_ALONE, A_OVER_B, View("basket", leg(a0=0.5, a1=0.25), 0.05)).views
    assert [report.net_weight for report in reports] == [1.0, 0.0, 0.75]


def test_scores_and_statistic_of_independent_views():
    """One view: the statistic is the square of its score."""
    result = posterior(C_ALONE)
    risk = TAU * SIGMA[2, 2] + 0.002
    score = (0.10 - result.prior[2]) / np.sqrt(risk)
    assert result.views[0].standard_score == pytest.approx(score, rel=1e-12)
    consistency = result.consistency
    assert consistency.statistic == pytest.approx(score**2, rel=1e-12)
    assert consistency.degrees_of_freedom == 1
    assert consistency.probability == pytest.approx(2 * norm.sf(abs(score)), rel=1e-9)


def test_statistic_against_the_dense_formula():
    views = (A_OVER_B, C_ALONE, D_SURE)
    result = posterior(*views)
    P = np.array([view.weights for view in views])
    G = TAU * P @ SIGMA @ P.T + np.diag([report.variance for report in result.views])
    gap = np.array([view.expected_return for view in views]) - P @ result.prior
    assert result.consistency.statistic == pytest.approx(gap @ np.linalg.solve(G, gap), rel=1e-10)
    assert result.consistency.degrees_of_freedom == 3


def test_without_views_everything_is_consistent():
    consistency = posterior().consistency
    assert (consistency.statistic, consistency.degrees_of_freedom, consistency.probability) == (0.0, 0, 1.0)
    assert consistency.conflicts == ()


def test_opposite_views_are_in_conflict_and_others_are_not():
    pi = equilibrium(SIGMA, MARKET, DELTA)
    up = View("up", leg(a0=1), float(pi[0]) + 0.05, confidence=0.95)
    down = View("down", leg(a0=1), float(pi[0]) - 0.05, confidence=0.95)
    calm = View("calm", leg(a3=1), float(pi[3]), confidence=0.5)
    conflicts = posterior(up, calm, down).consistency.conflicts
    assert {(conflict.given, conflict.view) for conflict in conflicts} == {("up", "down"), ("down", "up")}
    strengths = [abs(conflict.together) for conflict in conflicts]
    assert strengths == sorted(strengths, reverse=True)
    for conflict in conflicts:
        assert abs(conflict.together) > abs(conflict.alone) + 1
        assert conflict.together * conflict.alone > 0


def test_a_conflict_is_the_conditional_score():
    pi = equilibrium(SIGMA, MARKET, DELTA)
    views = (
        View("up", leg(a0=1), float(pi[0]) + 0.06, confidence=0.9),
        View("down", leg(a0=1, a1=0.1), float(pi[0]) - 0.06, confidence=0.9),
    )
    result = posterior(*views)
    P = np.array([view.weights for view in views])
    G = TAU * P @ SIGMA @ P.T + np.diag([report.variance for report in result.views])
    gap = np.array([view.expected_return for view in views]) - P @ pi
    together = (gap[1] - G[1, 0] / G[0, 0] * gap[0]) / np.sqrt(G[1, 1] - G[1, 0] ** 2 / G[0, 0])
    (found,) = [conflict for conflict in result.consistency.conflicts if conflict.given == "up"]
    assert found.together == pytest.approx(together, rel=1e-9)
    assert found.alone == pytest.approx(gap[1] / np.sqrt(G[1, 1]), rel=1e-12)


def test_views_that_support_each_other_are_no_conflict():
    pi = equilibrium(SIGMA, MARKET, DELTA)
    same = [View(name, leg(a0=1), float(pi[0]) + 0.05, confidence=0.95) for name in ("a", "b")]
    assert posterior(*same).consistency.conflicts == ()


def test_order_of_views_does_not_matter():
    certain = View("e", leg(a4=1), 0.02, confidence=1.0)
    results = [posterior(*order) for order in itertools.permutations((A_OVER_B, C_ALONE, D_SURE, certain))]
    for other in results[1:]:
        np.testing.assert_allclose(other.posterior, results[0].posterior, rtol=1e-12)
        np.testing.assert_allclose(other.M, results[0].M, rtol=1e-9, atol=1e-15)


def test_order_of_assets_does_not_matter():
    order = np.array([2, 0, 4, 1, 3])
    moved = [View(v.name, v.weights[order], v.expected_return, v.confidence, v.variance) for v in (A_OVER_B, C_ALONE)]
    result = posterior(*moved, Sigma=SIGMA[np.ix_(order, order)], market=MARKET[order])
    np.testing.assert_allclose(result.posterior, posterior(A_OVER_B, C_ALONE).posterior[order], rtol=1e-12)


def test_certain_view_said_twice_counts_once():
    once = View("once", leg(a0=1, a1=-1), 0.03, confidence=1.0)
    scaled = View("twice", leg(a0=2, a1=-2), 0.06, confidence=1.0)
    np.testing.assert_allclose(posterior(once, scaled).posterior, posterior(once).posterior, rtol=1e-12)


def test_certain_views_may_follow_from_each_other():
    views = [
        View("0-1", leg(a0=1, a1=-1), 0.03, confidence=1.0),
        View("1-2", leg(a1=1, a2=-1), 0.01, confidence=1.0),
        View("0-2", leg(a0=1, a2=-1), 0.04, confidence=1.0),
    ]
    np.testing.assert_allclose(posterior(*views).posterior, posterior(*views[:2]).posterior, rtol=1e-11)


def test_contradicting_certain_views_are_all_named():
    views = [
        View("0-1", leg(a0=1, a1=-1), 0.03, confidence=1.0),
        View("3", leg(a3=1), 0.02, confidence=1.0),
        View("1-2", leg(a1=1, a2=-1), 0.01, confidence=1.0),
        View("0-2", leg(a0=1, a2=-1), 0.05, confidence=1.0),
    ]
    for order in itertools.permutations(views):
        with pytest.raises(ProblemError) as error:
            posterior(*order)
        assert error.value.field == "views"
        assert {name for name in ("0-1", "1-2", "0-2") if f"'{name}'" in error.value.reason} == {"0-1", "1-2", "0-2"}
        assert "'3'" not in error.value.reason


def test_contradiction_says_by_how_much():
    p = leg(a0=1)
    with pytest.raises(ProblemError, match=r"'(low|high)' should differ by [+-]0\.02;"):
        posterior(View("low", p, 0.03, confidence=1.0), View("high", p, 0.05, confidence=1.0))


def test_uncertain_views_may_disagree():
    low, high = View("low", leg(a0=1), 0.03), View("high", leg(a0=1), 0.05)
    merged = View("mean", leg(a0=1), 0.04, variance=posterior(low).views[0].variance / 2)
    np.testing.assert_allclose(posterior(low, high).posterior, posterior(merged).posterior, rtol=1e-12)


def with_cash():
    Sigma = np.zeros((N, N))
    Sigma[:-1, :-1] = SIGMA[:-1, :-1]
    return Sigma


def test_view_on_a_riskless_asset_must_repeat_its_return():
    same = posterior(View("cash", leg(a4=1), 0.0), A_OVER_B, Sigma=with_cash())
    np.testing.assert_allclose(same.posterior, posterior(A_OVER_B, Sigma=with_cash()).posterior, rtol=1e-14)
    with pytest.raises(ProblemError) as error:
        posterior(A_OVER_B, View("cash", leg(a4=1), 0.02), Sigma=with_cash())
    assert error.value.field == "views[cash]"
    assert "no risk" in error.value.reason


def test_riskless_asset_keeps_its_return():
    assert posterior(A_OVER_B, C_ALONE, Sigma=with_cash()).posterior[4] == 0.0


def test_twins_cannot_differ():
    """Perfectly correlated legs leave only rounding of a variance, which must not become certainty about noise."""
    loading = np.array([0.1, 0.2, 0.3, 0.15, 0.7])
    Sigma = np.outer(loading, loading)
    spread = View("twins", leg(a0=2, a1=-1), 0.01)
    with pytest.raises(ProblemError, match="no risk"):
        posterior(spread, Sigma=Sigma)
    doubtful = posterior(View("twins", leg(a0=2, a1=-1), 0.01, variance=0.001), Sigma=Sigma)
    np.testing.assert_allclose(doubtful.posterior, doubtful.prior, rtol=1e-12)


def test_arrays_are_closed():
    result = posterior(A_OVER_B)
    for array in (result.prior, result.posterior, result.M, result.Sigma_posterior):
        assert not array.flags.writeable
    np.testing.assert_array_equal(result.M, result.M.T)


@pytest.mark.parametrize(
    ("view", "field"),
    [
        (View("v", leg(a0=1), 0.1, confidence=0.0), "views[v].confidence"),
        (View("v", leg(a0=1), 0.1, confidence=1.1), "views[v].confidence"),
        (View("v", leg(a0=1), 0.1, confidence=np.nan), "views[v].confidence"),
        (View("v", leg(a0=1), 0.1, variance=-1e-9), "views[v].variance"),
        (View("v", leg(a0=1), 0.1, variance=np.inf), "views[v].variance"),
        (View("v", leg(a0=1), 0.1, confidence=0.5, variance=0.1), "views[v]"),
        (View("v", leg(a0=1), np.nan), "views[v].expected_return"),
        (View("v", leg(a0=1), 1e300), "views[v].expected_return"),
        (View("v", np.zeros(N), 0.1), "views[v].weights"),
        (View("v", np.ones(N - 1), 0.1), "views[v].weights"),
        (View("v", leg(a3=np.inf), 0.1), "views[v].weights[3]"),
        (View("v", leg(a3=1e200), 0.1), "views[v].weights"),
        (View("a over b", leg(a3=1), 0.1), "views[a over b]"),
    ],
)
def test_bad_view_is_named(view, field):
    with pytest.raises(ProblemError) as error:
        posterior(A_OVER_B, view)
    assert error.value.field == field


@pytest.mark.parametrize("tau", [0.0, -0.05, np.nan])
def test_tau_must_be_positive(tau):
    with pytest.raises(ProblemError, match="tau"):
        posterior(A_OVER_B, tau=tau)
