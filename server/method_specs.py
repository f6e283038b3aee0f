"""What methods beyond one mean-risk program are asked for, once it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RiskBudgetingSpec:
    """Shares of the risk; at most one of the maps is filled, and none means equal shares.

    Attributes:
        short: Instruments held short.
    """

    instruments: Mapping[str, float] = field(default_factory=dict)
    sectors: Mapping[str, float] = field(default_factory=dict)
    asset_classes: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    short: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HierarchySpec:
    """The tree of a hierarchical method.

    Attributes:
        codependence: ``pearson``, ``spearman``, ``distance`` or ``mutual_information``.
        linkage: ``single``, ``complete``, ``average`` or ``ward``.
        clusters: 0 = by the gap statistic.
        nested_objective: Within and between nested clusters.
        of_columns: Whether the distances are those between columns of distances.
    """

    codependence: str = "pearson"
    linkage: str = "ward"
    clusters: int = 0
    max_clusters: int = 10
    nested_objective: str = "minimize_risk"
    of_columns: bool = False


@dataclass(frozen=True, slots=True)
class MeanSetSpec:
    """Uncertain expected returns: ``box`` or ``ellipsoid``, by a confidence or as given."""

    shape: str
    confidence: float = 0.95
    half_widths: Mapping[str, float] = field(default_factory=dict)
    radius: float | None = None


@dataclass(frozen=True, slots=True)
class CovarianceSetSpec:
    """An uncertain covariance: ``box``, ``ellipsoid`` or ``factor``, by a confidence or as given.

    Attributes:
        metric: Of an ellipsoid: ``sampling``, ``variances`` or ``identity``.
        factor_set_id: Empty = the newest.
    """

    shape: str
    confidence: float = 0.95
    relative_half_width: float | None = None
    radius: float | None = None
    metric: str = "sampling"
    factor_set_id: str = ""


@dataclass(frozen=True, slots=True)
class DistributionSetSpec:
    """A Wasserstein ball of distributions; `norm` is ``one``, ``two`` or ``infinity``."""

    radius: float | None = None
    confidence: float = 0.95
    norm: str = "two"


@dataclass(frozen=True, slots=True)
class RobustSpec:
    """What is uncertain; at least one part is there."""

    mean: MeanSetSpec | None = None
    covariance: CovarianceSetSpec | None = None
    distribution: DistributionSetSpec | None = None


# Of one plan, also where a stored forecast has more.
MOST_PERIODS = 120


@dataclass(frozen=True, slots=True)
class PeriodSpec:
    """One period of a plan; None = what the request says for all of them.

    Attributes:
        expected_returns: Annual, of the instruments that differ from the model's.
        names: Of the rows of `Sigma`, the period's own annual covariance.
        cash_flow: Fraction of the present portfolio value.
    """

    days: int = 21
    expected_returns: Mapping[str, float] = field(default_factory=dict)
    covariance_scale: float = 1.0
    names: tuple[str, ...] = ()
    Sigma: npt.NDArray[np.float64] | None = None
    cash_flow: float = 0.0
    max_turnover: float | None = None
    max_volatility: float | None = None


@dataclass(frozen=True, slots=True)
class MultiPeriodSpec:
    """A plan over periods.

    Attributes:
        periods: Empty while `forecast_id` names stored ones.
        holding_cost: Annual, of positions; `borrow_cost` of short ones.
        terminal_weights: Of the last period; empty = free.
    """

    periods: tuple[PeriodSpec, ...] = ()
    forecast_id: str = ""
    holding_cost: float = 0.0
    borrow_cost: float = 0.0
    terminal_weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_rates(self) -> bool:
        """Whether holding costs anything."""
        return self.holding_cost > 0.0 or self.borrow_cost > 0.0


@dataclass(frozen=True, slots=True)
class DistributionViewSpec:
    """One view on the distribution.

    Attributes:
        kind: ``mean``, ``volatility``, ``correlation``, ``cvar`` or ``ranking``.
        sense: ``=``, ``<=`` or ``>=``.
        weights: Of the combination; of a correlation and a ranking empty.
        instruments: Of a correlation (two) or a ranking, in order.
        value: Annual; of cvar per period; of a ranking the margin.
    """

    name: str
    kind: str
    sense: str = "="
    weights: Mapping[str, float] = field(default_factory=dict)
    instruments: tuple[str, ...] = ()
    value: float = 0.0
    confidence_level: float = 0.95


MethodSpec = RiskBudgetingSpec | HierarchySpec | RobustSpec | MultiPeriodSpec
