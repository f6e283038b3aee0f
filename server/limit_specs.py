"""Limits that a request sets, once they are checked. None and absent keys = not set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Range:
    """A minimum and a maximum; None = not set."""

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class SumSpec:
    """A named limit on a sum of coefficients times weights, or times weights less the benchmark's."""

    name: str
    coefficients: Mapping[str, float]
    range: Range
    relative: bool = False


@dataclass(frozen=True, slots=True)
class FactorLimitSpec:
    """A limit on the exposure to a factor, of weights or of weights less the benchmark's."""

    factor: str
    range: Range
    relative: bool = False


@dataclass(frozen=True, slots=True)
class ExposureSpec:
    """Exposures by factor and instrument: given, or stored under an id."""

    id: str = ""
    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeverageSpec:
    """Limits on sums over all instruments, cash left out.

    Attributes:
        gross: Largest sum of absolute weights.
        net: Range of the sum of weights.
        long: Largest sum of positive weights.
        short: Largest sum of negative weights, their signs turned.
    """

    gross: float | None = None
    net: Range = field(default_factory=Range)
    long: float | None = None
    short: float | None = None


@dataclass(frozen=True, slots=True)
class RiskBudgetSpec:
    """The largest share of an instrument, of a sector or of a factor in the variance; one of the three is set."""

    instrument_id: str
    sector: str
    max_share: float
    factor: str = ""

    @property
    def name(self) -> str:
        """The budget in the caller's words."""
        return f"risk_budgets[{self.instrument_id or self.sector or self.factor}].max_share"


@dataclass(frozen=True, slots=True)
class StressSpec:
    """Returns of instruments in a bad case, and the smallest return of the portfolio in it."""

    name: str
    returns: Mapping[str, float]
    min_return: float


@dataclass(frozen=True, slots=True)
class ConstraintSpec:
    """Limits on the target weights.

    Attributes:
        risk_limits: Largest values of risk measures, by the contract's field (``max_cvar``).
        max_trade_size: Largest change of any weight but cash; `max_trade_sizes` replaces it per instrument.
        factor_model_id: A stored factor model, whose exposures stand in place of `exposures`.
    """

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
    risk_limits: Mapping[str, float] = field(default_factory=dict)
    max_tracking_error: float | None = None
    max_trade_size: float | None = None
    max_trade_sizes: Mapping[str, float] = field(default_factory=dict)
    allow_short: bool = False
    leverage: LeverageSpec = field(default_factory=LeverageSpec)
    linear_constraints: tuple[SumSpec, ...] = ()
    factor_limits: tuple[FactorLimitSpec, ...] = ()
    exposures: ExposureSpec = field(default_factory=ExposureSpec)
    max_positions: int | None = None
    min_positions: int | None = None
    whole_lots: bool = False
    min_quality_score: float | None = None
    min_average_quality: float | None = None
    risk_budgets: tuple[RiskBudgetSpec, ...] = ()
    stress_scenarios: tuple[StressSpec, ...] = ()
    target_return: float | None = None
    factor_model_id: str = ""
