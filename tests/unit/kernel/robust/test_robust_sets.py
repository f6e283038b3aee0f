"""Sets of means, covariances and distributions: their worst members are in them and the worst."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
import scipy.stats

from kernel.canonical import Matrix, Vector
from kernel.errors import ProblemError
from kernel.measures.tails import ConditionalValueAtRisk
from kernel.problem import Moments
from kernel.quadratic import Quadratic
from kernel.robust.covariances import BoxOfCovariances, CovarianceSet, EllipsoidOfCovariances
from kernel.robust.distributions import WassersteinBall, WorstConditionalValueAtRisk
from kernel.robust.factor_covariances import FactorCovariances
from kernel.robust.means import BoxOfMeans, EllipsoidOfMeans
from kernel.robust.sample import Sample, quantile_of_squares
from kernel.scenarios import Scenarios
from tests.unit.kernel.robust.robust_markets import PERIODS, Market, factor_moments, market, root, solved

SHORT = market(3, lower=-0.3)
DRAWS = 300


def covariance_sets(which: Market) -> dict[str, CovarianceSet]:
    sample, moments = which.sample(0.9), which.moments
    return {
        **{m: EllipsoidOfCovariances.of_sample(moments, sample, m) for m in ("sampling", "variances", "identity")},
        "box": BoxOfCovariances.of_sample(moments, sample),
        "relative box": BoxOfCovariances.relative(moments, which.uncertain, 0.3),
        "factor": FactorCovariances.of_regressions(factor_moments(which), which.uncertain, len(which.R), 0.9),
    }


SETS = covariance_sets(SHORT)


@pytest.mark.parametrize("seed", range(3))
def test_the_worst_mean_of_a_box_is_a_corner(seed: int) -> None:
    w, box = SHORT.weights(seed), BoxOfMeans.of_sample(SHORT.sample())
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * SHORT.n)).reshape(SHORT.n, -1).T * box.half_widths
    assert box.of(w) == pytest.approx(-(corners @ w).min(), rel=1e-12)
    assert box.shift(w) @ w == pytest.approx(-box.of(w), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_worst_mean_of_an_ellipsoid_lies_on_it(seed: int) -> None:
    w, set_ = SHORT.weights(seed), EllipsoidOfMeans.of_sample(SHORT.sample())
    inner = np.linalg.inv(SHORT.sample().errors[:-1, :-1])
    shift = set_.shift(w)
    assert shift[-1] == 0.0
    assert shift[:-1] @ inner @ shift[:-1] == pytest.approx(set_.radius**2, rel=1e-9)
    assert shift @ w == pytest.approx(-set_.of(w), rel=1e-12)
    delta = cp.Variable(SHORT.n - 1)
    inside = cp.norm(root(inner) @ delta) <= set_.radius
    assert solved(cp.Maximize(-w[:-1] @ delta), [inside]) == pytest.approx(set_.of(w), rel=1e-7)


def test_the_set_of_a_confidence_holds_the_true_means_that_often() -> None:
    """Histories of known means: the ellipsoid holds them in 90% of them, and each interval of the box does."""
    rng, truth = np.random.default_rng(7), SHORT.moments
    A, T = root(truth.Sigma[:-1, :-1] / PERIODS), 100
    sample = Sample(truth.Sigma, SHORT.uncertain, T, PERIODS, 0.9)
    means = PERIODS * (rng.standard_normal((4000, T, SHORT.n - 1)) @ A).mean(axis=1)
    inner = np.linalg.inv(sample.errors[:-1, :-1])
    distances = np.einsum("ki,ij,kj->k", means, inner, means)
    assert (distances <= EllipsoidOfMeans.of_sample(sample).radius ** 2).mean() == pytest.approx(0.9, abs=0.02)
    inside = np.abs(means) <= BoxOfMeans.of_sample(sample).half_widths[:-1]
    assert inside.mean(axis=0) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("seed", range(4))
def test_the_worst_covariance_is_semidefinite_and_gives_the_measure(name: str, seed: int) -> None:
    set_, w = SETS[name], SHORT.weights(seed)
    Sigma = set_.worst(w)
    assert np.linalg.eigvalsh(Sigma)[0] >= -1e-12
    assert Sigma == pytest.approx(Sigma.T, abs=0)
    assert np.abs(Sigma[-1]).max() == 0.0
    for word, power in (("volatility", 1), ("variance", 2)):
        value = set_.measure(word, long_only=False).of(w)
        assert value == pytest.approx(np.sqrt(w @ Sigma @ w) ** power, rel=1e-12)


def ball_members(set_: EllipsoidOfCovariances, rng: np.random.Generator) -> Matrix:
    n = set_.moments.n
    metric = set_.moments.Sigma if set_.variances is None else np.diag(set_.variances)
    E = rng.normal(size=(n, n))
    E = (E + E.T) * (set_.radius / np.linalg.norm(E + E.T))
    M = root(metric)
    return set_.moments.Sigma + M.T @ E @ M


def box_members(set_: BoxOfCovariances, rng: np.random.Generator) -> Matrix:
    u = rng.choice([-1.0, 1.0], size=set_.D.shape)
    return set_.moments.Sigma + set_.D * np.triu(u) + set_.D * np.triu(u, 1).T


def factor_members(set_: FactorCovariances, rng: np.random.Generator) -> Matrix:
    X = set_.moments.quadratic.factor
    step = rng.normal(size=X.shape)
    X = X + step / np.linalg.norm(step, axis=0) * set_.reach
    return X.T @ X + np.diag(set_.specific * rng.uniform(size=len(set_.specific)))


@pytest.mark.parametrize("name", SETS)
def test_no_member_is_worse_than_the_worst(name: str) -> None:
    set_, rng, w = SETS[name], np.random.default_rng(5), SHORT.weights(9)
    match set_:
        case BoxOfCovariances():
            draw = box_members
        case FactorCovariances():
            draw = factor_members
        case _:
            draw = ball_members
    worst = w @ set_.worst(w) @ w
    found = [w @ draw(set_, rng) @ w for _ in range(DRAWS)]
    assert max(found) <= worst * (1 + 1e-12)
    assert w @ set_.moments.Sigma @ w < worst


@pytest.mark.parametrize("name", ["box", "relative box"])
@pytest.mark.parametrize("seed", [0, 2])
def test_the_worst_of_a_box_with_shorts_is_that_of_the_semidefinite_program(name: str, seed: int) -> None:
    set_, w = SETS[name], SHORT.weights(seed)
    assert isinstance(set_, BoxOfCovariances)
    X = cp.Variable((SHORT.n - 1, SHORT.n - 1), PSD=True)
    box = cp.abs(X - set_.moments.Sigma[:-1, :-1]) <= set_.D[:-1, :-1]
    held = w[:-1]
    best = solved(cp.Maximize(cp.sum(cp.multiply(np.outer(held, held), X))), [box])
    assert w @ set_.worst(w) @ w == pytest.approx(best, rel=1e-6)


def test_the_worst_exposures_are_those_of_a_program() -> None:
    """The norm is largest along the nominal exposures of the portfolio."""
    set_, w = SETS["factor"], SHORT.weights(1)
    assert isinstance(set_, FactorCovariances)
    X = set_.moments.quadratic.factor
    u = cp.Variable(X.shape)
    moved = X @ w / np.linalg.norm(X @ w)
    best = solved(cp.Maximize(moved @ (X + u) @ w), [cp.norm(u[:, i]) <= set_.reach[i] for i in range(SHORT.n)])
    variance = best**2 + set_.specific @ w**2
    assert w @ set_.worst(w) @ w == pytest.approx(variance, rel=1e-7)


def test_the_radius_of_the_sampling_metric_is_its_closed_form() -> None:
    sample, n = SHORT.sample(0.9), SHORT.n - 1
    expected = np.sqrt(2.0 * scipy.stats.chi2.ppf(0.9, n * (n + 1) / 2) / len(SHORT.R))
    assert EllipsoidOfCovariances.of_sample(SHORT.moments, sample, "sampling").radius == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["sampling", "variances", "identity"])
def test_the_ball_of_a_confidence_holds_the_true_covariance_about_that_often(metric: str) -> None:
    """Sample covariances of normal returns, in the metric around the truth."""
    rng, Sigma, T = np.random.default_rng(11), SHORT.Sigma[:-1, :-1], 500
    sample = Sample(SHORT.Sigma, SHORT.uncertain, T, PERIODS, 0.9)
    set_ = EllipsoidOfCovariances.of_sample(SHORT.moments, sample, metric)
    M = Sigma if set_.variances is None else np.diag(set_.variances[:-1])
    inverse = np.linalg.inv(np.linalg.cholesky(M))
    draws = scipy.stats.wishart.rvs(T, Sigma / T, size=3000, random_state=rng)
    norms = [np.linalg.norm(inverse @ (S - Sigma) @ inverse.T) for S in draws]
    assert np.mean(np.array(norms) <= set_.radius) == pytest.approx(0.9, abs=0.03)


def test_regressions_hold_the_true_exposures_at_least_that_often() -> None:
    """Exposures of simulated returns lie within the ellipsoids, and specific variances below their bounds."""
    rng, T, k, n = np.random.default_rng(2), 60, 2, 4
    V, d, F = rng.normal(size=(k, n)), np.full(n, 1e-4), rng.normal(size=(T, k)) * 0.01
    centred = F - F.mean(axis=0)
    held = 0
    for _ in range(1000):
        R = F @ V + rng.normal(size=(T, n)) * np.sqrt(d)
        X = R - R.mean(axis=0)
        V0, left, *_ = np.linalg.lstsq(centred, X)
        Phi = PERIODS * centred.T @ centred / (T - 1)
        specific = PERIODS * left / (T - k - 1)
        names = tuple(f"A{i}" for i in range(n))
        moments = factor_like(names, root(Phi) @ V0, specific)
        set_ = FactorCovariances.of_regressions(moments, np.ones(n, dtype=bool), T, 0.9)
        errors = np.linalg.norm(root(Phi) @ (V - V0), axis=0)
        held += bool((errors <= set_.reach).all() and (PERIODS * d <= set_.specific).all())
    assert 0.9 - 0.02 <= held / 1000 <= 0.99


def factor_like(names: tuple[str, ...], X: Matrix, specific: Vector):
    return Moments(names, np.zeros(len(names)), Quadratic(None, X, specific))


NORMS = {"one": (1, np.inf), "two": (2, 2), "infinity": (np.inf, 1)}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_the_worst_distribution_lies_in_the_ball_and_attains_risk_and_return(norm: str, seed: int) -> None:
    own, dual = NORMS[norm]
    ball = WassersteinBall(0.002, norm, SHORT.uncertain, PERIODS)
    w, T = SHORT.weights(seed), len(SHORT.R)
    p = np.random.default_rng(seed).dirichlet(np.ones(T))
    scenarios = Scenarios(SHORT.names, SHORT.R.copy(), p / p.sum(), PERIODS)
    worst = ball.worst(scenarios, 0.93, w)
    moved = worst.p[T:] @ np.linalg.norm(worst.R[T:] - scenarios.R, ord=own, axis=1)
    assert moved == pytest.approx(ball.radius, rel=1e-9)
    nominal = ConditionalValueAtRisk(scenarios, 0.93)
    value = WorstConditionalValueAtRisk(nominal, ball).of(w)
    assert value == pytest.approx(nominal.of(w) + 0.002 / 0.07 * np.linalg.norm(w[:-1], ord=dual), rel=1e-12)
    assert ConditionalValueAtRisk(worst, 0.93).of(w) == pytest.approx(value, rel=1e-9)
    fall = PERIODS * (scenarios.mean - worst.mean) @ w
    assert ball.of(w) == pytest.approx(fall, rel=1e-9)
    assert ball.shift(w) @ w == pytest.approx(-fall, rel=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_no_distribution_of_the_ball_is_worse(norm: str) -> None:
    """Random transports of the whole budget."""
    own, _ = NORMS[norm]
    rng, w, scenarios = np.random.default_rng(1), SHORT.weights(4), SHORT.scenarios
    ball = WassersteinBall(0.002, norm, SHORT.uncertain, PERIODS)
    worst = WorstConditionalValueAtRisk(ConditionalValueAtRisk(scenarios, 0.95), ball).of(w)
    for _ in range(100):
        step = rng.normal(size=scenarios.R.shape) * rng.exponential(size=(scenarios.T, 1)) ** 3
        step[:, -1] = 0.0
        cost = scenarios.p @ np.linalg.norm(step, ord=own, axis=1)
        other = type(scenarios).history(SHORT.names, scenarios.R + step * (ball.radius / cost))
        assert ConditionalValueAtRisk(other, 0.95).of(w) <= worst


@pytest.mark.parametrize(("norm", "band"), [("two", (0.87, 0.93)), ("one", (0.9, 1.0)), ("infinity", (0.9, 0.97))])
def test_the_ball_of_a_confidence_reaches_the_true_mean(norm: str, band: tuple[float, float]) -> None:
    rng, T = np.random.default_rng(8), 200
    sample = Sample(SHORT.Sigma, SHORT.uncertain, T, PERIODS, 0.9)
    errors = rng.standard_normal((20_000, SHORT.n - 1)) @ root(SHORT.Sigma[:-1, :-1] / PERIODS / T)
    reached = np.linalg.norm(errors, ord=NORMS[norm][0], axis=1) <= WassersteinBall.of_sample(sample, norm).radius
    assert band[0] <= reached.mean() <= band[1]


def test_a_sum_of_equal_squares_has_its_chi_square() -> None:
    assert quantile_of_squares(0.5 * np.eye(4), 0.9) == pytest.approx(0.5 * scipy.stats.chi2.ppf(0.9, 4))
    assert quantile_of_squares(np.zeros((3, 3)), 0.9) == 0.0


def test_half_widths_of_a_sample_are_widened_to_a_form_and_given_ones_refused() -> None:
    """Correlations cos(s - t): the matrix of sqrt(1 + c^2) has negative eigenvalues, and only variances give way."""
    n, T = 12, 100
    turn = np.arange(n) * np.pi / n
    C = np.cos(turn[:, None] - turn)
    assert np.linalg.eigvalsh(np.sqrt(1.0 + C**2))[0] < -1e-3
    moments = Moments(tuple(f"A{i}" for i in range(n)), np.zeros(n), (C + C.T) / 2)
    sample = Sample(moments.Sigma, np.ones(n, dtype=bool), T, PERIODS, 0.9)
    D = BoxOfCovariances.of_sample(moments, sample).D
    errors = sample.normal_quantile * np.sqrt((1.0 + moments.Sigma**2) / T)
    assert np.linalg.eigvalsh(D)[0] >= -1e-12
    apart = ~np.eye(n, dtype=bool)
    assert np.array_equal(D[apart], errors[apart])
    assert (np.diag(D) > np.diag(errors)).all()
    with pytest.raises(ProblemError, match="positive semidefinite"):
        BoxOfCovariances(moments, errors, 0.1)


@pytest.mark.parametrize("confidence", [1e-300, np.nextafter(1.0, 0.0)])
def test_every_confidence_between_none_and_all_gives_a_set(confidence: float) -> None:
    sample, moments, n = SHORT.sample(confidence), SHORT.moments, SHORT.n
    radii = [
        BoxOfMeans.of_sample(sample).radius,
        EllipsoidOfMeans.of_sample(sample).radius,
        BoxOfCovariances.of_sample(moments, sample).radius,
        *(EllipsoidOfCovariances.of_sample(moments, sample, m).radius for m in ("sampling", "variances", "identity")),
        *(WassersteinBall.of_sample(sample, norm).radius for norm in NORMS),
        FactorCovariances.of_regressions(factor_moments(SHORT), SHORT.uncertain, 300, confidence).radius,
    ]
    assert np.isfinite(radii).all()
    assert min(radii) >= 0.0
    nothing = Sample(SHORT.Sigma, np.zeros(n, dtype=bool), 100, PERIODS, confidence)
    none = [EllipsoidOfMeans.of_sample(nothing).radius, *(WassersteinBall.of_sample(nothing, m).radius for m in NORMS)]
    assert none == [0.0] * 4


REFUSED = {
    "negative half-width": lambda: BoxOfMeans(np.array([0.1, -0.1])),
    "radius that is no number": lambda: EllipsoidOfMeans(Quadratic(np.eye(2)), float("nan")),
    "negative radius": lambda: EllipsoidOfCovariances(SHORT.moments, -1.0),
    "unknown metric": lambda: EllipsoidOfCovariances.of_sample(SHORT.moments, SHORT.sample(), "other"),
    "unknown norm": lambda: WassersteinBall(0.1, "three", SHORT.uncertain),
    "confidence of one": lambda: SHORT.sample(1.0),
    "no returns": lambda: Sample(SHORT.Sigma, SHORT.uncertain, 0.0),
    "dense covariance for factors": lambda: FactorCovariances.of_regressions(SHORT.moments, SHORT.uncertain, 99, 0.9),
    "fewer returns than factors": lambda: FactorCovariances.of_regressions(
        factor_moments(SHORT), SHORT.uncertain, 3, 0.9
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_set_is_refused(what: str) -> None:
    with pytest.raises(ProblemError):
        REFUSED[what]()


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_equal_errors_have_a_ball_of_the_largest_one(n: int, confidence: float) -> None:
    sample = Sample(np.diag([*np.full(n, 0.0225), 0.0]), np.arange(n + 1) < n, 252.0, 252.0, confidence)
    radius = WassersteinBall.of_sample(sample, "infinity").radius
    deviation = np.sqrt(0.0225 * 252.0 / 252.0) / 252.0
    assert radius == pytest.approx(deviation * scipy.stats.norm.isf(0.5 * (1.0 - confidence) / n), rel=1e-9)
