"""What a rebalance request means, once it is checked: frozen, free of the wire format, ready for another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.drift import DriftMeasure
from kernel.rebalancing.lots import LotMethod
from kernel.rebalancing.mixed_integer import SearchSettings
from kernel.rebalancing.request import TradeDistance, TradeLimits
from server.specs import OptimizationSpec

FULL, THRESHOLD, CASH_FLOW = "full", "threshold", "cash_flow"
FAIL, RELAX, STAGE = "fail", "relax", "stage"


@dataclass(frozen=True, slots=True)
class TaxChoice:
    """How tax counts.

    Attributes:
        lot_method: None = the portfolio's own.
        considered: Whether the search minimises tax beside distance and cost.
        weight: Objective per unit of tax.
        specific: Shares by lot id for the method SPECIFIC; None = all of the lot.
    """

    lot_method: LotMethod | None = None
    considered: bool = False
    weight: Decimal = Decimal(1)
    avoid_short_term_gains: bool = False
    harvest_losses: bool = False
    price_wash_sales: bool = False
    specific: Mapping[str, Decimal | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecutionSpec:
    """How large trades are spread over days.

    Attributes:
        start: First trading day; None = the first one after the prices.
        days: 0 = as few as `max_participation` allows.
        risk_aversion: Of Almgren and Chriss, per unit of money; 0 = equal slices.
        half_spread: Fraction of the price; None = the market impact of the costs.
        max_participation: Share of the daily volume; None = no slices.
        impact_coefficient: Of the 3/2-power law; None = no such impact.
    """

    start: date | None = None
    days: int = 0
    risk_aversion: float = 0.0
    half_spread: Decimal | None = None
    max_participation: Decimal | None = None
    impact_coefficient: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """How far a plan goes.

    Attributes:
        strategy: full, threshold or cash_flow.
        cash_flow: Deposit (positive) or withdrawal (negative) of the strategy cash_flow.
        drift_measure, threshold: When and how far the strategy threshold trades; the 5/25 band has no threshold.
    """

    strategy: str = FULL
    cash_flow: Decimal = Decimal(0)
    drift_measure: DriftMeasure = DriftMeasure.MAX_ABSOLUTE
    threshold: Decimal = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """Which policy is applied, and what is done when its limits contradict each other.

    Attributes:
        version: 0 = the newest.
        on_conflict: fail, relax or stage.
        relax_order: Limits that may be loosened, first the one to loosen first.
    """

    policy_id: str
    version: int = 0
    on_conflict: str = FAIL
    relax_order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PositionLimits:
    """Limits on the weights after the trades; None = not set."""

    max_position: Decimal | None = None
    max_sector: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RebalanceSpec:
    """A rebalance request, checked.

    Attributes:
        limits: Without those of the account and without weight limits, which need the universe.
        min_trade_fraction: Of the portfolio's value; the greater of it and the limits' money applies.
        tracking_benchmark_id: Of max_tracking_error; empty = the target.
        risk_aversion: Of the distance TRACKING_RISK.
    """

    portfolio_id: str
    target_type: str
    pricing_pack_id: str
    benchmark_id: str
    optimization_id: str
    custom_target: Mapping[str, Decimal]
    optimization: OptimizationSpec
    limits: TradeLimits
    two_way_turnover: bool
    costs: CostModel
    search: SearchSettings
    validate_only: bool
    reason: str = ""
    tax: TaxChoice = field(default_factory=TaxChoice)
    execution: ExecutionSpec = field(default_factory=ExecutionSpec)
    strategy: StrategySpec = field(default_factory=StrategySpec)
    policy: PolicySpec | None = None
    positions: PositionLimits = field(default_factory=PositionLimits)
    min_trade_fraction: Decimal = Decimal(0)
    distance: TradeDistance = TradeDistance.TARGET_VALUE
    risk_aversion: float = 10.0
    tracking_benchmark_id: str = ""
