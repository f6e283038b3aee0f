"""The factor analysis, readable: exposures against the benchmark's, and where risk and return come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from portfolio_optimization.v1 import factor_attribution_pb2, factor_models_pb2, factors_pb2

from server.demo.text import paragraph, percent, points, table, words

_LARGEST_RISKS = 5


def factor_lines(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    """All of a factor analysis."""
    sections = (
        _exposures(answer),
        _risk(answer),
        _instruments(answer),
        _compounded_return(answer),
        _sectors(answer),
        _mean_return(answer),
    )
    return [*_origin(answer), *(line for section in sections if section for line in ["", *section])]


def _origin(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    name = factor_models_pb2.StandardErrorMethod.Name(answer.standard_errors)
    method = words(name, "STANDARD_ERROR_METHOD_").title()
    measured = f"; standard errors: {method}" if answer.standard_errors else ""
    return [
        f"{answer.observations:,} daily returns, {answer.first_date} to {answer.last_date}; "
        f"benchmark: {answer.benchmark_id or 'none'}{measured}",
        f"The factors explain {percent(answer.r_squared, 1)} of the variance; the rest has a volatility of "
        f"{percent(answer.specific_volatility)} a year.",
        f"Condition number of the factors: {answer.condition_number:.1f}",
    ]


def _exposures(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    columns = ("<Factor", ">Exposure", ">Std. error", ">t-value", ">Benchmark", ">Active", ">Active t-value")
    return table(columns, [_exposure_row(exposure) for exposure in answer.exposures])


def _exposure_row(exposure: factors_pb2.FactorExposure) -> tuple[str, ...]:
    active_error = exposure.active_standard_error
    return (
        exposure.factor,
        f"{exposure.exposure:+z.3f}",
        f"{exposure.standard_error:.3f}" if exposure.standard_error else "",
        f"{exposure.t_statistic:+z.1f}" if exposure.HasField("t_statistic") else "",
        f"{exposure.benchmark_exposure:+z.3f}",
        f"{exposure.active_exposure:+z.3f}",
        f"{exposure.active_exposure / active_error:+z.1f}" if active_error else "",
    )


def _risk(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    """Parts of the volatility, beside those of the tracking error where there is one."""
    if not answer.HasField("risk"):
        return []
    active = [answer.active_risk] if answer.HasField("active_risk") else []
    titles = ("<Part of the risk", ">Exposure", ">Vol.", ">Corr.", ">Points", ">Share")
    columns = (*titles, *(title for _ in active for title in (">Active", ">Points", ">Share")))
    rows = [
        (part.factor, *_risk_cells(part), *(cell for risk in active for cell in _active_cells(risk.factors[place])))
        for place, part in enumerate(answer.risk.factors)
    ]
    sums = [cell for risk in active for cell in ("", *_share(risk.specific_contribution, risk.volatility))]
    rows.append(("specific", "", "", "", *_share(answer.risk.specific_contribution, answer.risk.volatility), *sums))
    totals = [cell for risk in active for cell in ("", points(risk.volatility), _percent_sum(risk))]
    rows.append(("sum", "", "", "", points(answer.risk.volatility), _percent_sum(answer.risk), *totals))
    sentence = f"Volatility by the model: {percent(answer.risk.volatility)} a year"
    tracking = f"; tracking error: {percent(answer.active_risk.volatility)}" if active else ""
    return [*table(columns, rows), f"{sentence}{tracking}."]


def _risk_cells(part: factor_attribution_pb2.FactorRiskPart) -> tuple[str, ...]:
    own = (f"{part.exposure:+z.3f}", percent(part.factor_volatility, 1), f"{part.correlation:+z.2f}")
    # Of many factors together there is no exposure.
    known = own if part.factor_volatility else ("", "", "")
    return (*known, points(part.contribution), f"{part.percent:z.1f}%")


def _active_cells(part: factor_attribution_pb2.FactorRiskPart) -> tuple[str, ...]:
    exposure = f"{part.exposure:+z.3f}" if part.factor_volatility else ""
    return exposure, points(part.contribution), f"{part.percent:z.1f}%"


def _share(part: float, whole: float) -> tuple[str, str]:
    return points(part), f"{part / whole if whole else 0.0:z.1%}"


def _percent_sum(risk: factor_attribution_pb2.FactorRiskAttribution) -> str:
    """The shares as they were given, added up."""
    specific = risk.specific_contribution / risk.volatility if risk.volatility else 0.0
    return f"{sum(part.percent for part in risk.factors) + 100.0 * specific:z.1f}%"


def _instruments(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    """The instruments with most of the risk."""
    largest = sorted(answer.risk.instruments, key=lambda part: -abs(part.contribution))[:_LARGEST_RISKS]
    if not largest:
        return []
    columns = ("<Most of the risk", ">Weight", ">By factors", ">Specific", ">Points", ">Share")
    rows = [
        (
            part.instrument_id,
            percent(part.weight),
            points(part.factor_contribution),
            points(part.specific_contribution),
            points(part.contribution),
            f"{part.percent:z.1f}%",
        )
        for part in largest
    ]
    return table(columns, rows)


def _compounded_return(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    if not answer.HasField("return_attribution"):
        return []
    found = answer.return_attribution
    compared = found.HasField("benchmark_return")
    columns = ("<Part of the compounded return", ">Avg. exposure", ">Points", *((">Benchmark", ">Active") * compared))
    # An average exposure is one of factors only.
    exposed = {exposure.factor for exposure in answer.exposures}
    rows = [
        (
            part.source,
            f"{part.average_exposure:+z.3f}" if part.source in exposed else "",
            points(part.portfolio),
            *((points(part.benchmark), points(part.active)) if compared else ()),
        )
        for part in found.parts
    ]
    totals = (found.benchmark_return, found.active_return) if compared else ()
    rows.append(("sum", "", points(found.portfolio_return), *map(points, totals)))
    linked = f"{found.first_date} to {found.last_date}, {found.observations:,} days linked by {found.linking.title()}"
    return [*table(columns, rows), f"{linked}; what the parts leave of the totals: {found.residual:.0e}."]


def _sectors(answer: factors_pb2.FactorExposureResponse) -> list[str]:
    if not answer.HasField("sector_attribution"):
        return []
    found = answer.sector_attribution
    columns = ("<Sector", ">Weight", ">Bench.", ">Return", ">Bench.", ">Alloc.", ">Select.", ">Interact.", ">Sum")
    rows = [
        (
            sector.sector or "no sector",
            percent(sector.portfolio_weight, 1),
            percent(sector.benchmark_weight, 1),
            percent(sector.portfolio_return, 1) if sector.HasField("portfolio_return") else "",
            percent(sector.benchmark_return, 1) if sector.HasField("benchmark_return") else "",
            *_with_sum((sector.allocation, sector.selection, sector.interaction)),
        )
        for sector in found.sectors
    ]
    sums = (found.allocation, found.selection, found.interaction)
    rows.append(("sum", "", "", "", "", *map(points, sums), points(found.active_return)))
    sentence = (
        "The active return by sector in points over the period, by Brinson and Fachler; what the effects leave of it: "
        f"{abs(found.residual):.0e}."
    )
    return [*table(columns, rows), *paragraph(sentence)]


def _with_sum(effects: Sequence[float]) -> Iterable[str]:
    return map(points, (*effects, sum(effects)))


def _mean_return(answer: factors_pb2.FactorExposureResponse) -> list[str]:
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
