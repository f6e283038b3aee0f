"""Models of returns and risk, from the wire."""

from __future__ import annotations

import numpy as np
from portfolio_optimization.v1 import estimation_pb2 as pb

from kernel.estimation.arrays import LARGEST_RETURN, SMALLEST_HALF_LIFE
from server.convert.faults import FRACTION, POSITIVE, Bounds, Faults
from server.specs import CASH, ReturnsSpec, RiskSpec

_RETURNS = {
    pb.EXPECTED_RETURNS_METHOD_HISTORICAL_MEAN: "historical_mean",
    pb.EXPECTED_RETURNS_METHOD_PROVIDED: "provided",
    pb.EXPECTED_RETURNS_METHOD_EQUILIBRIUM: "equilibrium",
    pb.EXPECTED_RETURNS_METHOD_EXPONENTIALLY_WEIGHTED: "exponentially_weighted",
    pb.EXPECTED_RETURNS_METHOD_CAPM: "capm",
    pb.EXPECTED_RETURNS_METHOD_JAMES_STEIN: "james_stein",
    pb.EXPECTED_RETURNS_METHOD_FACTOR_MODEL: "factor_model",
}
_RISK = {
    pb.RISK_MODEL_METHOD_SAMPLE: "sample",
    pb.RISK_MODEL_METHOD_LEDOIT_WOLF: "ledoit_wolf",
    pb.RISK_MODEL_METHOD_PROVIDED: "provided",
    pb.RISK_MODEL_METHOD_EXPONENTIALLY_WEIGHTED: "exponentially_weighted",
    pb.RISK_MODEL_METHOD_OAS: "oas",
    pb.RISK_MODEL_METHOD_DENOISED: "denoised",
    pb.RISK_MODEL_METHOD_FACTOR_MODEL: "factor_model",
    pb.RISK_MODEL_METHOD_GERBER: "gerber",
}
RETURNS_METHODS = {name: number for number, name in _RETURNS.items()} | {
    "black_litterman": pb.EXPECTED_RETURNS_METHOD_BLACK_LITTERMAN,
    "scenarios": pb.EXPECTED_RETURNS_METHOD_SCENARIOS,
    "entropy_pooling": pb.EXPECTED_RETURNS_METHOD_ENTROPY_POOLING,
}
RISK_METHODS = {name: number for number, name in _RISK.items()} | {
    "scenarios": pb.RISK_MODEL_METHOD_SCENARIOS,
    "entropy_pooling": pb.RISK_MODEL_METHOD_ENTROPY_POOLING,
}
_RETURN = Bounds(-1.0, LARGEST_RETURN, open_low=True)
_HALF_LIFE = Bounds(SMALLEST_HALF_LIFE, 1e5)
_DEFAULT_HALF_LIFE = 63.0
_PREMIUM = Bounds(-1.0, 10.0)
_THRESHOLD = Bounds(0.0, 1.0, open_low=True)


def read_returns(message: pb.ExpectedReturnsModel, faults: Faults) -> ReturnsSpec:
    """The model of expected returns; an absent message is the historical mean."""
    if not message.ByteSize():
        return ReturnsSpec()
    method = _RETURNS.get(message.method)
    if method is None:
        faults.add(
            "expected_returns.method", f"must be one of {', '.join(map(pb.ExpectedReturnsMethod.Name, _RETURNS))}"
        )
    caps = faults.numbers("expected_returns.market_caps", message.market_caps, POSITIVE)
    aversion = message.risk_aversion if message.HasField("risk_aversion") else 2.5
    faults.number("expected_returns.risk_aversion", aversion, POSITIVE)
    return ReturnsSpec(
        method=method or "historical_mean",
        values=_read_forecast(message, method, faults),
        risk_aversion=aversion,
        market_caps=caps,
        half_life=_read_half_life("expected_returns", message, faults),
        factor_set_id=faults.identifier("expected_returns.factor_set_id", message.factor_set_id, required=False),
        factor_model_id=_read_factor_model("expected_returns", message, method, faults),
        market_benchmark_id=faults.identifier(
            "expected_returns.market_benchmark_id", message.market_benchmark_id, required=False
        ),
        market_premium=_read_premium(message, faults),
        factor_premia=faults.numbers("expected_returns.factor_premia", message.factor_premia, _PREMIUM),
        forecast_id=faults.identifier("expected_returns.forecast_id", message.forecast_id, required=False),
    )


