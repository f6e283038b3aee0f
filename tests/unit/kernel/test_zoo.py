"""Every universe x objective x set of limits against an independent formulation."""

import numpy as np
import pytest

from kernel.methods.mean_risk import measurements, objective_value, optimize
from kernel.objectives import MinimizeRisk
from kernel.status import Status
from tests.unit.kernel.oracle import optimum
from tests.unit.kernel.zoo import LIMITS, OBJECTIVES, SETTINGS, UNIVERSES, case

RELATIVE = 1e-7
# Values below this size are compared absolutely: the least volatility of a portfolio that may hold only cash is zero.
SMALLEST_SIZE = 1e-2
FEASIBLE = 1e-8


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("universe", UNIVERSES)
def test_agrees_with_the_oracle(universe, objective, limits):
    posed = case(universe, objective, limits)
    problem = posed.problem()
    solution = optimize(problem, SETTINGS)
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
    w, certificate = solution.weights, solution.certificate

    expected = optimum(posed)
    size = max(abs(expected), SMALLEST_SIZE)
    assert objective_value(problem, w) == pytest.approx(expected, abs=RELATIVE * size)
    assert certificate.objective == objective_value(problem, w)
    assert min(m.slack for m in measurements(problem, w)) >= -FEASIBLE
    np.testing.assert_allclose(w.sum(), 1.0, atol=FEASIBLE)

    beyond = (
        expected - certificate.bound if isinstance(problem.objective, MinimizeRisk) else certificate.bound - expected
    )
    assert beyond >= -1e-9 * size, "weak duality: no bound lies beyond the optimum"
    assert abs(certificate.objective - certificate.bound) <= RELATIVE * size


@pytest.mark.parametrize("limits", ["none", "sectors", "turnover one-way", "costs", "taxed sales"])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("universe", UNIVERSES)
def test_linear_limits_are_solved_to_the_tight_tolerance(universe, objective, limits):
    problem = case(universe, objective, limits).problem()
    solution = optimize(problem, SETTINGS)
    assert solution.status is Status.OPTIMAL, solution.message
    assert max(solution.certificate.gap, solution.certificate.violation) <= SETTINGS.tolerance
