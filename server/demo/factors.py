"""The factor analysis, readable: exposures against the benchmark's, and where the return came from."""

from __future__ import annotations

from portfolio_optimization.v1 import factors_pb2

from server.demo.text import percent, points, table


def factor_lines(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    """All of a factor analysis."""
    return [
        f"{answer.observations:,} daily returns, {answer.first_date} to {answer.last_date}; "
        f"benchmark: {answer.benchmark_id or 'none'}",
        *_exposures(answer),
        f"The factors explain {percent(answer.r_squared, 1)} of the variance; the rest has a volatility of "
        f"{percent(answer.specific_volatility)} a year.",
        f"Condition number of the factors: {answer.condition_number:.1f}",
        "",
        *_attribution(answer),
    ]


def _exposures(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    columns = ("<Factor", ">Exposure", ">Std. error", ">t-value", ">Benchmark", ">Active", ">Active t-value")
    return table(columns, [_exposure_row(exposure) for exposure in answer.exposures])


def _exposure_row(exposure: factors_pb2.FactorExposure) -> tuple[str, ...]:
    active_error = exposure.active_standard_error
    return (
        exposure.factor,
        f"{exposure.exposure:+.3f}",
        f"{exposure.standard_error:.3f}",
        f"{exposure.t_statistic:+.1f}" if exposure.HasField("t_statistic") else "",
        f"{exposure.benchmark_exposure:+.3f}",
        f"{exposure.active_exposure:+.3f}",
        f"{exposure.active_exposure / active_error:+.1f}" if active_error else "",
    )


def _attribution(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    parts = [
        (part.factor, points(part.contribution), f"{part.percent_contribution:.1f}%") for part in answer.attribution
    ]
    total = sum(part.contribution for part in answer.attribution)
    shares = sum(part.percent_contribution for part in answer.attribution)
    columns = ("<Part of the return", ">Points a year", ">Share")
    return [
        *table(columns, [*parts, ("sum", points(total), f"{shares:.1f}%")]),
        f"Mean return of the portfolio: {percent(answer.total_return)} a year; the parts add up to it "
        f"(difference {answer.residual:.0e}).",
    ]
