"""Diversification: the highest diversification ratio, the least mean correlation, and rules that need no program.

    maximum diversification   max (s'w) / (r(w) + cost(w) / A)     s_i = r(e_i), the risk of instrument i alone
    most decorrelated         min w'C w                            with costs: min A/2 w'C w + cost(w)
    inverse risk              w_i = (1 / s_i) / sum_j (1 / s_j)

r is any convex measure of degree one; C holds the instruments' correlations. Cash has no risk alone and no correlation:
it counts nothing in any of them. Short positions count by their negative weights.

References: Choueifaty & Coignard (2008); Choueifaty, Froidure & Reynier (2013); Christoffersen, Errunza, Jacobs &
Jin (2010) for correlations alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Mask, Vector
from kernel.constraints import LinearLimit
from kernel.errors import ProblemError
from kernel.measures.base import RiskMeasure
from kernel.measures.value_at_risk import ValueAtRisk
from kernel.measures.volatility import Variance, Volatility
from kernel.methods.least_cash import with_least_cash
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeReturn, MinimizeRisk
from kernel.problem import Moments, Problem, Settings
from kernel.quadratic import Matrix, Quadratic
from kernel.solution import Solution
from kernel.status import Status

__all__ = [
    "DiversificationEvidence",
    "MaximizeDiversification",
    "decorrelate",
    "diversification_ratio",
    "equal_weights",
    "inverse_risk_weights",
    "maximize_diversification",
]

_LISTED = 20
_ROUNDING = 1e-12
# Of the largest risk of one instrument: a portfolio of weighted risks of this size with less than that has no risk.
_SOME, _RISKLESS = 1e-3, 1e-6


@dataclass(frozen=True, slots=True)
class DiversificationEvidence:
    """What is said beside a diversified portfolio: its diversification ratio, None where it has no risk."""

    ratio: float | None


@dataclass(frozen=True, slots=True)
class MaximizeDiversification:
    """Highest ``risks'w / (risk(w) + cost(w) / A)``; without costs the diversification ratio.

    The program is least risk at a weighted risk of the size of the largest single one (Charnes & Cooper 1962).

    Attributes:
        risks: (n,) s, the risk of each instrument alone, in the measure's unit; 0 = it does not count.
        risk_aversion: A, by which risk and costs compare.
    """

    risks: Vector
    risk_aversion: float = 1.0
    homogeneous = True
    maximizes = True

    def add_to(self, builder: ProgramBuilder, problem: Problem) -> None:
        """Write risk and cost, the larger of them with the weight 1, and the row ``risks'y / size = 1``."""
        if problem.cost is None:
            problem.measure.minimize(builder, 1.0)
        else:
            of_cost = min(1.0, 1.0 / self.risk_aversion)
            builder.minimize_form(problem.measure.epigraph(builder), self._of_risk)
            builder.minimize_form(problem.cost.form(builder), of_cost)
            builder.add_offset(of_cost * problem.cost.offset)
        builder.add_normalisation("weighted risk", [(builder.weights, self.risks[None, :] / self._size)])

    def value(self, problem: Problem, w: Vector) -> float:
        """The ratio; infinite without risk."""
        risk, weighted = problem.measure.of(w), float(self.risks @ w)
        if problem.cost is not None:
            risk += problem.cost.of(w) / self.risk_aversion
        return weighted / risk if risk != 0.0 else float(np.copysign(np.inf, weighted))

    def from_program(self, problem: Problem, value: float) -> float:
        """The ratio."""
        least_risk = problem.measure.from_program(value) if problem.cost is None else value / self._of_risk
        return self._size / least_risk if least_risk > 0.0 else np.inf

    def price_scale(self, problem: Problem, w: Vector, kappa: float) -> float:
        """ratio^2 / size * slope * kappa."""
        ratio, size = self.value(problem, w), self._size
        if not (ratio and np.isfinite(ratio)):
            return 0.0
        slope = problem.measure.slope(size / ratio) if problem.cost is None else 1.0 / self._of_risk
        return ratio**2 / size * slope * kappa

    @property
    def _size(self) -> float:
        return float(np.abs(self.risks).max())

    @property
    def _of_risk(self) -> float:
        """The weight of the risk beside costs: a small aversion would make that of the costs overflow."""
        return min(1.0, self.risk_aversion)