def _read_forecast(message: pb.ExpectedReturnsModel, method: str | None, faults: Faults) -> dict[str, float]:
    values = faults.numbers("expected_returns.values", message.values, _RETURN)
    if method != "provided":
        for field in ("values", "forecast_id"):
            if getattr(message, field):
                faults.add(f"expected_returns.{field}", "belongs to the method PROVIDED")
    elif not values and not message.forecast_id:
        faults.add("expected_returns.values", "has no values, and there is no forecast_id")
    elif values and message.forecast_id:
        faults.add("expected_returns.forecast_id", "must be empty where values are given")
    return values


def _read_factor_model(
    field: str, message: pb.ExpectedReturnsModel | pb.RiskModel, method: str | None, faults: Faults
) -> str:
    """The stored factor model that stands in place of a set of factor returns; empty = none."""
    at, stored = f"{field}.factor_model_id", message.factor_model_id
    if stored and method != "factor_model":
        faults.add(at, "belongs to the method FACTOR_MODEL")
    elif stored and message.factor_set_id:
        faults.add(at, "must be empty where factor_set_id is given")
    return faults.identifier(at, stored, required=False)


def _read_premium(message: pb.ExpectedReturnsModel, faults: Faults) -> float | None:
    if not message.HasField("market_premium"):
        return None
    return faults.number("expected_returns.market_premium", message.market_premium, _PREMIUM)


def _read_half_life(field: str, message: pb.ExpectedReturnsModel | pb.RiskModel, faults: Faults) -> float:
    asked = message.half_life_days if message.HasField("half_life_days") else _DEFAULT_HALF_LIFE
    return faults.number(f"{field}.half_life_days", asked, _HALF_LIFE)


def read_risk(message: pb.RiskModel, faults: Faults) -> RiskSpec:
    """The model of risk; an absent message is Ledoit and Wolf's."""
    if not message.ByteSize():
        return RiskSpec()
    method = _RISK.get(message.method)
    if method is None:
        faults.add("risk_model.method", f"must be one of {', '.join(map(pb.RiskModelMethod.Name, _RISK))}")
    distance = message.max_repair_distance if message.HasField("max_repair_distance") else 1e-3
    faults.number("risk_model.max_repair_distance", distance, FRACTION)
    threshold = message.gerber_threshold if message.HasField("gerber_threshold") else 0.5
    names, values = tuple(message.covariance.instrument_ids), np.array(message.covariance.values)
    own = method == "provided" and not message.covariance_id
    if (names or len(values)) and not own:
        faults.add("risk_model.covariance", "belongs to the method PROVIDED, without a covariance_id")
    if message.covariance_id and method != "provided":
        faults.add("risk_model.covariance_id", "belongs to the method PROVIDED")
    return RiskSpec(
        method=method or "ledoit_wolf",
        names=names if own else (),
        Sigma=read_matrix("risk_model.covariance", names, values, faults) if own else None,
        max_repair_distance=distance,
        half_life=_read_half_life("risk_model", message, faults),
        factor_set_id=faults.identifier("risk_model.factor_set_id", message.factor_set_id, required=False),
        factor_model_id=_read_factor_model("risk_model", message, method, faults),
        gerber_threshold=faults.number("risk_model.gerber_threshold", threshold, _THRESHOLD),
        covariance_id=faults.identifier("risk_model.covariance_id", message.covariance_id, required=False),
    )


def read_matrix(field: str, names: tuple[str, ...], values: np.ndarray, faults: Faults) -> np.ndarray | None:
    """A covariance of named instruments, (n, n); None where it has another shape."""
    n = len(names)
    for name in names:
        faults.name(f"{field}.instrument_ids", name)
    faults.distinct(f"{field}.instrument_ids", names)
    if CASH in names:
        faults.add(f"{field}.instrument_ids", f"must leave out {CASH}, which has no risk")
    if n == 0 or len(values) != n * n:
        faults.add(f"{field}.values", f"must have {n * n} values for {n} instruments, not {len(values)}")
        return None
    matrix = values.reshape(n, n)
    for i, j in np.argwhere(~np.isfinite(matrix))[:1].tolist():
        faults.add(f"{field}.values[{names[i]}, {names[j]}]", f"must be finite, not {matrix[i, j]}")
    return matrix
