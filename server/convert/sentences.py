"""Shadow prices in words: what one more point of a limit is worth."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.solution import ConstraintReport
from server.method_specs import MultiPeriodSpec
from server.specs import CostSpec, OptimizationSpec
from server.vocabulary import RULES

# Limits counted in things or in numbers without unit; all others are fractions, of which a point is a hundredth.
_PLAIN = frozenset({"variance", "exposure", "positions", "score"})
_POINT = 0.01
_BASIS_POINT = 1e-4
# Less is rounding: a ten-thousandth of a basis point.
_NOTHING = 1e-8
_NAMES = {
    "maximize_sortino": "the Sortino ratio",
    "maximize_information_ratio": "the information ratio",
    "maximum_diversification": "the diversification ratio",
    "most_decorrelated": "the mean correlation",
    "risk_parity": "the risk at the same weighted geometric mean of weights",
    **dict.fromkeys(RULES, "the distance to the rule's weights"),
}
_NAMES_WITH_COST = {"most_decorrelated": "correlation and cost", **dict.fromkeys(RULES, "distance and cost")}


@dataclass(frozen=True, slots=True)
class ObjectiveUnit:
    """What an objective is called, and whether it is a fraction, which is then told in basis points."""

    name: str
    fraction: bool


def objective_unit(spec: OptimizationSpec) -> ObjectiveUnit:
    """The objective of a request, for sentences."""
    worst = "worst-case " if spec.optimization_type == "robust" else ""
    measure, charged = worst + spec.risk_measure.replace("_", " "), spec.cost != CostSpec()
    charged |= isinstance(spec.method, MultiPeriodSpec) and spec.method.has_rates
    match spec.objective:
        case "maximize_return" | "maximize_utility":
            return ObjectiveUnit(spec.objective.removeprefix("maximize_"), fraction=True)
        case "minimize_risk":
            # With costs the objective is a utility: aversion to risk, and cost.
            return ObjectiveUnit(
                "risk and cost" if charged else measure, fraction=charged or spec.risk_measure != "variance"
            )
        case "maximize_sharpe":
            general = f"the ratio of excess return to {measure}"
            return ObjectiveUnit("the Sharpe ratio" if measure == "volatility" else general, fraction=False)
        case word:
            names = _NAMES | _NAMES_WITH_COST if charged else _NAMES
            return ObjectiveUnit(names.get(word, "the objective"), fraction=False)


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
