"""What a factor model or a factor analysis is asked for, once it is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class TimeSeriesSpec:
    """Exposures by regression on given factor returns; None = the usual.

    Attributes:
        factors: Empty = all of the set but `risk_free_factor`.
        estimator: ``ordinary``, ``exponentially_weighted``, ``ridge``, ``huber`` or ``kalman``.
        standard_errors: ``newey_west`` or ``classical``.
        drift: None = the likeliest.
        lags: None = by the number of returns.
    """

    factor_set_id: str = ""
    factors: tuple[str, ...] = ()
    risk_free_factor: str = ""
    estimator: str = "ordinary"
    half_life: float = 126.0
    ridge_penalty: float = 0.01
    huber_threshold: float = 1.345
    drift: float | None = None
    standard_errors: str = "newey_west"
    lags: int | None = None


@dataclass(frozen=True, slots=True)
class CrossSectionalSpec:
    """Factor returns by regression on exposures.

    Attributes:
        factors: Of the stored exposures; empty = all.
        styles: ``market_beta``, ``momentum``, ``volatility``, ``size``, ``quality``; None = all that the data allow.
        weighting: ``usual``, ``square_root_market_cap``, ``equal`` or ``inverse_specific_variance``.
    """

    factor_exposures_id: str = ""
    factors: tuple[str, ...] = ()
    styles: tuple[str, ...] | None = None
    industries: bool = True
    weighting: str = "usual"
    winsorization: float = 3.0


@dataclass(frozen=True, slots=True)
class StatisticalSpec:
    """Principal components.

    Attributes:
        count_rule: ``bai_ng``, ``fixed``, ``eigenvalue_ratio``, ``marchenko_pastur`` or ``explained_share``.
        factor_count: The number, or the largest number.
    """

    count_rule: str = "bai_ng"
    factor_count: int = 20
    explained_share: float = 0.5
    standardize: bool = False


KindSpec: TypeAlias = TimeSeriesSpec | CrossSectionalSpec | StatisticalSpec


@dataclass(frozen=True, slots=True)
class FactorModelSpec:
    """A factor model to estimate. Empty ids and dates = the usual; 0 and None = not set."""

    kind: KindSpec = field(default_factory=TimeSeriesSpec)
    instrument_ids: tuple[str, ...] = ()
    pricing_pack_id: str = ""
    first_date: str = ""
    last_date: str = ""
    lookback_days: int = 0
    factor_half_life: float | None = None
    specific_half_life: float | None = None
    specific_shrinkage: float | None = None


@dataclass(frozen=True, slots=True)
class FactorSpec:
    """A factor analysis, checked. Empty factors = all; dates are ISO or empty.

    Attributes:
        model: Estimated for this analysis alone; None = the stored one, or the usual.
        holdings_basis: ``current_weights``, ``current_shares`` or ``recorded_transactions``.
    """

    portfolio_id: str
    factors: tuple[str, ...] = ()
    factor_set_id: str = ""
    pricing_pack_id: str = ""
    benchmark_id: str = ""
    first_date: str = ""
    last_date: str = ""
    lookback_days: int = 0
    factor_model_id: str = ""
    model: FactorModelSpec | None = None
    holdings_basis: str = "current_weights"
    include_instruments: bool = False
