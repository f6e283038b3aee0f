"""How good a plan is and what its limits cost, to the wire."""

from __future__ import annotations

from collections.abc import Iterable

from portfolio_optimization.v1 import common_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.money import to_cents
from kernel.rebalancing.quality import Concession, LimitPrice, LimitReport, LimitSense, PlanConflict, PlanQuality

_SENSES = {
    LimitSense.AT_MOST: common_pb2.CONSTRAINT_SENSE_AT_MOST,
    LimitSense.AT_LEAST: common_pb2.CONSTRAINT_SENSE_AT_LEAST,
}
_CONCESSIONS = {
    Concession.PAST_TARGET: "no trades short of the target keep all limits: some go past it, as little as possible",
    Concession.SHORT_TERM_GAINS: "no trades without short-term gains keep all limits: the least such gain is realised",
}


def write_quality(quality: PlanQuality) -> pb.PlanQuality:
    """The objective, its parts and its bounds, to the cent."""
    idle = quality.no_trade_objective
    return pb.PlanQuality(
        objective_amount=f"{to_cents(quality.objective):f}",
        lower_bound_amount=f"{to_cents(quality.lower_bound):f}",
        bound_source=quality.bound_source.value,
        gap=quality.gap,
        distance_amount=f"{to_cents(quality.distance):f}",
        cost_amount=f"{to_cents(quality.cost):f}",
        tax_amount=f"{to_cents(quality.tax):f}",
        no_trade_objective_amount="" if idle is None else f"{to_cents(idle):f}",
        relaxation_bound_amount=f"{to_cents(quality.relaxation_bound):f}",
    )


def write_limits(reports: Iterable[LimitReport], prices: Iterable[LimitPrice]) -> list[common_pb2.ConstraintReport]:
    """Every limit, where it stands, and what it costs in words."""
    sentences = {price.name: price.sentence for price in prices}
    return [
        common_pb2.ConstraintReport(
            name=report.name,
            unit=report.unit,
            sense=_SENSES[report.sense],
            limit=float(report.limit),
            value=float(report.value),
            slack=float(report.slack),
            binding=report.binding,
            sentence=sentences.get(report.name, ""),
        )
        for report in reports
    ]


def write_limit_prices(prices: Iterable[LimitPrice]) -> list[pb.LimitPrice]:
    """What binding limits cost, largest price first."""
    return [
        pb.LimitPrice(
            name=price.name,
            limit=float(price.limit),
            unit=price.unit,
            price_amount=f"{to_cents(price.price):f}",
            tax_amount=f"{to_cents(price.tax):f}",
            cost_amount=f"{to_cents(price.cost):f}",
            distance_amount=f"{to_cents(price.distance):f}",
            sentence=price.sentence,
            uncertainty_amount=f"{to_cents(price.uncertainty):f}",
        )
        for price in sorted(prices, key=lambda found: (-found.price, found.name))
    ]


def write_conflict(conflict: PlanConflict) -> common_pb2.InfeasibilityExplanation:
    """Why no trades keep the limits; each way out is enough by itself."""
    plans = [
        common_pb2.RelaxationPlan(
            kind="fewest_limits",
            relaxations=[
                common_pb2.Relaxation(
                    name=way.name,
                    unit=way.unit,
                    limit=float(way.limit),
                    relaxed_limit=float(way.relaxed),
                    change=float(abs(way.relaxed - way.limit)),
                )
            ],
            total_points=float(abs(way.relaxed - way.limit)) * 100.0,
            verified=True,
            proven_fewest=True,
        )
        for way in conflict.relaxations
    ]
    return common_pb2.InfeasibilityExplanation(
        conflicting_constraints=conflict.limits,
        relaxations=plans[0].relaxations if plans else (),
        sentence=conflict.sentence,
        alternatives=plans,
        minimality="irreducible" if conflict.proven else "unproven",
    )


def write_concessions(concessions: Iterable[Concession]) -> list[pb.PlanNote]:
    """What a plan does only because nothing else keeps its limits."""
    return [pb.PlanNote(code="limits", message=_CONCESSIONS[concession]) for concession in concessions]
