"""The contract: what must be true of every answer, judged without the kernel."""

from __future__ import annotations

from dataclasses import replace

from kernel.methods.mean_risk import optimize
from kernel.problem import Settings
from kernel.solution import Solution
from kernel.status import Status
from tests.unit.kernel.contract.cases import Case
from tests.unit.kernel.contract.models import pose
from tests.unit.kernel.contract.searching import NoAnswerError, optimum, value

SETTINGS = Settings()
RELATIVE, RELATIVE_CURVED = 1e-6, 1e-5
FEASIBLE = 1e-8
# Below this part of the current portfolio's a value is compared absolutely: the least tracking error is zero.
_SMALLEST_PART = 1e-2


def judge(case: Case) -> Solution:
    """Solve a case and hold the answer to the contract."""
    solution = optimize(case.problem(), SETTINGS)
    if solution.weights is not None:
        excess = pose(case).violation(solution.weights)
        assert excess <= FEASIBLE, f"violation {excess:.2e}, certified {solution.certificate.violation:.2e}"
    expected = independent(case, solution)
    if expected is None:
        assert solution.status is Status.ILL_POSED, (solution.status, solution.message)
        assert solution.numbers["best_excess_return"] <= 1e-8
        return solution
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), (solution.status, solution.message)
    expected *= unit(case)
    size = max(abs(expected), smallest_size(case))
    relative = RELATIVE_CURVED if is_curved(case) else RELATIVE
    found, certificate = value(case, solution.weights), solution.certificate
    assert abs(found - expected) <= relative * size, f"{found:.12g}, but {expected:.12g} is best"
    assert abs(certificate.objective - found) <= 1e-9 * size
    beyond = (certificate.bound - expected) * (1.0 if case.objective == "risk" else -1.0)
    assert beyond <= 0.1 * relative * size, f"bound {certificate.bound:.12g} beyond {expected:.12g}"
    return solution


def independent(case: Case, solution: Solution) -> float | None:
    """The optimum at returns of the usual size, by a solver that the kernel did not use."""
    twin = case if case.market.scale == 1.0 else replace(case, market_name="well-posed")
    used = "" if solution.certificate is None else solution.certificate.solver
    solvers = ["ECOS", "CLARABEL"] if "Clarabel" in used else ["CLARABEL", "ECOS"]
    for solver in solvers:
        try:
            return optimum(twin, solver, solution.weights)
        except NoAnswerError:
            continue
    raise AssertionError("no independent solver has an answer")


def unit(case: Case) -> float:
    """By what a value grows with the scale of a market."""
    degree = 2 if case.measure == "variance" else 1
    if case.objective == "risk" and not case.has_cost:
        return case.market.scale**degree
    return case.market.scale ** (1 - degree if case.objective == "ratio" else 1)


def is_curved(case: Case) -> bool:
    """Whether exponential or power cones are in it."""
    words = {case.measure, case.other_measure} if "risk limit" in case.families else {case.measure}
    return "evar" in words or "impact" in case.families


def smallest_size(case: Case) -> float:
    """Values below it are compared absolutely."""
    if case.objective == "risk" and not case.has_cost:
        return _SMALLEST_PART * case.typical_risk(case.measure)
    size = abs(value(case, case.market.w0))
    return _SMALLEST_PART * (size if case.objective == "ratio" else max(size, abs(case.market.mu @ case.market.w0)))
