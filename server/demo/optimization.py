"""The optimization, readable: weights, measures, evidence, and what the limits cost."""

from __future__ import annotations

from portfolio_optimization.v1 import common_pb2, estimation_pb2, optimization_pb2

from server.demo.text import paragraph, percent, points, short_percent, table, words

# Less than this much Sharpe ratio per point is rounding, not a price.
_SMALLEST_WORTH = 5e-7
_ONE_POINT = 0.01
_COVARIANCES = {estimation_pb2.RISK_MODEL_METHOD_LEDOIT_WOLF: "Ledoit-Wolf"}


def optimization_lines(answer: optimization_pb2.GetOptimizationResponse) -> list[str]:
    """All of an optimization for the highest Sharpe ratio."""
    return [
        *_weights(answer),
        "",
        *_measures(answer),
        "",
        *_evidence(answer),
        "",
        *_prices_of_limits(answer),
        "",
        *_origin(answer.provenance),
        *(line for finding in answer.data_findings for line in paragraph(f"! {finding.message}", indent="  ")),
    ]


def _weights(answer: optimization_pb2.GetOptimizationResponse) -> list[str]:
    current, target = answer.current_allocation, answer.target_allocation
    risks = {part.instrument_id: part.percent for part in answer.risk_contributions}
    names = sorted({*current, *target}, key=lambda name: (-target.get(name, 0.0), -current.get(name, 0.0), name))
    rows = [
        (name, percent(before), percent(after), points(after - before), f"{risks.get(name, 0.0):z.1f}%")
        for name in names
        for before, after in [(current.get(name, 0.0), target.get(name, 0.0))]
    ]
    return table(("<Instrument", ">Current", ">Target", ">Change (points)", ">Share of risk"), rows)


def _measures(answer: optimization_pb2.GetOptimizationResponse) -> list[str]:
    metrics, level = answer.metrics, short_percent(answer.metrics.confidence_level)
    tail = short_percent(1.0 - metrics.confidence_level)
    rows = [
        ("Expected return", percent(metrics.expected_return), "a year, before costs"),
        ("Volatility", percent(metrics.expected_volatility), "a year"),
        ("Sharpe ratio", f"{metrics.sharpe_ratio:.3f}", _over_cash(answer.provenance)),
        ("Maximum drawdown", percent(metrics.max_drawdown), "had these weights been held all along"),
        (f"Value at risk {level}", percent(metrics.value_at_risk), f"loss of a day, exceeded on {tail} of days"),
        (f"Conditional VaR {level}", percent(metrics.conditional_value_at_risk), "mean loss of those days"),
        ("Turnover", percent(metrics.turnover), "half the sum of weight changes, cash included"),
        ("Effective number of names", f"{metrics.effective_number_of_assets:.1f}", "1 / sum of squared weights"),
    ]
    return table(("<", ">", "<"), [*rows, *_against_benchmark(metrics)])


def _over_cash(provenance: estimation_pb2.Provenance) -> str:
    return f"a year, over a risk-free rate of {percent(provenance.risk_free_rate)}"


def _against_benchmark(metrics: optimization_pb2.OptimizationMetrics) -> list[tuple[str, str, str]]:
    if not metrics.HasField("tracking_error"):
        return []
    return [
        ("Tracking error", percent(metrics.tracking_error), "a year, against the portfolio's benchmark"),
        ("Information ratio", f"{metrics.information_ratio:.2f}", "a year, against the portfolio's benchmark"),
    ]


def _evidence(answer: optimization_pb2.GetOptimizationResponse) -> list[str]:
    proof = answer.certificate
    status = words(common_pb2.OutcomeStatus.Name(answer.outcome.status), "OUTCOME_STATUS_")
    bound = f"; no portfolio within the limits exceeds {proof.best_bound:.9f}" if proof.HasField("best_bound") else ""
    gap = f" (relative gap {proof.duality_gap:.1e})" if proof.HasField("duality_gap") else ""
    return [
        *paragraph(f"Proof: {status}, Sharpe ratio {proof.objective_value:.9f}{bound}{gap}", indent="  "),
        f"  largest violation of a limit {proof.max_violation:.1e}; {proof.solver} {proof.solver_version}, "
        f"{proof.iterations} iterations, {1000 * proof.solve_seconds:.0f} ms",
    ]


def _prices_of_limits(answer: optimization_pb2.GetOptimizationResponse) -> list[str]:
    binding = [limit for limit in answer.constraints if _worth(limit) > _SMALLEST_WORTH]
    if not binding:
        return ["No limit holds the answer back."]
    dearest_first = sorted(binding, key=_worth, reverse=True)
    return ["Limits that hold the answer back:", *(f"  {_sentence(limit)}" for limit in dearest_first)]


def _worth(limit: common_pb2.ConstraintReport) -> float:
    """What one point of a limit is worth; 0 for an equation, which is no limit to loosen."""
    loosens = limit.binding and limit.sense != common_pb2.CONSTRAINT_SENSE_EQUAL
    return limit.shadow_price * _ONE_POINT if loosens else 0.0


def _sentence(limit: common_pb2.ConstraintReport) -> str:
    at_most = limit.sense == common_pb2.CONSTRAINT_SENSE_AT_MOST
    loosened = limit.limit + (_ONE_POINT if at_most else -_ONE_POINT)
    amount = "one more point" if at_most else "one point less"
    step = f"{short_percent(limit.limit)} to {short_percent(loosened)}"
    return f"{amount} of {limit.name} ({step}) is worth {_worth(limit):+.4f} of Sharpe"


def _origin(provenance: estimation_pb2.Provenance) -> list[str]:
    mean = words(
        estimation_pb2.ExpectedReturnsMethod.Name(provenance.expected_return_method), "EXPECTED_RETURNS_METHOD_"
    )
    risk = estimation_pb2.RiskModelMethod.Name(provenance.risk_model_method)
    covariance = _COVARIANCES.get(provenance.risk_model_method, words(risk, "RISK_MODEL_METHOD_"))
    return paragraph(
        f"From {provenance.observations:,} daily returns, {provenance.first_date} to {provenance.as_of}; expected "
        f"returns: {mean}, covariance: {covariance}. They describe the past of names that survived it and are no "
        "forecast."
    )
