"""Covariances of low rank: the same optimum as with the dense matrix, and what independent solvers say of it."""

from dataclasses import replace

import numpy as np
import pytest

from kernel.canonical import Quadratic
from kernel.certificate import assess
from kernel.constraints import LinearLimit, RiskLimit, TurnoverLimit, WeightBounds, budget
from kernel.measures import Volatility
from kernel.measures.volatility import TrackingError, Variance, compact_root, covariance_root
from kernel.methods.mean_risk import canonicalize, optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.solvers import CONVEX_SOLVERS
from kernel.solvers.base import RawStatus
from kernel.solvers.lifting import Lifted, is_lean
from kernel.status import Status
from tests.unit.kernel.oracle import optimum
from tests.unit.kernel.solvers.lean import CAP, FACTORS, N, benchmark, densely, exposure_limits, universe
from tests.unit.kernel.zoo import LIMITS, OBJECTIVES, SETTINGS, Case, asset_names

ASSETS = N + 1
NAMES = (("low",) * ASSETS, ("high",) * ASSETS)
SHORT = WeightBounds(np.full(ASSETS, -CAP), np.full(ASSETS, CAP), *NAMES)
LONG = WeightBounds(np.zeros(ASSETS), np.full(ASSETS, CAP), *NAMES)


def both(problem):
    """Solutions of a problem posed by the factors and by the dense covariance."""
    lean, dense = (
        optimize(problem(moments), SETTINGS) for moments in (universe().moments, densely(universe().moments))
    )
    assert lean.weights is not None, lean.message
    assert dense.weights is not None, dense.message
    return lean, dense


def agree(lean, dense, weights=1e-8):
    assert lean.status is Status.OPTIMAL, lean.message
    assert lean.certificate.violation <= 1e-12
    assert lean.certificate.objective == pytest.approx(dense.certificate.objective, rel=1e-10)
    np.testing.assert_allclose(lean.weights, dense.weights, atol=weights)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_zoo_has_the_optimum_of_the_dense_covariance(objective, limits):
    def problem(moments):
        return Case(replace(universe(), moments=moments), OBJECTIVES[objective], LIMITS[limits]).problem()

    lean, dense = both(problem)
    assert lean.status is Status.OPTIMAL, lean.message
    # Costs and turnover leave the dense form at its tolerance.
    assert lean.certificate.objective == pytest.approx(dense.certificate.objective, rel=1e-8)
    np.testing.assert_allclose(lean.weights, dense.weights, atol=1e-5)


@pytest.mark.parametrize("limits", ["sectors", "target volatility"])
@pytest.mark.parametrize("objective", ["risk", "utility", "ratio"])
def test_the_zoo_agrees_with_the_oracle(objective, limits):
    posed = Case(universe(), OBJECTIVES[objective], LIMITS[limits])
    solution = optimize(posed.problem(), SETTINGS)
    assert solution.status is Status.OPTIMAL, solution.message
    assert solution.certificate.objective == pytest.approx(optimum(posed), rel=1e-7)


@pytest.mark.parametrize("width", [0.0, 0.02])
@pytest.mark.parametrize("bounds", [LONG, SHORT], ids=["long", "short"])
def test_least_tracking_error_within_exposure_bounds(bounds, width):
    """Most assets are held: the benchmark holds them all."""

    def problem(moments):
        measure = TrackingError.against_weights(moments, benchmark())
        limits = (budget(ASSETS), bounds, *exposure_limits(benchmark(), width))
        return Problem(moments, MinimizeRisk(), measure, limits)

    lean, dense = both(problem)
    agree(lean, dense)
    assert np.count_nonzero(lean.weights) > 0.5 * N
    held = universe().moments
    difference = lean.weights - benchmark()
    expected = np.sqrt(difference @ held.Sigma @ difference)
    assert lean.certificate.objective == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("objective", [MaximizeUtility(5.0), MaximizeRatio(0.02), MinimizeRisk()])
def test_factor_neutral_portfolios(objective):
    def problem(moments):
        neutral = exposure_limits(np.zeros(ASSETS), 0.0)[1:]
        return Problem(moments, objective, Volatility(moments), (budget(ASSETS), SHORT, *neutral))

    agree(*both(problem))


