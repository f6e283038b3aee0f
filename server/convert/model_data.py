"""The caller's own model inputs, from the wire."""

from __future__ import annotations

import math
from array import array

import numpy as np
from portfolio_optimization.v1 import model_data_pb2 as pb

from kernel.estimation.arrays import LARGEST_RETURN
from kernel.estimation.psd import LARGEST_ELEMENT, SYMMETRY_TOLERANCE
from server.compute.inputs import Floats
from server.convert.faults import Bounds, Faults
from server.convert.model_streams import (
    MOST_FAULTS,
    Header,
    ModelHeader,
    ModelStream,
    read_length,
    read_names,
    read_origin,
    refuse_outside,
)
from server.convert.text_values import refuse_repeats
from server.errors import Fault, InvalidRequest
from server.settings import Settings
from storage.records import CovarianceSet, ExposureSet, ForecastPeriod, ForecastSet, ScenarioSet

_LONGEST_SCENARIO_DAYS = 2520
_LONGEST_PERIOD_DAYS = 25_200
_MOST_PERIODS = 1000
MOST_FACTORS = 1000
_MOST_SCENARIOS = 1_000_000
_SUM_TOLERANCE = 1e-9
_RETURN = Bounds(-1.0, LARGEST_RETURN, open_low=True)
_PROBABILITY = Bounds(0.0, 1.0, open_low=True)
_COVARIANCE = Bounds(-LARGEST_ELEMENT, LARGEST_ELEMENT)
EXPOSURE = Bounds(-1e6, 1e6)
VOLATILITY = Bounds(0.0, math.sqrt(LARGEST_ELEMENT))


class ScenarioStream(ModelStream[pb.Scenario, ScenarioSet]):
    """A stream of scenarios."""

    field = "scenario"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._probabilities = array("d")
        self._names: list[str] = []

    def _read_header(self, message: Header) -> ModelHeader:
        assert isinstance(message, pb.ScenariosHeader)
        faults = Faults()
        source, as_of = read_origin("header.", message, faults)
        names = read_names("header.instrument_ids", message.instrument_ids, self._most_names, faults.identifier, faults)
        days = read_length("header.days", message.days, _LONGEST_SCENARIO_DAYS, faults)
        faults.check()
        return ModelHeader(source, as_of, names, days)

    def _take_row(self, row: pb.Scenario, header: ModelHeader) -> None:
        if len(self._names) >= _MOST_SCENARIOS:
            raise InvalidRequest([Fault("scenario", f"must be at most {_MOST_SCENARIOS} in all")])
        if len(row.returns) != len(header.names):
            at = f"scenario[{len(self._names)}].returns"
            self._note(at, f"must have {len(header.names)} values, one for every instrument, not {len(row.returns)}")
        else:
            self._keep(row.returns)
        self._names.append(row.name)
        self._probabilities.append(row.probability)

    def end(self) -> ScenarioSet:
        """The scenarios."""
        header, faults = self.header, Faults()
        returns = self._table(len(header.names), needed=2)
        refuse_outside(returns, _RETURN, lambda s, i: f"scenario[{s}].returns[{header.names[i]}]", faults)
        for s, name in enumerate(self._names):
            if name:
                faults.name(f"scenario[{s}].name", name)
        probabilities = _read_probabilities(np.frombuffer(self._probabilities, dtype=np.float64), faults)
        faults.check()
        return ScenarioSet(
            as_of=header.as_of,
            instrument_ids=header.names,
            days=header.days,
            probabilities=probabilities,
            returns=returns,
            names=tuple(self._names),
        )


def _read_probabilities(p: Floats, faults: Faults) -> Floats:
    """Equal ones where all are zero."""
    if not p.any():
        return np.full(len(p), 1.0 / len(p))
    refuse_outside(p[:, np.newaxis], _PROBABILITY, lambda s, _: f"scenario[{s}].probability", faults)
    total = math.fsum(p)
    if not abs(total - 1.0) <= _SUM_TOLERANCE:
        faults.add("scenario", f"must have probabilities that add to 1, not {total:.12g}")
    return p


class CovarianceStream(ModelStream[pb.CovarianceRows, CovarianceSet]):
    """A stream of the rows of a covariance."""

    field = "rows"

    def _read_header(self, message: Header) -> ModelHeader:
        assert isinstance(message, pb.CovarianceHeader)
        faults = Faults()
        source, as_of = read_origin("header.", message, faults)
        names = read_names("header.instrument_ids", message.instrument_ids, self._most_names, faults.identifier, faults)
        faults.check()
        return ModelHeader(source, as_of, names)

    def _take_row(self, row: pb.CovarianceRows, header: ModelHeader) -> None:
        n, count = len(header.names), len(row.values)
        done = len(self._numbers) // n
        if count == 0 or count % n:
            reason = f"must be whole rows of {n} values behind the {done} rows before, not {count} values"
            self._note("rows.values", reason)
        elif done + count // n > n:
            raise InvalidRequest([Fault("rows.values", f"must be {n} rows in all, not {done + count // n} or more")])
        else:
            self._keep(row.values)

    def end(self) -> CovarianceSet:
        """The covariance, without what rounding left of asymmetry."""
        header, faults = self.header, Faults()
        names = header.names
        Sigma = self._table(len(names), needed=len(names))
        refuse_outside(Sigma, _COVARIANCE, lambda i, j: _element(names, i, j), faults)
        faults.check()
        for i in np.flatnonzero(Sigma.diagonal() < 0)[:MOST_FAULTS].tolist():
            faults.add(_element(names, i, i), f"must be at least 0, as a variance is, not {Sigma[i, i]:g}")
        _refuse_asymmetry(Sigma, names, faults)
        faults.check()
        return CovarianceSet(as_of=header.as_of, instrument_ids=names, Sigma=0.5 * (Sigma + Sigma.T))


