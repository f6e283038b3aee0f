"""Limits with names of their own, from the wire: risk measures, sums, factors, budgets, stress scenarios."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message
from portfolio_optimization.v1 import constraints_pb2 as pb
from portfolio_optimization.v1 import optimization_pb2

from server.convert.faults import POSITIVE, Bounds, Faults
from server.limit_specs import ExposureSpec, FactorLimitSpec, Range, RiskBudgetSpec, StressSpec, SumSpec
from server.specs import CASH

_AT = "constraints"
_NUMBER = Bounds(-1e6, 1e6)
_SHARE = Bounds(0.0, 1.0, open_low=True)
_STRESS_RETURN = Bounds(-1.0, 1e3)
_LOSS = Bounds(-10.0, 10.0)
# Losses of one period may be gains.
_SIGNED = ("max_var", "max_cvar", "max_evar", "max_worst_realization")


def read_range(field: str, message: Message, bounds: Bounds, faults: Faults) -> Range:
    """A minimum and a maximum, either of which may be absent."""
    low, high = (
        faults.number(f"{field}.{end}", getattr(message, end), bounds) if message.HasField(end) else None
        for end in ("minimum", "maximum")
    )
    if low is not None and high is not None and low > high:
        faults.add(field, f"has its minimum {low:g} above its maximum {high:g}")
    return Range(low, high)


def read_risk_limits(message: pb.RiskLimits, faults: Faults) -> dict[str, float]:
    """The limits that are set, by field."""
    return {
        field.name: faults.number(
            f"{_AT}.risk_limits.{field.name}", value, _LOSS if field.name in _SIGNED else POSITIVE
        )
        for field, value in message.ListFields()
    }


def read_sums(messages: Iterable[pb.LinearConstraint], faults: Faults) -> tuple[SumSpec, ...]:
    """Limits on sums over weights."""
    read = []
    for k, message in enumerate(messages):
        at = f"{_AT}.linear_constraints[{message.name or k}]"
        faults.name(f"{at}.name", message.name)
        coefficients = faults.numbers(f"{at}.coefficients", message.coefficients, _NUMBER)
        if not any(coefficients.values()):
            faults.add(f"{at}.coefficients", "must have one other than zero")
        read.append(
            SumSpec(message.name, coefficients, _some_range(at, message, faults), message.relative_to_benchmark)
        )
    faults.distinct(f"{_AT}.linear_constraints", [limit.name for limit in read])
    return tuple(read)


def read_factor_limits(messages: Iterable[pb.FactorLimit], faults: Faults) -> tuple[FactorLimitSpec, ...]:
    """Limits on exposures to factors."""
    read = []
    for k, message in enumerate(messages):
        at = f"{_AT}.factor_limits[{message.factor or k}]"
        faults.name(f"{at}.factor", message.factor)
        read.append(FactorLimitSpec(message.factor, _some_range(at, message, faults), message.relative_to_benchmark))
    faults.distinct(f"{_AT}.factor_limits", [limit.factor for limit in read])
    return tuple(read)


def read_exposures(message: optimization_pb2.OptimizationConstraints, faults: Faults) -> ExposureSpec:
    """Exposures to factors, given or stored."""
    at = f"{_AT}.factor_exposures"
    stored = faults.identifier(f"{at}_id", message.factor_exposures_id, required=False)
    if stored and message.factor_exposures:
        faults.add(f"{at}_id", "must be empty where factor_exposures are given")
    values = {}
    for factor, exposures in message.factor_exposures.items():
        faults.name(f"{at}[{factor}]", factor)
        values[factor] = faults.numbers(f"{at}[{factor}].values", exposures.values, _NUMBER)
        if CASH in exposures.values:
            faults.add(f"{at}[{factor}].values[{CASH}]", "must be left out: cash has no exposure")
    return ExposureSpec(stored, values)


def read_factor_model(message: optimization_pb2.OptimizationConstraints, faults: Faults) -> str:
    """The stored factor model whose exposures are used; empty = none."""
    at = f"{_AT}.factor_model_id"
    for field in ("factor_exposures", "factor_exposures_id"):
        if message.factor_model_id and getattr(message, field):
            faults.add(at, f"must be empty where {field} {'is' if field.endswith('id') else 'are'} given")
    return faults.identifier(at, message.factor_model_id, required=False)


def read_risk_budgets(messages: Iterable[pb.RiskBudget], faults: Faults) -> tuple[RiskBudgetSpec, ...]:
    """Limits on shares in the variance."""
    read = []
    for k, message in enumerate(messages):
        at = f"{_AT}.risk_budgets[{message.instrument_id or message.sector or message.factor or k}]"
        match message.WhichOneof("of"):
            case "instrument_id":
                faults.identifier(f"{at}.instrument_id", message.instrument_id)
            case "sector":
                faults.name(f"{at}.sector", message.sector)
            case "factor":
                faults.name(f"{at}.factor", message.factor)
            case _:
                faults.add(at, "must name an instrument_id, a sector or a factor")
        faults.number(f"{at}.max_share", message.max_share, _SHARE)
        read.append(RiskBudgetSpec(message.instrument_id, message.sector, message.max_share, message.factor))
    faults.distinct(f"{_AT}.risk_budgets", [budget.name for budget in read])
    return tuple(read)


def read_stress_scenarios(messages: Iterable[pb.StressScenario], faults: Faults) -> tuple[StressSpec, ...]:
    """Bad cases."""
    read = []
    for k, message in enumerate(messages):
        at = f"{_AT}.stress_scenarios[{message.name or k}]"
        faults.name(f"{at}.name", message.name)
        returns = faults.numbers(f"{at}.returns", message.returns, _STRESS_RETURN)
        faults.number(f"{at}.min_return", message.min_return, _LOSS)
        if not returns:
            faults.add(f"{at}.returns", "must name at least one instrument")
        read.append(StressSpec(message.name, returns, message.min_return))
    faults.distinct(f"{_AT}.stress_scenarios", [scenario.name for scenario in read])
    return tuple(read)


def _some_range(field: str, message: Message, faults: Faults) -> Range:
    limits = read_range(field, message, _NUMBER, faults)
    if limits == Range():
        faults.add(field, "must have a minimum or a maximum")
    return limits