def test_turnover_around_a_benchmark():
    def problem(moments):
        w0 = np.append(np.full(N, 1.0 / N), 0.0)
        measure = TrackingError.against_weights(moments, benchmark())
        return Problem(moments, MinimizeRisk(), measure, (budget(ASSETS), LONG, TurnoverLimit("turnover", 0.1, w0)))

    lean, dense = both(problem)
    assert lean.certificate.gap <= 1e-9
    assert lean.certificate.objective == pytest.approx(dense.certificate.objective, rel=1e-7)


@pytest.mark.parametrize("objective", [MaximizeReturn(), MaximizeUtility(5.0)])
def test_a_limit_on_the_tracking_error(objective):
    def problem(moments):
        limit = RiskLimit("tracking", TrackingError.against_weights(moments, benchmark()), 0.03)
        return Problem(moments, objective, Volatility(moments), (budget(ASSETS), LONG, limit))

    lean, dense = both(problem)
    agree(lean, dense)
    reports = [{c.name: c.shadow_price for c in found.constraints} for found in (lean, dense)]
    assert reports[0]["tracking"] > 0.0
    assert reports[0]["tracking"] == pytest.approx(reports[1]["tracking"], rel=1e-6)


def test_the_highest_information_ratio():
    def problem(moments):
        reference = float(moments.mu @ benchmark())
        measure = TrackingError.against_weights(moments, benchmark())
        return Problem(moments, MaximizeRatio(reference), measure, (budget(ASSETS), LONG))

    lean, dense = both(problem)
    assert lean.certificate.gap <= 1e-8
    assert lean.certificate.objective == pytest.approx(dense.certificate.objective, rel=1e-7)


@pytest.mark.parametrize("objective", ["risk", "utility", "ratio"])
@pytest.mark.parametrize("kind", ["none", "some", "of all sizes"])
def test_specific_risk_that_is_missing_or_of_all_sizes(objective, kind):
    """Without it assets can stand for each other, and the optimum has many portfolios: one value is all they share."""
    rng = np.random.default_rng(1)
    given = universe().moments.quadratic
    scale = {
        "none": np.zeros(ASSETS),
        "some": rng.random(ASSETS) < 0.7,
        "of all sizes": 10.0 ** rng.uniform(-8, 2, ASSETS),
    }

    def problem(moments):
        return Problem(moments, OBJECTIVES[objective], Volatility(moments), (budget(ASSETS), LONG))

    names, mu = universe().moments.names, universe().moments.mu
    lean = Moments(names, mu.copy(), Quadratic(None, given.factor, scale[kind] * given.diagonal))
    found, dense = optimize(problem(lean), SETTINGS), optimize(problem(densely(lean)), SETTINGS)
    assert found.status is Status.OPTIMAL, found.message
    assert found.certificate.objective == pytest.approx(dense.certificate.objective, rel=1e-7)


def test_a_contradiction_is_named_as_with_the_dense_covariance():
    floor = LinearLimit(np.append(np.ones(N), 0.0), 1.5, np.inf, "floor", "floor")
    posed = [
        Problem(moments, MinimizeRisk(), Volatility(moments), (budget(ASSETS), LONG, floor))
        for moments in (universe().moments, densely(universe().moments))
    ]
    lean, dense = (optimize(problem, SETTINGS) for problem in posed)
    assert lean.status is Status.INFEASIBLE
    assert lean.message == dense.message
    assert "floor" in lean.message


def test_a_variance_limit_and_its_price():
    def problem(moments):
        variance = Variance(moments)
        least = 0.5 * variance.of(universe().w0)
        return Problem(
            moments, MaximizeReturn(), variance, (budget(ASSETS), LONG, RiskLimit("variance", variance, least))
        )

    agree(*both(problem))