def _element(names: tuple[str, ...], i: int, j: int) -> str:
    return f"rows.values[{names[i]}, {names[j]}]"


def _refuse_asymmetry(Sigma: Floats, names: tuple[str, ...], faults: Faults) -> None:
    """Note the first pairs that differ by more than rounding."""
    tolerance = SYMMETRY_TOLERANCE * max(Sigma.max(), -Sigma.min())
    apart = np.flatnonzero(np.triu(np.abs(Sigma - Sigma.T) > tolerance))
    for i, j in (divmod(int(k), len(names)) for k in apart[:MOST_FAULTS]):
        reason = f"is {Sigma[i, j]:.12g}, but [{names[j]}, {names[i]}] is {Sigma[j, i]:.12g}: it must be symmetric"
        faults.add(_element(names, i, j), reason)
    if apart.size > MOST_FAULTS:
        faults.add("rows.values", f"has {apart.size - MOST_FAULTS} more pairs that are not symmetric")


class ExposureStream(ModelStream[pb.FactorExposureRow, ExposureSet]):
    """A stream of the exposures of instruments."""

    field = "row"
    instruments = "row"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._instruments: list[str] = []
        self._specific = array("d")

    def _read_header(self, message: Header) -> ModelHeader:
        assert isinstance(message, pb.FactorExposuresHeader)
        faults = Faults()
        source, as_of = read_origin("header.", message, faults)
        factors = read_names("header.factors", message.factors, MOST_FACTORS, faults.name, faults)
        faults.check()
        return ModelHeader(source, as_of, factors)

    def _take_row(self, row: pb.FactorExposureRow, header: ModelHeader) -> None:
        factors, count = len(header.names), len(row.exposures)
        if len(self._instruments) >= self._most_names:
            raise InvalidRequest([Fault("row", f"must be at most {self._most_names} in all")])
        if count != factors:
            at = f"row[{row.instrument_id}].exposures"
            self._note(at, f"must have {factors} values, one for every factor, not {count}")
        else:
            self._keep(row.exposures)
        known, volatility = row.HasField("specific_volatility"), row.specific_volatility
        if known and not VOLATILITY.hold(volatility):
            at = f"row[{row.instrument_id}].specific_volatility"
            self._note(at, f"must be {VOLATILITY}, not {volatility:g}")
        self._instruments.append(row.instrument_id)
        self._specific.append(volatility if known else math.nan)

    def end(self) -> ExposureSet:
        """The exposures."""
        header, faults = self.header, Faults()
        B, names = self._table(len(header.names)), tuple(self._instruments)
        for k, name in enumerate(names):
            faults.identifier(f"row[{name or k}].instrument_id", name)
        refuse_repeats("row", names, faults)
        refuse_outside(B, EXPOSURE, lambda i, j: f"row[{names[i]}].exposures[{header.names[j]}]", faults)
        faults.check()
        return ExposureSet(
            as_of=header.as_of,
            factors=header.names,
            instrument_ids=names,
            B=B,
            specific=np.frombuffer(self._specific, dtype=np.float64),
        )


def read_forecast(message: pb.LoadForecastRequest) -> tuple[ForecastSet, str]:
    """A forecast, and where it comes from.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    source, as_of = read_origin("", message, faults)
    if not 1 <= len(message.periods) <= _MOST_PERIODS:
        faults.add("periods", f"must be 1 to {_MOST_PERIODS}, not {len(message.periods)}")
        faults.check()
    periods = tuple(_read_period(f"periods[{k}]", period, faults) for k, period in enumerate(message.periods))
    faults.check()
    return ForecastSet(as_of=as_of, periods=periods), source


def _read_period(at: str, message: pb.ForecastPeriod, faults: Faults) -> ForecastPeriod:
    if not message.expected_returns:
        faults.add(f"{at}.expected_returns", "must name at least one instrument")
    for name in message.expected_returns:
        faults.identifier(f"{at}.expected_returns[{name}]", name)
    days = read_length(f"{at}.days", message.days, _LONGEST_PERIOD_DAYS, faults)
    values = {
        name: faults.number(f"{at}.expected_returns[{name}]", value, _RETURN)
        for name, value in message.expected_returns.items()
    }
    return ForecastPeriod(days, values)