def maximize_diversification(
    problem: Problem, members: Mask, settings: Settings, *, risk_aversion: float = 1.0, cash: int | None = None
) -> Solution:
    """The portfolio of the highest diversification ratio under every limit of `problem`.

    Args:
        problem: Whose measure, limits and cost count; its objective and its expected returns play no part. The variance
            counts through its root.
        members: (n,) the instruments whose risks are weighed: those that can be held, cash left out.
        settings: How far to go.
        risk_aversion: A, by which risk and costs compare; without costs it plays no part.
        cash: The place of cash. Where neither risk nor cost sees it, the least cash, or the least borrowed, is chosen
            of portfolios that differ in it alone. None = there is no cash.

    Returns:
        A solution whose objective is the ratio. UNBOUNDED where a portfolio has no risk though its instruments have
        some; ILL_POSED where the limits leave no portfolio with a positive weighted risk.

    Raises:
        ProblemError: The measure is not convex or not of degree one, no instrument can be held, or one has no risk
            alone.
    """
    if isinstance(problem.measure, ValueAtRisk):
        raise ProblemError("risk_measure", "the diversification ratio needs a convex measure, which var is not")
    measure = _of_degree_one(problem.measure)
    if measure.contributions(np.asarray(members, dtype=float)) is None:
        reason = f"the diversification ratio needs a risk in proportion to the weights, which {measure.name} is not"
        raise ProblemError("risk_measure", reason)
    risks = _single_risks(measure, members)
    _require_risks(problem.moments.names, members, risks, measure.name)
    posed = replace(problem, measure=measure, objective=MaximizeDiversification(risks, risk_aversion))
    found = optimize(posed, settings)
    if found.weights is not None:
        blind = problem.cost is None and cash is not None and _is_blind_to(measure, cash, risks)
        return with_least_cash(posed, found, cash) if blind and cash is not None else found
    unexplained = found.status is Status.NUMERICAL_FAILURE and found.weights is None
    return _without_ratio(posed, risks, found, settings) if unexplained else found


def decorrelate(problem: Problem, members: Mask, settings: Settings, *, risk_aversion: float = 1.0) -> Solution:
    """The portfolio of the least mean correlation ``w'C w`` under every limit of `problem`.

    Args:
        problem: Whose covariance, limits and cost count; its objective and measure play no part. What may be held as
            cash lowers the sum, so that free cash is taken first.
        members: (n,) the instruments whose correlations count: those that can be held, cash left out.
        settings: How far to go.
        risk_aversion: A, by which half the sum and costs compare; without costs it plays no part.

    Returns:
        A solution whose objective is the sum, with costs ``A/2 w'C w + cost(w)``.

    Raises:
        ProblemError: No instrument can be held, or one has no variance and so no correlation.
    """
    moments = problem.moments
    volatilities = np.where(members, np.sqrt(moments.quadratic.diagonal_entries), 0.0)
    _require_risks(moments.names, members, volatilities, "volatility")
    correlations = Moments(moments.names, moments.mu, _correlations(moments.quadratic, volatilities))
    measure = Variance(correlations, name="correlation")
    return optimize(replace(problem, objective=MinimizeRisk(risk_aversion), measure=measure), settings)


def diversification_ratio(measure: RiskMeasure, members: Mask, w: Vector) -> float | None:
    """``sum_i w_i r(e_i) / r(w)`` over the members; None where the portfolio has no risk."""
    measure = _of_degree_one(measure)
    risk = measure.of(w)
    return float(_single_risks(measure, members & (w != 0.0)) @ w) / risk if risk > 0.0 else None


def equal_weights(members: Mask) -> Vector:
    """(n,) the same weight for every member, adding up to 1.

    Raises:
        ProblemError: There is no member.
    """
    _require_members(members)
    return np.asarray(members / members.sum())


