"""Shadow prices in words: what one more point of a limit is worth."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.solution import ConstraintReport
from server.specs import CostSpec, OptimizationSpec

# Limits counted in things or in numbers without unit; all others are fractions, of which a point is a hundredth.
_PLAIN = frozenset({"variance", "exposure", "positions", "score"})
_POINT = 0.01
_BASIS_POINT = 1e-4
# Less is rounding: a ten-thousandth of a basis point.
_NOTHING = 1e-8
_RATIOS = {
    "maximize_sortino": "the Sortino ratio",
    "maximize_information_ratio": "the information ratio",
}


@dataclass(frozen=True, slots=True)
class ObjectiveUnit:
    """What an objective is called, and whether it is a fraction, which is then told in basis points."""

    name: str
    fraction: bool


def objective_unit(spec: OptimizationSpec) -> ObjectiveUnit:
    """The objective of a request, for sentences."""
    measure = spec.risk_measure.replace("_", " ")
    match spec.objective:
        case "maximize_return":
            return ObjectiveUnit("return", fraction=True)
        case "maximize_utility":
            return ObjectiveUnit("utility", fraction=True)
        case "minimize_risk":
            # With costs the objective is a utility: aversion to risk, and cost.
            charged = spec.cost != CostSpec()
            return ObjectiveUnit("risk and cost" if charged else measure, fraction=charged or measure != "variance")
        case "maximize_sharpe" if measure == "volatility":
            return ObjectiveUnit("the Sharpe ratio", fraction=False)
        case "maximize_sharpe":
            return ObjectiveUnit(f"the ratio of excess return to {measure}", fraction=False)
        case word:
            return ObjectiveUnit(_RATIOS.get(word, "the objective"), fraction=False)


def price_sentence(report: ConstraintReport, objective: ObjectiveUnit) -> str:
    """What the objective gains from one more point of a limit, or one less where less is looser; empty for nothing."""
    price = report.shadow_price
    if price is None:
        return ""
    step, noun = (1.0, "unit") if report.unit in _PLAIN else (_POINT, "point")
    worth = abs(price) * step
    if not worth > _NOTHING:
        return ""
    more = price > 0 if report.sense == "=" else report.sense == "<="
    way = f"one more {noun} of {report.name}" if more else f"one {noun} less of {report.name}"
    gain = (
        f"{worth / _BASIS_POINT:.3g} bp of {objective.name}"
        if objective.fraction
        else f"{worth:.3g} of {objective.name}"
    )
    return f"{way} is worth {gain}"
