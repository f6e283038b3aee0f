"""Scenarios, covariances, exposures and forecasts as a caller would send them, on the instruments AAPL, KO and XOM."""

from collections.abc import Iterable, Sequence

from portfolio_optimization.v1 import model_data_pb2 as pb

IDS = ("KO", "AAPL")
COMMON = {"source": "by hand", "as_of": "2022-12-28"}


def scenario_header(ids: Iterable[str] = IDS, **changes: object) -> pb.LoadScenariosRequest:
    header = pb.ScenariosHeader(**{**COMMON, "instrument_ids": ids, "days": 21, **changes})
    return pb.LoadScenariosRequest(header=header)


def scenario(*returns: float, probability: float = 0.0, name: str = "") -> pb.LoadScenariosRequest:
    return pb.LoadScenariosRequest(scenario=pb.Scenario(returns=returns, probability=probability, name=name))


def scenarios() -> list[pb.LoadScenariosRequest]:
    crash = scenario(-0.4, -0.25, probability=0.125, name="crash")
    return [scenario_header(), crash, scenario(0.01, 0.1 + 0.2, probability=0.875)]


def covariance_header(ids: Iterable[str] = IDS, **changes: object) -> pb.LoadCovarianceRequest:
    return pb.LoadCovarianceRequest(header=pb.CovarianceHeader(**{**COMMON, "instrument_ids": ids, **changes}))


def covariance_rows(*values: float) -> pb.LoadCovarianceRequest:
    return pb.LoadCovarianceRequest(rows=pb.CovarianceRows(values=values))


def covariance() -> list[pb.LoadCovarianceRequest]:
    return [covariance_header(), covariance_rows(0.04, 0.01), covariance_rows(0.01, 0.09)]


def exposure_header(factors: Sequence[str] = ("value", "momentum"), **changes: object) -> pb.LoadFactorExposuresRequest:
    header = pb.FactorExposuresHeader(**{**COMMON, "factors": factors, **changes})
    return pb.LoadFactorExposuresRequest(header=header)


def exposure_row(name: str, *exposures: float, specific: float | None = None) -> pb.LoadFactorExposuresRequest:
    row = pb.FactorExposureRow(instrument_id=name, exposures=exposures, specific_volatility=specific)
    return pb.LoadFactorExposuresRequest(row=row)


def exposures() -> list[pb.LoadFactorExposuresRequest]:
    return [exposure_header(), exposure_row("KO", 0.5, -1.25, specific=0.125), exposure_row("AAPL", -2.0, 0.0)]


def period(days: int = 252, **expected_returns: float) -> pb.ForecastPeriod:
    return pb.ForecastPeriod(days=days, expected_returns=expected_returns)


def forecast(*periods: pb.ForecastPeriod, **changes: object) -> pb.LoadForecastRequest:
    given = periods or (period(21, KO=0.05, AAPL=0.1 + 0.2), period(231, KO=-0.01))
    return pb.LoadForecastRequest(**{**COMMON, "periods": given, **changes})