@pytest.mark.parametrize("solver", CONVEX_SOLVERS[1:], ids=lambda solver: solver.name.split()[0])
def test_multipliers_of_the_lifted_program_certify_the_program_itself(solver):
    program = canonicalize(Case(universe(), MinimizeRisk(), LIMITS["sectors"]).problem())
    lifted = Lifted.of(program)
    assert lifted.program.size == program.size + FACTORS
    assert lifted.program.objective(np.append(universe().w0, universe().moments.quadratic.factor @ universe().w0)) == (
        pytest.approx(program.objective(universe().w0), rel=1e-12)
    )
    raw = lifted.restored(solver.solve(lifted.program, SETTINGS))
    assert raw.status is RawStatus.SOLVED
    found = assess(program, raw.x, raw.z)
    assert max(found.gap, found.violation) <= 1e-7


def test_what_is_thin():
    lean = universe().moments.quadratic
    assert is_lean(lean)
    assert is_lean(Quadratic(parts=(Quadratic(np.eye(3)), lean)))
    assert not is_lean(Quadratic(lean.dense))
    assert not is_lean(Quadratic(factor=np.zeros((0, ASSETS)), diagonal=np.ones(ASSETS)))
    assert not is_lean(lean.restricted(np.arange(100)))
    assert not is_lean(Quadratic(factor=np.ones((200, ASSETS))))


def test_blocks_of_several_periods_are_lifted_each():
    lean = universe().moments.quadratic
    program = canonicalize(Case(universe(), MinimizeRisk(), LIMITS["none"]).problem())
    twice = Quadratic(parts=(lean, Quadratic(np.eye(2)), lean.scaled(3.0)))
    size = twice.size
    wide = replace(
        program,
        P=twice,
        q=np.zeros(size),
        A=type(program.A)((program.A.data, program.A.indices, program.A.indptr), shape=(len(program.b), size)),
        lower=np.zeros(size),
        upper=np.ones(size),
    )
    x = np.random.default_rng(2).normal(size=size)
    lifted = Lifted.of(wide).program
    images = np.concatenate([lean.factor @ x[:ASSETS], np.sqrt(3.0) * lean.factor @ x[-ASSETS:]])
    assert lifted.objective(np.append(x, images)) == pytest.approx(wide.objective(x), rel=1e-12)


def test_roots_without_their_zeros():
    quadratic = universe().moments.quadratic
    root = compact_root(quadratic)
    assert root.nnz <= FACTORS * ASSETS + N
    np.testing.assert_allclose((root.T @ root).toarray(), quadratic.dense, atol=1e-15)
    np.testing.assert_array_equal(root.toarray(), covariance_root(quadratic))


@pytest.mark.parametrize("rows", [5, 12, 40])
def test_squares_of_rows(rows):
    rng = np.random.default_rng(rows)
    M = np.vstack([rng.normal(size=(rows, 20)), np.diag(rng.normal(size=20))[::2]])
    square = Quadratic.of_square(M)
    np.testing.assert_allclose(square.dense, M.T @ M, atol=1e-12)
    assert (square.factor is not None) == (rows < 20)


def test_sums_of_factors_stay_factors():
    rng = np.random.default_rng(9)
    first, second = Quadratic(factor=rng.normal(size=(3, 20))), Quadratic(None, rng.normal(size=(2, 20)), np.ones(20))
    for total in (first.plus(second), second.plus(first), second.plus(second)):
        assert total.factor is not None
    np.testing.assert_allclose(first.plus(second).dense, first.dense + second.dense, atol=1e-14)
    np.testing.assert_allclose(second.plus(second).dense, 2.0 * second.dense, atol=1e-14)
    assert first.plus(first).diagonal is None
    assert first.plus(Quadratic(np.eye(20))).matrix is not None


def test_one_asset_and_one_factor():
    moments = Moments(asset_names(1), np.array([0.05]), Quadratic(None, np.array([[0.2]]), np.array([0.01])))
    bounds = WeightBounds(np.zeros(1), np.ones(1), ("low",), ("high",))
    solution = optimize(Problem(moments, MinimizeRisk(), Volatility(moments), (budget(1), bounds)), SETTINGS)
    assert solution.certificate.objective == pytest.approx(np.sqrt(0.05), rel=1e-12)
