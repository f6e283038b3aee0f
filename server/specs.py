"""What a request means, once it is checked: frozen, free of the wire format, ready for another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

CASH = "CASH"


@dataclass(frozen=True, slots=True)
class Range:
    """A minimum and a maximum; None = not set."""

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class ConstraintSpec:
    """Limits on the target weights; None and absent keys = not set."""

    max_position_size: float | None = None
    min_position_size: float | None = None
    max_sector_exposure: float | None = None
    max_asset_class_exposure: float | None = None
    max_turnover: float | None = None
    target_volatility: float | None = None
    min_weights: Mapping[str, float] = field(default_factory=dict)
    max_weights: Mapping[str, float] = field(default_factory=dict)
    min_cash_weight: float = 0.0
    max_cash_weight: float = 0.0
    sector_limits: Mapping[str, Range] = field(default_factory=dict)
    asset_class_limits: Mapping[str, Range] = field(default_factory=dict)
    two_way_turnover: bool = False


@dataclass(frozen=True, slots=True)
class ReturnsSpec:
    """The model of expected returns: ``historical_mean``, ``provided`` or ``equilibrium``."""

    method: str = "historical_mean"
    values: Mapping[str, float] = field(default_factory=dict)
    risk_aversion: float = 2.5
    market_caps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RiskSpec:
    """The model of risk: ``ledoit_wolf``, ``sample`` or ``provided`` (then with names and an annual covariance)."""

    method: str = "ledoit_wolf"
    names: tuple[str, ...] = ()
    Sigma: npt.NDArray[np.float64] | None = None
    max_repair_distance: float = 1e-3


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """One view: a portfolio's annual return in excess of the risk-free rate, with a confidence or a variance."""

    name: str
    weights: Mapping[str, float]
    expected_return: float
    confidence: float | None = None
    variance: float | None = None


@dataclass(frozen=True, slots=True)
class ViewsSpec:
    """Black-Litterman: the views, and how far the equilibrium is trusted."""

    views: tuple[ViewSpec, ...]
    tau: float = 0.05
    risk_aversion: float = 2.5
    market_caps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """From which data and by which estimators the numbers come. Empty ids = the default of the portfolio."""

    risk_free_rate: float
    pricing_pack_id: str = ""
    benchmark_id: str = ""
    lookback_days: int = 0
    returns: ReturnsSpec = field(default_factory=ReturnsSpec)
    risk: RiskSpec = field(default_factory=RiskSpec)
    views: ViewsSpec | None = None
    confidence_level: float = 0.95


@dataclass(frozen=True, slots=True)
class CostSpec:
    """Costs inside the objective: a fraction of the traded value, and the tax on gains that sales realise."""

    rate: float = 0.0
    include_tax: bool = False


@dataclass(frozen=True, slots=True)
class OptimizationSpec:
    """An optimization, checked."""

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


@dataclass(frozen=True, slots=True)
class FrontierSpec:
    """A frontier, checked: the part of an optimization that it shares, and which points."""

    optimization: OptimizationSpec
    points: int
    min_return: float | None = None
    max_risk: float | None = None
    include_turning_points: bool = False


@dataclass(frozen=True, slots=True)
class FactorSpec:
    """A factor analysis, checked. Empty factors = all of the set; dates are ISO or empty."""

    portfolio_id: str
    factors: tuple[str, ...] = ()
    factor_set_id: str = ""
    pricing_pack_id: str = ""
    benchmark_id: str = ""
    first_date: str = ""
    last_date: str = ""
    lookback_days: int = 0
