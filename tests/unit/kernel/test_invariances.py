"""What must not change, and what must change in a known way, when a problem is rewritten."""

from dataclasses import replace

import numpy as np
import pytest

from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MaximizeUtility, MinimizeRisk
from kernel.problem import Moments
from tests.unit.kernel.zoo import LIMITS, OBJECTIVES, RISK_AVERSION, SETTINGS, Case, Limits, Universe, case, universe

# Universes with one optimum, so that weights may be compared and not only their worth.
STRICT = ("bailey", "factor 30", "shorts", "fixed weights")


def permuted(u: Universe, order) -> Universe:
    moments = Moments(
        tuple(u.moments.names[i] for i in order), u.moments.mu[order], u.moments.Sigma[np.ix_(order, order)]
    )
    labels = tuple(u.sectors[i] for i in order)
    return Universe(moments, u.lower[order], u.upper[order], labels, u.w0[order], u.dearness[order])


def with_moments(posed: Case, mu, Sigma) -> Case:
    moments = Moments(posed.universe.moments.names, mu, Sigma)
    return replace(posed, universe=replace(posed.universe, moments=moments))


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", STRICT)
def test_permuting_assets_permutes_weights(name, objective, limits):
    posed = case(name, objective, limits)
    order = np.random.default_rng(3).permutation(posed.universe.n)
    plain = optimize(posed.problem(), SETTINGS)
    moved = optimize(replace(posed, universe=permuted(posed.universe, order)).problem(), SETTINGS)
    # Flat optima: a relative accuracy of 1e-9 in the objective leaves the square root of it in the weights.
    np.testing.assert_allclose(moved.weights, plain.weights[order], atol=5e-5)
    assert moved.certificate.objective == pytest.approx(plain.certificate.objective, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("factor", [1e-4, 0.01, 9.0, 1e4])
@pytest.mark.parametrize("objective", ["risk", "ratio", "utility"])
def test_scaling_the_covariance(objective, factor, limits):
    """Volatility scales by the root, ratios by its inverse; a utility keeps its optimum when its aversion shrinks.

    Minimum risk with costs weighs variance against money like a utility, so its aversion shrinks too.
    """
    posed = case("factor 30", objective, limits)
    moments = posed.universe.moments
    scaled = with_moments(posed, moments.mu.copy(), factor * moments.Sigma)
    expected_factor = {"risk": factor**0.5, "ratio": factor**-0.5, "utility": 1.0}[objective]
    if objective == "utility":
        scaled = replace(scaled, objective=MaximizeUtility(RISK_AVERSION / factor))
    elif objective == "risk" and posed.limits.cost_rate is not None:
        scaled, expected_factor = replace(scaled, objective=MinimizeRisk(1.0 / factor)), 1.0
    plain, other = optimize(posed.problem(), SETTINGS), optimize(scaled.problem(), SETTINGS)
    assert other.certificate is not None, other.message
    # Tiny risks leave a conic solver less room: it may say so, and is then held to the gap that it states.
    allowed = 2e-7 + plain.certificate.gap + other.certificate.gap
    assert other.certificate.objective == pytest.approx(expected_factor * plain.certificate.objective, rel=allowed)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("shift", [-0.3, 0.05])
def test_a_constant_on_all_means_shifts_the_return_only(objective, limits, shift):
    """Under a budget; for a ratio the risk-free rate moves along."""
    posed = case("factor 30", objective, limits)
    moments = posed.universe.moments
    shifted = with_moments(posed, moments.mu + shift, moments.Sigma.copy())
    moved = 0.0
    if isinstance(posed.objective, MaximizeRatio):
        shifted = replace(shifted, objective=MaximizeRatio(posed.objective.reference + shift))
    elif not isinstance(posed.objective, MinimizeRisk):
        moved = shift
    plain, other = optimize(posed.problem(), SETTINGS), optimize(shifted.problem(), SETTINGS)
    assert other.certificate is not None, other.message
    assert other.certificate.objective - moved == pytest.approx(plain.certificate.objective, rel=1e-7, abs=1e-9)
    np.testing.assert_allclose(other.weights, plain.weights, atol=2e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    ("wide", "tight"),
    [
        (Limits(), Limits(sectors=True)),
        (Limits(), Limits(turnover=0.3)),
        (Limits(turnover=0.3), Limits(turnover=0.1)),
        (Limits(turnover=0.3), Limits(turnover=0.3, turnover_factor=1.0)),
        (Limits(volatility=1.0), Limits(volatility=0.97)),
        (Limits(sectors=True, turnover=0.2), Limits(sectors=True, turnover=0.2, volatility=0.99)),
    ],
)
@pytest.mark.parametrize("name", ["bailey", "factor 30", "duplicates", "tied means"])
def test_tightening_never_improves(name, wide, tight, objective):
    values = [
        optimize(Case(universe(name), OBJECTIVES[objective], limits).problem(), SETTINGS).certificate.objective
        for limits in (wide, tight)
    ]
    sign = -1 if objective == "risk" else 1
    assert sign * values[1] <= sign * values[0] + 1e-8 * abs(values[0])


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", STRICT)
def test_tighter_caps_never_improve(name, objective):
    u = universe(name)
    values = []
    for share in (1.0, 0.8, 0.6):
        capped = replace(u, upper=np.maximum(share * u.upper, u.w0))
        solution = optimize(Case(capped, OBJECTIVES[objective], Limits()).problem(), SETTINGS)
        values.append((-1 if objective == "risk" else 1) * solution.certificate.objective)
    assert values[0] >= values[1] - 1e-9
    assert values[1] >= values[2] - 1e-9


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_problem_gives_the_same_bits(objective, limits):
    problem = case("factor 30", objective, limits).problem()
    first, second = optimize(problem, SETTINGS), optimize(problem, SETTINGS)
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.certificate == second.certificate
    assert first.constraints == second.constraints
