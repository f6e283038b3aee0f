"""The words of the contract's string fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one field."""

    served: tuple[str, ...]

    @property
    def accepted(self) -> str:
        """The served words, as an error lists them."""
        return ", ".join(self.served)


OPTIMIZATION_TYPES = Vocabulary(
    served=(
        "mean_variance",
        "minimum_variance",
        "black_litterman",
        "scenario_based",
        "multi_objective",
        "custom",
        "risk_parity",
        "hierarchical_risk_parity",
        "hierarchical_equal_risk",
        "nested_clusters",
        "maximum_diversification",
        "most_decorrelated",
        "equal_weight",
        "inverse_volatility",
        "robust",
        "multi_period",
    ),
)
# Types whose weights come from a rule and are brought within the limits by projection.
HIERARCHIES = ("hierarchical_risk_parity", "hierarchical_equal_risk", "nested_clusters")
RULES = (*HIERARCHIES, "equal_weight", "inverse_volatility")
# Types that are about one goal of their own name.
OWN_GOALS = ("risk_parity", *RULES, "maximum_diversification", "most_decorrelated", "multi_objective", "custom")
OBJECTIVES = Vocabulary(
    served=(
        "maximize_sharpe",
        "maximize_sortino",
        "maximize_information_ratio",
        "maximize_return",
        "minimize_risk",
        "maximize_utility",
        "multi_objective",
        "custom",
        *(goal for goal in OWN_GOALS if goal not in ("multi_objective", "custom")),
    ),
)
RISK_MEASURES = Vocabulary(
    served=(
        "volatility",
        "variance",
        "semi_deviation",
        "mad",
        "var",
        "cvar",
        "evar",
        "cdar",
        "max_drawdown",
        "average_drawdown",
        "ulcer",
        "worst_realization",
        "gini",
    ),
)
# Measures that need returns in the order of time.
DRAWDOWNS = ("cdar", "max_drawdown", "average_drawdown", "ulcer")
FALLBACKS = Vocabulary(served=("minimize_risk", "maximize_return", "maximize_utility"))
# Terms of objectives by how they bend: convex ones can only be made small, concave ones large, affine ones both.
FACTOR_TERMS = ("factor_exposure", "factor_exposure_size")
CONVEX_TERMS = (
    *(word for word in RISK_MEASURES.served if word != "var"),
    "turnover",
    "cost",
    "tracking_error",
    "concentration",
    "factor_exposure_size",
)
CONCAVE_TERMS = ("entropy",)
TERM_KINDS = Vocabulary(served=("return", "factor_exposure", *CONVEX_TERMS, *CONCAVE_TERMS))
TARGET_TYPES = Vocabulary(
    served=("optimal", "custom", "benchmark", "policy", "equal_weight", "optimization"),
)
OPTIMIZATION_STATUSES = Vocabulary(
    served=(
        "pending",
        "running",
        "completed",
        "infeasible",
        "unbounded",
        "ill_posed",
        "numerical_failure",
        "cancelled",
        "failed",
    ),
)

# The objective that a type implies when the request names none.
IMPLIED_OBJECTIVES: Mapping[str, str] = MappingProxyType(
    {"minimum_variance": "minimize_risk"} | {goal: goal for goal in OWN_GOALS}
)
