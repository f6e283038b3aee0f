"""What every answer must keep to, computed from the request and the answer alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from portfolio_optimization.v1 import common_pb2, constraints_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.sample.facts import STOCKS
from tests.integration.server.message_strategies import NAMES

TOLERANCE = 1e-8
CASH = "CASH"
SECTOR_OF = {stock.id: stock.sector for stock in STOCKS}
# A relaxation is reported as the solver found it; this much more makes room for its rounding.
ROOM = 1e-7
_NAMED = re.compile(r"(?P<limit>\w+)\[(?P<key>.*)\](?:\.(?P<end>\w+))?")


def check_weights(request: pb.CreateOptimizationRequest, answer: Any) -> None:
    """Weights of a completed optimization keep every limit of the request."""
    target, constraints = dict(answer.target_allocation), request.constraints
    assert sum(target.values()) == pytest.approx(1.0, abs=TOLERANCE)
    assert set(target) <= {*(request.instrument_ids or NAMES), CASH}
    low_cash = constraints.min_cash_weight
    high_cash = constraints.max_cash_weight if constraints.HasField("max_cash_weight") else low_cash
    assert low_cash - TOLERANCE <= target.pop(CASH, 0.0) <= high_cash + TOLERANCE
    for name in NAMES:
        low, high = _weight_range(constraints, name)
        assert low - TOLERANCE <= target.get(name, 0.0) <= high + TOLERANCE, name
    if constraints.min_position_size:
        assert min(target.values(), default=1.0) >= constraints.min_position_size - TOLERANCE
    _check_sectors(constraints, target)
    _check_turnover(constraints, answer)
    if constraints.target_volatility:
        assert answer.metrics.expected_volatility <= constraints.target_volatility + TOLERANCE
    assert answer.certificate.max_violation <= TOLERANCE
    if answer.outcome.status != common_pb2.OUTCOME_STATUS_LIMIT_REACHED:
        assert answer.certificate.duality_gap <= 1e-5


def _weight_range(constraints: pb.OptimizationConstraints, name: str) -> tuple[float, float]:
    largest = constraints.max_position_size or 1.0
    return constraints.min_weights.get(name, 0.0), constraints.max_weights.get(name, largest)


def _check_sectors(constraints: pb.OptimizationConstraints, target: dict[str, float]) -> None:
    for sector in set(SECTOR_OF.values()):
        held = sum(weight for name, weight in target.items() if SECTOR_OF[name] == sector)
        if sector in constraints.sector_limits:
            own = constraints.sector_limits[sector]
            assert own.minimum - TOLERANCE <= held <= own.maximum + TOLERANCE, sector
        elif constraints.max_sector_exposure:
            assert held <= constraints.max_sector_exposure + TOLERANCE, sector


def _check_turnover(constraints: pb.OptimizationConstraints, answer: Any) -> None:
    current, target = dict(answer.current_allocation), dict(answer.target_allocation)
    gross = sum(abs(target.get(name, 0.0) - current.get(name, 0.0)) for name in {*current, *target})
    two_way = constraints.turnover_definition == common_pb2.TURNOVER_DEFINITION_TWO_WAY
    turnover = gross if two_way else gross / 2
    assert answer.metrics.turnover == pytest.approx(turnover, abs=1e-12)
    if constraints.max_turnover:
        assert turnover <= constraints.max_turnover + TOLERANCE


def relaxed(request: pb.CreateOptimizationRequest, explanation: Any) -> pb.CreateOptimizationRequest:
    """The request with the changes that an explanation proposes, looking only for the least risk."""
    changed = pb.CreateOptimizationRequest()
    changed.CopyFrom(request)
    changed.optimization_type, changed.objective = "minimum_variance", ""
    for relaxation in explanation.relaxations:
        named = _NAMED.fullmatch(relaxation.name)
        if named is None:
            _relax_one(changed.constraints, relaxation.name, relaxation.relaxed_limit)
        elif named["limit"] == "instrument_ids":
            changed.instrument_ids.append(named["key"])
            changed.constraints.max_weights[named["key"]] = relaxation.relaxed_limit + ROOM
        else:
            _relax_group(changed.constraints, named, relaxation.relaxed_limit)
    return changed


def _relax_exposure(part: constraints_pb2.FactorLimit, end: str | None, limit: float) -> None:
    if end != "minimum":
        part.maximum = limit + ROOM
    if end != "maximum":
        part.minimum = limit - ROOM


def _relax_one(constraints: pb.OptimizationConstraints, name: str, limit: float) -> None:
    setattr(constraints, name, max(limit - ROOM, 0.0) if name.startswith("min") else limit + ROOM)


def _relax_group(constraints: pb.OptimizationConstraints, named: re.Match[str], limit: float) -> None:
    field, key, end = named["limit"], named["key"], named["end"]
    if field == "factor_limits":
        _relax_exposure(next(part for part in constraints.factor_limits if part.factor == key), end, limit)
        return
    low, high = max(limit - ROOM, 0.0), min(limit + ROOM, 1.0)
    if field in ("min_weights", "max_weights"):
        getattr(constraints, field)[key] = low if field == "min_weights" else high
        return
    # A minimum equal to the maximum is one limit, and moves as one.
    group = constraints.sector_limits[key]
    if end != "minimum":
        group.maximum = high
    if end == "minimum" or (end is None and field == "sector_limits"):
        group.minimum = low
