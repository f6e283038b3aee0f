"""Inputs of a computation: everything it needs, loaded, in one picklable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from kernel.estimation.data_checks import Finding
from kernel.factors.model import FactorModel
from server.specs import CASH

Floats = npt.NDArray[np.float64]

PERIODS_PER_YEAR = 252.0


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset of the universe and what is known of it.

    Attributes:
        candidate: Whether it may be held; what is held and no candidate is sold.
        sale_tax_rate: Tax on selling all of it today, as a fraction of its value, gains only.
        quality_score: 0 to 10, None where nobody has stated one.
        daily_volume: Shares per day on average, None where it is not known.
        lot_size: Trading increment in shares.
        price: The last one; None while prices are not loaded.
    """

    id: str
    sector: str
    asset_class: str
    market_cap: float | None
    candidate: bool = True
    sale_tax_rate: float = 0.0
    quality_score: float | None = None
    daily_volume: Decimal | None = None
    lot_size: Decimal = Decimal(1)
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkInputs:
    """A benchmark: a price series on the market's days where the pack has one, and its weights where it has some.

    Attributes:
        has_series: Whether the pack has its series, also while prices are not loaded.
    """

    id: str
    closes: Floats | None = None
    weights: dict[str, float] | None = None
    has_series: bool = False


@dataclass(frozen=True, slots=True)
class FactorReturns:
    """A set of factor returns: (k,) names, (T,) days, (T, k) simple returns."""

    id: str
    names: tuple[str, ...]
    dates: npt.NDArray[np.datetime64]
    F: Floats


@dataclass(frozen=True, slots=True)
class FactorModelInputs:
    """A factor model, stored or just estimated, and what its explanations need.

    Attributes:
        id: Empty where it is not stored.
        kind: ``time_series``, ``cross_sectional`` or ``statistical``.
        model: Of all its instruments.
        factor_kinds, definitions: (k,) what each factor is, in a word and in a sentence.
        dates: (T,) days of `F`.
        F: (T, k) simple returns of the factors.
        risk_free: (T,) return that was taken from those of the instruments; None = none was.
        standard_errors: (n, k) of the exposures; None where they are given.
        r_squared: (n,) shares of the variance explained.
        variance_inflation: (k,) at least 1.
    """

    id: str
    kind: str
    model: FactorModel
    factor_kinds: tuple[str, ...]
    definitions: tuple[str, ...]
    dates: npt.NDArray[np.datetime64]
    F: Floats
    risk_free: Floats | None
    standard_errors: Floats | None
    r_squared: Floats
    condition_number: float
    variance_inflation: Floats


@dataclass(frozen=True, slots=True)
class MarketInputs:
    """A portfolio's universe on a pricing pack.

    Attributes:
        assets: The n assets, cash left out.
        dates: (T + 1,) days of the window, ``datetime64[D]``.
        closes: (T + 1, n) prices; NaN = none that day.
        w0: (n,) current weights.
        cash_weight: Current weight of cash.
        value: Total value of the portfolio, in its currency.
        market: The benchmark that is the market of the CAPM, where the model names one.
        factor_sets: Of the factor models, by the id that the model names.
        factor_models: The stored ones, by their ids.
    """

    portfolio_id: str
    pricing_pack_id: str
    assets: tuple[Asset, ...]
    dates: npt.NDArray[np.datetime64]
    closes: Floats
    w0: Floats
    cash_weight: float
    value: Decimal
    benchmark: BenchmarkInputs | None = None
    market: BenchmarkInputs | None = None
    factor_sets: Mapping[str, FactorReturns] = field(default_factory=dict)
    factor_models: Mapping[str, FactorModelInputs] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[str, ...]:
        """(n,) ids of the assets."""
        return tuple(asset.id for asset in self.assets)

    @property
    def names(self) -> tuple[str, ...]:
        """(n + 1,) ids of the assets, and cash."""
        return (*self.ids, CASH)

    @property
    def weights_with_cash(self) -> Floats:
        """(n + 1,) current weights, cash last."""
        return np.append(self.w0, self.cash_weight)


@dataclass(frozen=True, slots=True)
class Window:
    """The window of history that an answer rests on."""

    first_date: str
    as_of: str
    observations: int
    findings: tuple[Finding, ...]
