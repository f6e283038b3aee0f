"""Problems written directly in w for cvxpy: the independent judge of single constraints.

The ratio is posed the other way round than in the kernel: highest excess return at unit risk.
"""

import warnings

import cvxpy as cp
import numpy as np

from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from tests.unit.kernel.oracle import root

_FINE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}


def best(moments, objective, limits, charge=None):
    """The best value of an objective, None when nothing satisfies the limits.

    `limits(y, scale)` are the constraints and `charge(y, scale)` the cost with constraints of its own, on weights
    y / scale.
    """
    ratio = isinstance(objective, MaximizeRatio)
    y, scale = cp.Variable(moments.n), cp.Variable(nonneg=True) if ratio else 1.0
    cost, rows = charge(y, scale) if charge is not None else (0.0, [])
    factor = root(moments.Sigma)
    net = moments.mu @ y - cost
    match objective:
        case MinimizeRisk(aversion):
            goal = cp.Minimize(
                cp.norm(factor @ y) if charge is None else aversion / 2 * cp.sum_squares(factor @ y) + cost
            )
        case MaximizeReturn():
            goal = cp.Maximize(net)
        case MaximizeUtility(aversion):
            goal = cp.Maximize(net - aversion / 2 * cp.sum_squares(factor @ y))
        case MaximizeRatio(reference):
            goal = cp.Maximize(net - reference * scale)
            rows = [*rows, cp.norm(factor @ y) <= 1]
    program = cp.Problem(goal, [*limits(y, scale), *rows])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver=cp.CLARABEL, **_FINE)
    return float(program.value) if program.status in ("optimal", "optimal_inaccurate") else None


def better(objective, values):
    """The best of several values, of which some are None."""
    found = [value for value in values if value is not None]
    return min(found) if isinstance(objective, MinimizeRisk) else max(found)


def zero_outside(y, support):
    """Nothing is held outside `support`."""
    return [y[i] == 0 for i in np.flatnonzero(~np.asarray(support, dtype=bool)).tolist()]
