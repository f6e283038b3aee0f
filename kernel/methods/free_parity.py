"""The portfolio whose shares of the risk are exactly the budgets, without limits and costs.

Of volatility it comes from Newton's method: over assets directly, over factors by way of the least variance for given
exposures z, which is ``z'Mz`` with ``M = (A Sigma^-1 A')^-1`` at ``w = Sigma^-1 A'M z``. Of other measures it is the
optimum of the conic program without limits.

References: Spinu (2013); Roncalli & Weisang (2012).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from kernel.canonical import Matrix, Vector
from kernel.constraints import LinearLimit, WeightBounds
from kernel.measures.volatility import Volatility
from kernel.methods.balance_risk import BalanceRisk
from kernel.methods.budgets import Budgets
from kernel.methods.equal_contributions import contribute
from kernel.methods.held_measures import optimize_held
from kernel.problem import Moments, Problem, Settings
from kernel.quadratic import Quadratic

# A risk this small against that of the assets is rounding of none.
_RISKLESS = 1e-6
# How well contributions must be met by weights that come through the inverse of a covariance.
_CONFIRMED = 1e-9
_NEWTON = "Newton"


@dataclass(frozen=True, slots=True)
class FreeParity:
    """Weights of unit risk, with the least ``f = log(risk) - sum b log(exposure)``.

    Attributes:
        w: (n,).
        value: f at w.
        bound: No weights have a smaller f.
    """

    w: Vector
    value: float
    bound: float
    iterations: int
    solver: str


def free_parity(problem: Problem, budgets: Budgets, settings: Settings) -> FreeParity | None:
    """The portfolio of exactly these shares; None where there is none, as some weights have no risk.

    Args:
        problem: Whose measure counts, of degree one; its limits and its cost play no part.
        budgets: Of the risk.
        settings: How far to go.
    """
    newton = _of_volatility(problem.moments, budgets)
    if isinstance(problem.measure, Volatility):
        return newton
    objective = BalanceRisk(budgets.b, budgets.exposures, natural_sizes(problem, budgets, newton))
    mean = (budgets.exposures / objective.sizes[:, None]).mean(axis=0)
    outside = ~budgets.members
    names = ("budget",) * problem.moments.n
    fixed = WeightBounds(np.where(outside, 0.0, -np.inf), np.where(outside, 0.0, np.inf), names, names)
    scale = LinearLimit(mean, 1.0, 1.0, "budget", "budget")
    posed = replace(problem, objective=objective, constraints=(fixed, scale), cost=None)
    found = optimize_held(posed, settings)
    if found.weights is None or found.certificate is None or not found.certificate.bound > 0.0:
        return None
    certificate = found.certificate
    w = found.weights / problem.measure.of(found.weights)
    value, bound = float(np.log(certificate.objective)), float(np.log(certificate.bound))
    return FreeParity(w, value, bound, certificate.iterations, certificate.solver)


def natural_sizes(problem: Problem, budgets: Budgets, near: FreeParity | None) -> Vector:
    """(k,) exposures of a portfolio of unit risk that has about the shares wanted."""
    diagonal = problem.moments.quadratic.diagonal_entries
    typical = problem.moments.typical_volatility or 1.0
    if near is not None:
        w = near.w
    else:
        w = budgets.exposures.T @ budgets.b / np.sqrt(np.maximum(diagonal, (_RISKLESS * typical) ** 2))
    exposed = budgets.exposures @ w
    fallback = float(np.abs(exposed).max(initial=0.0)) or 1.0
    exposed = np.where(exposed > _RISKLESS * fallback, exposed, fallback)
    risk = problem.measure.of(w)
    return np.asarray(exposed / risk if risk > 0.0 else exposed)


def _of_volatility(moments: Moments, budgets: Budgets) -> FreeParity | None:
    members = np.flatnonzero(budgets.members)
    inside = moments.quadratic.restricted(members)
    if not (inside.diagonal_entries > (_RISKLESS**2 * moments.typical_volatility) ** 2).all():
        return None
    if budgets.of_factors:
        found = _by_factors(inside, budgets.exposures[:, members], budgets.b)
    else:
        found = _by_assets(inside, np.where(budgets.short[members], -1.0, 1.0), budgets.b)
    if found is None or _RISKLESS * float(np.abs(found.w) @ np.sqrt(inside.diagonal_entries)) >= 1.0:
        return None
    w = np.zeros(moments.n)
    w[members] = found.w
    return replace(found, w=w)


def _by_assets(Sigma: Quadratic, signs: Vector, b: Vector) -> FreeParity | None:
    found = contribute(_signed(Sigma, signs), b)
    if found is None:
        return None
    # Of unit risk: the program has half the square of the risk in place of the risk, one half there for one here.
    return FreeParity(signs * found.y, found.value - 0.5, found.bound - 0.5, found.steps, _NEWTON)


def _signed(Sigma: Quadratic, signs: Vector) -> Quadratic:
    if (signs > 0.0).all():
        return Sigma
    if Sigma.matrix is not None:
        return Quadratic(Sigma.matrix * np.outer(signs, signs))
    assert Sigma.factor is not None
    return Quadratic(None, Sigma.factor * signs, Sigma.diagonal)


def _by_factors(Sigma: Quadratic, A: Matrix, b: Vector) -> FreeParity | None:
    sizes = np.abs(A).max(axis=1)
    A = A / sizes[:, None]
    try:
        X = scipy.linalg.cho_solve(scipy.linalg.cho_factor(Sigma.dense), A.T)
        inverse = A @ X
        M = scipy.linalg.inv(0.5 * (inverse + inverse.T))
    except scipy.linalg.LinAlgError:
        return None
    found = contribute(Quadratic(0.5 * (M + M.T)), b)
    if found is None:
        return None
    w = X @ (M @ found.y)
    exposed = A @ w
    shares = exposed * (M @ exposed)
    met = float(np.abs(shares / b - 1.0).max()) + abs(float(w @ Sigma.times(w)) - 1.0)
    if not met <= _CONFIRMED:
        return None
    units = float(b @ np.log(sizes))
    value = 0.5 * float(np.log(w @ Sigma.times(w))) - float(b @ np.log(exposed))
    return FreeParity(w, value - units, found.bound - 0.5 - units, found.steps, _NEWTON)
