"""The caller's own scenarios, from the wire."""

from __future__ import annotations

import numpy as np
from portfolio_optimization.v1 import objectives_pb2 as pb
from portfolio_optimization.v1.frontier_pb2 import EfficientFrontierRequest
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from kernel.estimation.arrays import LARGEST_RETURN
from server.convert.faults import Bounds, Faults
from server.specs import CASH, ScenarioSpec

_LONGEST_DAYS = 2520
_RETURN = Bounds(-1.0, LARGEST_RETURN, open_low=True)
_SUM_TOLERANCE = 1e-9
_AT = "scenarios"


def read_scenarios(
    message: CreateOptimizationRequest | EfficientFrontierRequest, faults: Faults
) -> ScenarioSpec | None:
    """Scenarios that are given or named; None without."""
    stored = faults.identifier("scenarios_id", message.scenarios_id, required=False)
    if stored or message.HasField("scenarios"):
        present = {field.name for field, _ in message.ListFields()}
        for field in ("expected_returns", "risk_model"):
            if field in present:
                faults.add(field, "must be absent beside scenarios, which the moments are taken from")
    if not message.HasField("scenarios"):
        return ScenarioSpec(stored) if stored else None
    if stored:
        faults.add("scenarios_id", "must be empty where scenarios are given")
    return _read_set(message.scenarios, faults)


def _read_set(message: pb.ScenarioSet, faults: Faults) -> ScenarioSpec:
    names = tuple(message.instrument_ids)
    for k, name in enumerate(names):
        faults.identifier(f"{_AT}.instrument_ids[{k}]", name)
    faults.distinct(f"{_AT}.instrument_ids", names)
    if CASH in names:
        faults.add(f"{_AT}.instrument_ids", f"must leave out {CASH}, which earns the risk-free rate")
    if message.days > _LONGEST_DAYS:
        faults.add(f"{_AT}.days", f"must be at most {_LONGEST_DAYS}, not {message.days}")
    if len(message.scenarios) < 2:
        faults.add(f"{_AT}.scenarios", f"must be at least two, not {len(message.scenarios)}")
    fits = [len(row.returns) == len(names) for row in message.scenarios]
    if not names or not all(fits):
        k = 0 if not names else fits.index(False)
        faults.add(f"{_AT}.scenarios[{k}].returns", f"must have one value for each of {len(names)} instruments")
        return ScenarioSpec()
    R = np.array([row.returns for row in message.scenarios]).reshape(len(message.scenarios), len(names))
    _check_returns(R, names, faults)
    p = _probabilities(np.array([row.probability for row in message.scenarios]), faults)
    return ScenarioSpec("", names, R, p, message.days or 1, message.ordered)


def _check_returns(R: np.ndarray, names: tuple[str, ...], faults: Faults) -> None:
    lowest, highest = _RETURN.low, _RETURN.high
    wrong = ~((lowest < R) & (highest >= R))
    for t, i in np.argwhere(wrong)[:20].tolist():
        faults.add(f"{_AT}.scenarios[{t}].returns[{names[i]}]", f"must be {_RETURN}, not {R[t, i]:g}")


def _probabilities(p: np.ndarray, faults: Faults) -> np.ndarray:
    """Equal ones where all are zero."""
    if len(p) == 0 or not p.any():
        return np.full(len(p), 1.0 / max(len(p), 1))
    for t in np.flatnonzero(~((p > 0.0) & (p <= 1.0)))[:20].tolist():
        faults.add(f"{_AT}.scenarios[{t}].probability", f"must be above 0 and at most 1, not {p[t]:g}")
    total = float(p.sum())
    if not abs(total - 1.0) <= _SUM_TOLERANCE:
        faults.add(f"{_AT}.scenarios", f"must have probabilities that add to 1, not {total:.12g}")
    return p