def inverse_risk_weights(measure: RiskMeasure, names: tuple[str, ...], members: Mask) -> Vector:
    """(n,) weights of the members in inverse proportion to the risk of each alone, adding up to 1.

    Args:
        measure: Of any kind; the variance counts through its root.
        names: (n,) for messages.
        members: (n,) who gets a weight.

    Raises:
        ProblemError: There is no member, or one has no risk alone.
    """
    measure = _of_degree_one(measure)
    risks = _single_risks(measure, members)
    _require_risks(names, members, risks, measure.name)
    inverse = np.divide(risks[members].min(), risks, out=np.zeros_like(risks), where=members)
    return np.asarray(inverse / inverse.sum())


def _single_risks(measure: RiskMeasure, members: Mask) -> Vector:
    """(n,) the risk of each member held alone, in the measure's unit; 0 of what is no member."""
    if isinstance(measure, Volatility):
        return np.where(members, np.sqrt(measure.moments.quadratic.diagonal_entries), 0.0)
    risks, eye = np.zeros(len(members)), np.eye(len(members))
    for i in np.flatnonzero(members).tolist():
        risks[i] = measure.of(eye[i])
    return risks


def _of_degree_one(measure: RiskMeasure) -> RiskMeasure:
    return Volatility(measure.moments) if isinstance(measure, Variance) else measure


def _require_members(members: Mask) -> None:
    if not members.any():
        raise ProblemError("constraints", "leave no instrument that can be held")


def _require_risks(names: tuple[str, ...], members: Mask, risks: Vector, measure: str) -> None:
    _require_members(members)
    flat = np.flatnonzero(members & ~(risks > 0.0)).tolist()
    if flat:
        listed = ", ".join(f"{names[i]} ({risks[i]:.3g})" for i in flat[:_LISTED])
        more = f" and {len(flat) - _LISTED} more" if len(flat) > _LISTED else ""
        raise ProblemError("instrument_ids", f"must have a {measure} above 0 each, which is not so of {listed}{more}")


def _correlations(quadratic: Quadratic, volatilities: Vector) -> Quadratic | Matrix:
    """D^-1 Sigma D^-1 in the form in which Sigma came; rows without volatility are zero."""
    inverse = np.divide(1.0, volatilities, out=np.zeros_like(volatilities), where=volatilities > 0.0)
    if quadratic.factor is None:
        return np.asarray(quadratic.dense * np.outer(inverse, inverse))
    diagonal = None if quadratic.diagonal is None else quadratic.diagonal * inverse**2
    return Quadratic(None, quadratic.factor * inverse, diagonal)


def _is_blind_to(measure: RiskMeasure, cash: int, risks: Vector) -> bool:
    """Whether cash changes no risk: a convex measure of degree one that is zero on both sides of it does not see it."""
    unit = np.eye(len(risks))[cash]
    return max(abs(measure.of(unit)), abs(measure.of(-unit))) <= _ROUNDING * float(risks.max())


def _without_ratio(problem: Problem, risks: Vector, found: Solution, settings: Settings) -> Solution:
    """Why there is no ratio though the limits hold together: nothing to divide, or nothing to divide by."""
    measure, size = problem.measure.name, float(risks.max())
    moments = replace(problem.moments, mu=risks.copy())
    best = optimize(replace(problem, moments=moments, objective=MaximizeReturn(), cost=None), settings)
    if best.certificate is not None and best.certificate.bound <= settings.tolerance * size:
        message = (
            f"the limits leave no portfolio whose instruments, weighted, have risk: the largest weighted {measure} is "
            f"{best.certificate.bound:.4g}, so that a diversification ratio has no meaning"
        )
        return Solution(Status.ILL_POSED, message, numbers={"best_weighted_risk": best.certificate.bound})
    some = LinearLimit(risks / size, _SOME, np.inf, "weighted risk", "weighted risk", "exposure")
    least = replace(problem, objective=MinimizeRisk(), constraints=(*problem.constraints, some), cost=None)
    reached = optimize(least, settings)
    if problem.cost is None and reached.certificate is not None and reached.certificate.objective <= _RISKLESS * size:
        message = (
            f"a portfolio has no {measure} above zero though its instruments have, so that the diversification ratio "
            "has no maximum"
        )
        return Solution(Status.UNBOUNDED, message)
    return found
