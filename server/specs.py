"""What a request means, once it is checked: frozen, free of the wire format, ready for another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from server.limit_specs import ConstraintSpec
from server.method_specs import DistributionViewSpec, MethodSpec

CASH = "CASH"


@dataclass(frozen=True, slots=True)
class ReturnsSpec:
    """The model of expected returns: a word of `RETURNS_METHODS`, and what that method takes.

    Attributes:
        values: Of the caller's own forecast; `forecast_id` names a stored one instead.
        risk_aversion: Of the market, for the equilibrium.
        market_caps: They replace the instruments' own.
        half_life: In periods, of exponential weights.
        factor_set_id: Of the factor model; empty = the newest. `factor_model_id` names a stored model instead.
        market_benchmark_id: Whose series is the market of the CAPM; empty = the instruments by capitalisation.
        market_premium: Annual excess return of the market; None = from its past.
        factor_premia: Annual, by factor; the past speaks for factors not named.
    """

    method: str = "historical_mean"
    values: Mapping[str, float] = field(default_factory=dict)
    risk_aversion: float = 2.5
    market_caps: Mapping[str, float] = field(default_factory=dict)
    half_life: float = 63.0
    factor_set_id: str = ""
    market_benchmark_id: str = ""
    market_premium: float | None = None
    factor_premia: Mapping[str, float] = field(default_factory=dict)
    forecast_id: str = ""
    factor_model_id: str = ""


@dataclass(frozen=True, slots=True)
class RiskSpec:
    """The model of risk: a word of `RISK_METHODS`, and what that method takes.

    Attributes:
        names: Of the rows of `Sigma`, the caller's own annual covariance; `covariance_id` names a stored one instead.
        half_life: In periods, of exponential weights.
        factor_set_id: Of the factor model; empty = the newest. `factor_model_id` names a stored model instead.
        gerber_threshold: In standard deviations.
    """

    method: str = "ledoit_wolf"
    names: tuple[str, ...] = ()
    Sigma: npt.NDArray[np.float64] | None = None
    max_repair_distance: float = 1e-3
    half_life: float = 63.0
    factor_set_id: str = ""
    gerber_threshold: float = 0.5
    covariance_id: str = ""
    factor_model_id: str = ""


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """The caller's own scenarios: given, or stored under an id.

    Attributes:
        names: Instruments of the columns.
        R: (T, n) simple returns over a scenario.
        p: (T,) probabilities.
        days: Length of a scenario in trading days.
        ordered: Whether they follow each other in time.
    """

    id: str = ""
    names: tuple[str, ...] = ()
    R: npt.NDArray[np.float64] | None = None
    p: npt.NDArray[np.float64] | None = None
    days: int = 1
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """One view: a combination's annual return, with a confidence or a variance.

    Attributes:
        expected_return: In excess of the risk-free rate or not, as `ViewsSpec.convention` says.
        sectors, asset_classes: Weights divided among a group's instruments by market capitalisation.
    """

    name: str
    weights: Mapping[str, float]
    expected_return: float
    confidence: float | None = None
    variance: float | None = None
    sectors: Mapping[str, float] = field(default_factory=dict)
    asset_classes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ViewsSpec:
    """Black-Litterman: the views, and how far the equilibrium is trusted.

    Attributes:
        convention: Of the views' returns: ``excess`` or ``total``.
    """

    views: tuple[ViewSpec, ...]
    tau: float = 0.05
    risk_aversion: float = 2.5
    market_caps: Mapping[str, float] = field(default_factory=dict)
    convention: str = "excess"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """From which data and by which estimators the numbers come. Empty ids = the default of the portfolio.

    Attributes:
        distribution_views: They change the probabilities of history or scenarios by entropy pooling.
    """

    risk_free_rate: float
    pricing_pack_id: str = ""
    benchmark_id: str = ""
    lookback_days: int = 0
    returns: ReturnsSpec = field(default_factory=ReturnsSpec)
    risk: RiskSpec = field(default_factory=RiskSpec)
    views: ViewsSpec | None = None
    confidence_level: float = 0.95
    scenarios: ScenarioSpec | None = None
    distribution_views: tuple[DistributionViewSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class CostSpec:
    """Costs inside the objective: proportional ones, and the tax on gains that sales realise.

    Attributes:
        rate: Fraction of the traded value.
        commission: Money for every trade.
        impact: Coefficient of the square-root law of market impact; None = no impact.
    """

    rate: float = 0.0
    include_tax: bool = False
    commission: Decimal = Decimal(0)
    impact: float | None = None


@dataclass(frozen=True, slots=True)
class TermSpec:
    """A named term of an objective; the sum of coefficient times value is maximised."""

    name: str
    kind: str
    coefficient: float
    confidence_level: float
    factor: str = ""


@dataclass(frozen=True, slots=True)
class OptimizationSpec:
    """An optimization, checked.

    Attributes:
        fallback: The objective in place of a ratio that has no meaning; empty = none.
        terms: Of a multi-objective or custom optimization.
        pareto_points: Wanted on the Pareto surface of the terms; 0 = their sum is optimised.
        method: What the type's own method is asked for, where it has one.
    """

    portfolio_id: str
    optimization_type: str
    objective: str
    risk_measure: str
    model: ModelSpec
    time_limit_seconds: float
    constraints: ConstraintSpec = field(default_factory=ConstraintSpec)
    risk_aversion: float = 1.0
    cost: CostSpec = field(default_factory=CostSpec)
    instrument_ids: tuple[str, ...] = ()
    frontier_points: int = 0
    fallback: str = ""
    terms: tuple[TermSpec, ...] = ()
    pareto_points: int = 0
    method: MethodSpec | None = None


@dataclass(frozen=True, slots=True)
class ResamplingSpec:
    """How many histories are simulated, and from which seed."""

    draws: int
    seed: int


@dataclass(frozen=True, slots=True)
class FrontierSpec:
    """A frontier, checked: the part of an optimization that it shares, and which points.

    Attributes:
        resampling: None = the points are optimal ones.
    """

    optimization: OptimizationSpec
    points: int
    min_return: float | None = None
    max_risk: float | None = None
    include_turning_points: bool = False
    resampling: ResamplingSpec | None = None
