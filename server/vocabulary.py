"""The words of the contract's string fields: which are served, and which are known but come with a later version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one field."""

    served: tuple[str, ...]
    planned: tuple[str, ...] = ()

    @property
    def accepted(self) -> str:
        """The served words, as an error lists them."""
        return ", ".join(self.served)


OPTIMIZATION_TYPES = Vocabulary(
    served=("mean_variance", "minimum_variance", "black_litterman"),
    planned=(
        "risk_parity",
        "hierarchical_risk_parity",
        "hierarchical_equal_risk",
        "nested_clusters",
        "maximum_diversification",
        "equal_weight",
        "robust",
        "multi_period",
        "multi_objective",
        "scenario_based",
        "custom",
    ),
)
OBJECTIVES = Vocabulary(
    served=("maximize_sharpe", "maximize_return", "minimize_risk", "maximize_utility"),
    planned=("maximize_sortino", "maximize_information_ratio", "risk_parity", "multi_objective", "custom"),
)
RISK_MEASURES = Vocabulary(
    served=("volatility",),
    planned=(
        "variance",
        "semi_deviation",
        "mad",
        "var",
        "cvar",
        "evar",
        "cdar",
        "max_drawdown",
        "ulcer",
        "worst_realization",
        "gini",
    ),
)
TARGET_TYPES = Vocabulary(
    served=("optimal", "custom", "benchmark", "equal_weight", "optimization"),
    planned=("policy",),
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
IMPLIED_OBJECTIVES: Mapping[str, str] = MappingProxyType({"minimum_variance": "minimize_risk"})
