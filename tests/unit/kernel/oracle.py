"""The zoo's problems once more, written directly in w for cvxpy: the independent judge of the kernel.

The ratio is posed the other way round than in the kernel: highest excess return at unit risk, not least risk at unit
excess return.
"""

from __future__ import annotations

import warnings

import cvxpy as cp
import numpy as np

from kernel.canonical import Matrix
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from tests.unit.kernel.zoo import Case

# Finer than doubles reach on some cases: the solver then stops at its best and says "inaccurate", which is still 1e-9.
_FINE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}


def root(Sigma: Matrix) -> Matrix:
    """F with F'F = Sigma, by eigenvalues."""
    values, vectors = np.linalg.eigh(Sigma)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def optimum(case: Case) -> float:
    """The best value of the case's objective."""
    y, scale = cp.Variable(case.universe.n), 1.0
    if isinstance(case.objective, MaximizeRatio):
        scale = cp.Variable(nonneg=True)
    risk = cp.norm(root(case.universe.moments.Sigma) @ y)
    goal, extra = _goal(case, y, scale)
    program = cp.Problem(goal, [*_limits(case, y, scale, risk), *extra])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver=cp.CLARABEL, **_FINE)
    assert program.status in ("optimal", "optimal_inaccurate"), program.status
    return float(program.value)


def _limits(case: Case, y, scale, risk) -> list:
    universe, limits = case.universe, case.limits
    rows = [cp.sum(y) == scale, y >= universe.lower * scale, y <= universe.upper * scale]
    for _, member, low, high in case.sector_limits():
        rows += [member @ y >= low * scale, member @ y <= high * scale]
    if limits.turnover is not None:
        rows.append(limits.turnover_factor * cp.norm1(y - universe.w0 * scale) <= limits.turnover * scale)
    if limits.volatility is not None:
        rows.append(risk <= case.volatility_limit() * scale)
    return rows


def _goal(case: Case, y, scale):
    variance = cp.sum_squares(root(case.universe.moments.Sigma) @ y)
    change = y - case.universe.w0 * scale
    charge = case.cost_rates() @ cp.abs(change) + case.sale_rates() @ cp.pos(-change)
    net = case.universe.moments.mu @ y - charge
    match case.objective:
        case MinimizeRisk() if case.limits.cost_rate is None:
            return cp.Minimize(cp.norm(root(case.universe.moments.Sigma) @ y)), []
        case MinimizeRisk(risk_aversion):
            return cp.Minimize(risk_aversion / 2 * variance + charge), []
        case MaximizeReturn():
            return cp.Maximize(net), []
        case MaximizeUtility(risk_aversion):
            return cp.Maximize(net - risk_aversion / 2 * variance), []
        case MaximizeRatio(risk_free):
            at_unit_risk = cp.norm(root(case.universe.moments.Sigma) @ y) <= 1
            return cp.Maximize(net - risk_free * scale), [at_unit_risk]
