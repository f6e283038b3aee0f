"""The frozen records that storage takes and gives.

Money, prices per lot and quantities are :class:`~decimal.Decimal`, so that they survive the round trip exactly; tables
of prices and returns are read-only numpy arrays. JSON columns are plain dictionaries and lists of JSON values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID, uuid4

# Tables, model sets and what taxes look at are records too: imported from here by everybody else.
from storage.model_sets import CovarianceSet as CovarianceSet  # noqa: PLC0414
from storage.model_sets import ExposureSet as ExposureSet  # noqa: PLC0414
from storage.model_sets import ForecastPeriod as ForecastPeriod  # noqa: PLC0414
from storage.model_sets import ForecastSet as ForecastSet  # noqa: PLC0414
from storage.model_sets import ModelSet as ModelSet  # noqa: PLC0414
from storage.model_sets import ScenarioSet as ScenarioSet  # noqa: PLC0414
from storage.tables import FactorTable as FactorTable  # noqa: PLC0414
from storage.tables import PriceTable as PriceTable  # noqa: PLC0414
from storage.tax_records import TaxRule as TaxRule  # noqa: PLC0414
from storage.tax_records import Transaction as Transaction  # noqa: PLC0414
from storage.tax_records import TransactionPlace as TransactionPlace  # noqa: PLC0414
from storage.tax_records import WashSaleRecord as WashSaleRecord  # noqa: PLC0414

Json: TypeAlias = dict[str, Any]

PENDING = "pending"
RUNNING = "running"
COMPLETED = "completed"
INFEASIBLE = "infeasible"
UNBOUNDED = "unbounded"
ILL_POSED = "ill_posed"
NUMERICAL_FAILURE = "numerical_failure"
CANCELLED = "cancelled"
FAILED = "failed"

OPEN_STATUSES = frozenset({PENDING, RUNNING})
TERMINAL_STATUSES = frozenset({COMPLETED, INFEASIBLE, UNBOUNDED, ILL_POSED, NUMERICAL_FAILURE, CANCELLED, FAILED})
STATUSES = OPEN_STATUSES | TERMINAL_STATUSES


def utc_now() -> datetime:
    """The present moment with its time zone, as PostgreSQL keeps it (microseconds)."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """Something a portfolio can hold.

    Attributes:
        lot_size: Trading increment in shares: 1 = whole shares, 0.000001 = fractions. > 0.
        quality_score: 0 to 10, where somebody has stated one.
        average_daily_volume: Shares per day, >= 0.
        market_cap: In units of ``currency``, >= 0.
        status: ``active``, ``halted`` or ``delisted``.
        source: Where these facts come from, with their date.
        required_option_level: Level of options trading that an account needs to buy it, 0 (none) to 5.
    """

    id: str
    name: str
    asset_class: str
    sector: str
    country: str = ""
    currency: str = "USD"
    lot_size: Decimal = Decimal(1)
    quality_score: Decimal | None = None
    average_daily_volume: Decimal | None = None
    market_cap: Decimal | None = None
    status: str = "active"
    source: str = ""
    required_option_level: int = 0


@dataclass(frozen=True, slots=True)
class Holding:
    """A position in shares; negative when short."""

    instrument_id: str
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxLot:
    """Shares bought together. ``cost_per_share`` is in the portfolio's currency. Date and cost are None if unknown.

    Attributes:
        held_since: Day from which the holding period counts, where a wash sale moved it; None = ``acquired_on``.
        replaced_loss: Whether these shares have replaced shares sold at a loss; they replace no others.
    """

    id: str
    instrument_id: str
    quantity: Decimal
    acquired_on: date | None = None
    cost_per_share: Decimal | None = None
    held_since: date | None = None
    replaced_loss: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """An account with its cash, holdings and lots, always read and written as a whole.

    Attributes:
        cash: In units of ``base_currency``.
        short_term_tax_rate: Fraction of a gain held for a year or less, in [0, 1].
        long_term_tax_rate: Fraction of a gain held for longer, in [0, 1].
        lot_method: How sold lots are chosen: ``fifo``, ``lifo``, ``hifo``, ...
        account: Account flags and restrictions.
        preferences: The owner's defaults.
        lots: For each instrument either none, or lots whose quantities add up to the holding.
    """

    id: str
    name: str
    base_currency: str = "USD"
    cash: Decimal = Decimal(0)
    benchmark_id: str | None = None
    short_term_tax_rate: Decimal = Decimal(0)
    long_term_tax_rate: Decimal = Decimal(0)
    lot_method: str = "fifo"
    account: Json = field(default_factory=dict)
    preferences: Json = field(default_factory=dict)
    holdings: tuple[Holding, ...] = ()
    lots: tuple[TaxLot, ...] = ()
    updated_at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A basket by weights (fractions of 1), an index with its own price series, or both."""

    id: str
    name: str
    weights: Mapping[str, Decimal] = field(default_factory=dict)
    index_instrument_id: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingPack:
    """What is known of an immutable set of prices without reading them.

    Attributes:
        as_of: Its last day.
        observations: How many prices there are.
        days: On how many days there are any.
    """

    id: str
    source: str
    first_date: date
    as_of: date
    instrument_ids: tuple[str, ...]
    observations: int
    days: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorSet:
    """What is known of an immutable set of factor returns without reading them.

    Attributes:
        as_of: Its last day.
        observations: How many returns there are.
        days: On how many days there are any.
    """

    id: str
    source: str
    first_date: date
    as_of: date
    factors: tuple[str, ...]
    observations: int
    days: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What every kind of request has.

    Attributes:
        request_id: The caller's key for safe retries, unique per portfolio.
        specification: The whole request as JSON, as the caller sent it.
        status: One of STATUSES.
    """

    id: str
    portfolio_id: str
    specification: Json = field(default_factory=dict)
    request_id: str | None = None
    pricing_pack_id: str | None = None
    job_id: int | None = None
    status: str = PENDING
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What every kind of result has. ``details`` holds outcome, certificate, constraints and provenance."""

    details: Json = field(default_factory=dict)
    solve_seconds: float | None = None
    completed_at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationRequest(Request):
    """A request for target weights."""

    optimization_type: str
    objective: str
    risk_measure: str
    constraints: Json = field(default_factory=dict)
    preferences: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationResult(Result):
    """Target weights and what leads there. Allocations map or list instruments to weights, as the caller gives them."""

    optimization_id: str
    metrics: Json
    current_allocation: Json | list[Any]
    target_allocation: Json | list[Any]
    trades: list[Any]
    efficient_frontier: Json | list[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierRequest(Request):
    """A request for an efficient frontier of ``points`` points."""

    risk_measure: str
    points: int
    min_return: Decimal | None = None
    max_risk: Decimal | None = None
    constraints: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierResult(Result):
    """An efficient frontier with the portfolios beside it."""

    frontier_id: str
    frontier_points: list[Any]
    current_portfolio: Json
    optimal_portfolio: Json
    min_risk_portfolio: Json
    max_return_portfolio: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceRequest(Request):
    """A request for trades towards a target."""

    target_type: str
    constraints: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceResult(Result):
    """A rebalance plan."""

    rebalance_id: str
    current_allocation: Json | list[Any]
    target_allocation: Json | list[Any]
    trades: list[Any]
    metrics: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorAnalysisRequest(Request):
    """A request for exposures to named factors."""

    factors: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorAnalysisResult(Result):
    """Factor exposures and the attribution of return and risk as of a day."""

    analysis_id: str
    as_of: datetime
    exposures: Json | list[Any]
    attribution: Json | list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRequest(Request):
    """A request for a walk-forward validation, with its progress."""

    windows_done: int = 0
    windows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult(Result):
    """A walk-forward validation; the report is empty where there is none."""

    validation_id: str
    report: Json


RequestT = TypeVar("RequestT", bound=Request)
ResultT = TypeVar("ResultT", bound=Result)


@dataclass(frozen=True, slots=True)
class Stored(Generic[RequestT, ResultT]):
    """A request with its result, once there is one."""

    request: RequestT
    result: ResultT | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationSummary:
    """A row of the read table of optimizations; metrics and allocations are None until there is a result."""

    optimization_id: str
    portfolio_id: str
    optimization_type: str
    objective: str
    risk_measure: str
    status: str
    metrics: Json | None
    current_allocation: Json | list[Any] | None
    target_allocation: Json | list[Any] | None
    trades: list[Any] | None
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationHistoryPoint:
    """One optimization in the time series of its portfolio."""

    portfolio_id: str
    optimization_id: str
    optimization_type: str
    objective: str
    risk_measure: str
    status: str
    pricing_pack_id: str | None
    metrics: Json
    current_allocation: Json | list[Any]
    target_allocation: Json | list[Any]
    completed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEstimate:
    """What the time until an answer is estimated from. ``mean_solve_seconds`` is of the last 50 results."""

    open_requests: int
    mean_solve_seconds: float


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of a row in a list that is ordered by creation, newest first."""

    created_at: datetime
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a portfolio. ``sequence`` is given by the database when the event is appended."""

    portfolio_id: str
    type: str
    payload: Json = field(default_factory=dict)
    id: UUID = field(default_factory=uuid4)
    sequence: int = 0
    created_at: datetime = field(default_factory=utc_now)
