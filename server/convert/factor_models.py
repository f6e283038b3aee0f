"""Specifications of factor models, from the wire and to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from portfolio_optimization.v1 import factor_models_pb2 as pb

from kernel.estimation.arrays import SMALLEST_HALF_LIFE
from server.convert.faults import FRACTION, Bounds, Faults
from server.convert.text_values import read_day, refuse_repeats
from server.factor_specs import CrossSectionalSpec, FactorModelSpec, KindSpec, StatisticalSpec, TimeSeriesSpec
from storage.factor_model_records import FactorModelHead

ESTIMATORS = {
    pb.REGRESSION_ESTIMATOR_ORDINARY: "ordinary",
    pb.REGRESSION_ESTIMATOR_EXPONENTIALLY_WEIGHTED: "exponentially_weighted",
    pb.REGRESSION_ESTIMATOR_RIDGE: "ridge",
    pb.REGRESSION_ESTIMATOR_HUBER: "huber",
    pb.REGRESSION_ESTIMATOR_KALMAN: "kalman",
}
STANDARD_ERRORS = {
    pb.STANDARD_ERROR_METHOD_UNSPECIFIED: "",
    pb.STANDARD_ERROR_METHOD_NEWEY_WEST: "newey_west",
    pb.STANDARD_ERROR_METHOD_CLASSICAL: "classical",
}
STYLES = {
    pb.STYLE_MARKET_BETA: "market_beta",
    pb.STYLE_MOMENTUM: "momentum",
    pb.STYLE_VOLATILITY: "volatility",
    pb.STYLE_SIZE: "size",
    pb.STYLE_QUALITY: "quality",
}
_WEIGHTINGS = {
    pb.CROSS_SECTION_WEIGHTING_UNSPECIFIED: "usual",
    pb.CROSS_SECTION_WEIGHTING_SQUARE_ROOT_MARKET_CAP: "square_root_market_cap",
    pb.CROSS_SECTION_WEIGHTING_EQUAL: "equal",
    pb.CROSS_SECTION_WEIGHTING_INVERSE_SPECIFIC_VARIANCE: "inverse_specific_variance",
}
_COUNT_RULES = {
    pb.FACTOR_COUNT_RULE_BAI_NG: "bai_ng",
    pb.FACTOR_COUNT_RULE_FIXED: "fixed",
    pb.FACTOR_COUNT_RULE_EIGENVALUE_RATIO: "eigenvalue_ratio",
    pb.FACTOR_COUNT_RULE_MARCHENKO_PASTUR: "marchenko_pastur",
    pb.FACTOR_COUNT_RULE_EXPLAINED_SHARE: "explained_share",
}
_KINDS = ("time_series", "cross_sectional", "statistical")
_MOST_STATISTICAL = 100
_HALF_LIFE = Bounds(SMALLEST_HALF_LIFE, 1e5)
_PENALTY = Bounds(0.0, 1e6)
_THRESHOLD = Bounds(0.1, 10.0)
_WINSORIZATION = Bounds(1.0, 100.0)
_SHARE = Bounds(0.0, 1.0, open_low=True, open_high=True)
# Field of the contract -> the estimator it belongs to.
_ESTIMATOR_FIELDS = {
    "half_life_days": "exponentially_weighted",
    "ridge_penalty": "ridge",
    "huber_threshold": "huber",
    "drift": "kalman",
}

NumberT = TypeVar("NumberT", bound=int)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the fields of one message and notes faults under its path.

    Attributes:
        message: The message.
        at: Its path.
        faults: Takes the faults.
    """

    message: Message
    at: str
    faults: Faults

    def path(self, field: str) -> str:
        """The path of a field."""
        return f"{self.at}.{field}"

    def within(self, field: str) -> _Reader:
        """A reader of the message in a field."""
        return _Reader(getattr(self.message, field), self.path(field), self.faults)

    def refuse(self, field: str, reason: str) -> None:
        """Notes a fault of a field."""
        self.faults.add(self.path(field), reason)

    def given(self, field: str) -> bool:
        """Whether an optional field is there."""
        return self.message.HasField(field)

    def number(self, field: str, bounds: Bounds) -> float | None:
        """An optional number."""
        if not self.given(field):
            return None
        return self.faults.number(self.path(field), getattr(self.message, field), bounds)

    def identifier(self, field: str) -> str:
        """An id that may be empty."""
        return self.faults.identifier(self.path(field), getattr(self.message, field), required=False)

    def names(self, field: str) -> tuple[str, ...]:
        """Distinct names."""
        names = tuple(getattr(self.message, field))
        for k, name in enumerate(names):
            self.faults.name(f"{self.path(field)}[{k}]", name)
        refuse_repeats(self.path(field), names, self.faults)
        return names

    def word(self, field: str, words: Mapping[NumberT, str], usual: str) -> str:
        """The word of an enum; UNSPECIFIED is the usual one."""
        number: NumberT = getattr(self.message, field)
        if number and number not in words:
            self.refuse(field, f"has no value {number}")
        return words.get(number, usual)


def read_specification(message: pb.FactorModelSpecification, faults: Faults, at: str) -> FactorModelSpec:
    """What a specification means; what is wrong with it is added to `faults`, under the path `at`."""
    reader = _Reader(message, at, faults)
    first, last = _read_window(message, reader)
    return FactorModelSpec(
        kind=_read_kind(message, reader),
        instrument_ids=_read_instruments(message.instrument_ids, reader),
        pricing_pack_id=reader.identifier("pricing_pack_id"),
        first_date=first,
        last_date=last,
        lookback_days=message.lookback_days,
        factor_half_life=reader.number("factor_half_life_days", _HALF_LIFE),
        specific_half_life=reader.number("specific_half_life_days", _HALF_LIFE),
        specific_shrinkage=reader.number("specific_shrinkage", FRACTION),
    )


def _read_window(message: pb.FactorModelSpecification, reader: _Reader) -> tuple[str, str]:
    first = read_day(reader.path("first_date"), message.first_date, reader.faults)
    last = read_day(reader.path("last_date"), message.last_date, reader.faults)
    if first and last and first > last:
        reader.refuse("first_date", f"is {first}, after last_date {last}")
    if message.first_date and message.lookback_days:
        reader.refuse("lookback_days", "must be 0 when first_date is given")
    return str(first or ""), str(last or "")


def _read_instruments(ids: Sequence[str], reader: _Reader) -> tuple[str, ...]:
    for k, identifier in enumerate(ids):
        reader.faults.identifier(f"{reader.path('instrument_ids')}[{k}]", identifier)
    refuse_repeats(reader.path("instrument_ids"), ids, reader.faults)
    return tuple(ids)


def _read_kind(message: pb.FactorModelSpecification, reader: _Reader) -> KindSpec:
    match kind := message.WhichOneof("kind"):
        case "time_series":
            return _read_time_series(message.time_series, reader.within(kind))
        case "cross_sectional":
            return _read_cross_sectional(message.cross_sectional, reader.within(kind))
        case "statistical":
            return _read_statistical(message.statistical, reader.within(kind))
    reader.refuse("kind", f"is required: one of {', '.join(_KINDS)}")
    return TimeSeriesSpec()


# --- time series


def _read_time_series(message: pb.TimeSeriesModel, reader: _Reader) -> TimeSeriesSpec:
    usual, factors = TimeSeriesSpec(), reader.names("factors")
    estimator = reader.word("estimator", ESTIMATORS, usual.estimator)
    for field, owner in _ESTIMATOR_FIELDS.items():
        if reader.given(field) and estimator != owner:
            reader.refuse(field, f"belongs to the estimator {owner.upper()}")
    half_life = reader.number("half_life_days", _HALF_LIFE)
    penalty, threshold = reader.number("ridge_penalty", _PENALTY), reader.number("huber_threshold", _THRESHOLD)
    return TimeSeriesSpec(
        factor_set_id=reader.identifier("factor_set_id"),
        factors=factors,
        risk_free_factor=_read_risk_free(message.risk_free_factor, factors, reader),
        estimator=estimator,
        half_life=usual.half_life if half_life is None else half_life,
        ridge_penalty=usual.ridge_penalty if penalty is None else penalty,
        huber_threshold=usual.huber_threshold if threshold is None else threshold,
        drift=reader.number("drift", FRACTION),
        standard_errors=_read_standard_errors(message, estimator, reader),
        lags=message.lags if reader.given("lags") else None,
    )


def _read_risk_free(name: str, factors: Sequence[str], reader: _Reader) -> str:
    if name:
        reader.faults.name(reader.path("risk_free_factor"), name)
    if name and name in factors:
        reader.refuse("risk_free_factor", f"is {name}, which must not be one of the factors too")
    return name


def _read_standard_errors(message: pb.TimeSeriesModel, estimator: str, reader: _Reader) -> str:
    method = reader.word("standard_errors", STANDARD_ERRORS, "") or TimeSeriesSpec().standard_errors
    if estimator == "kalman":
        if message.standard_errors:
            reader.refuse("standard_errors", "must be left out for the estimator KALMAN, whose filter has its own")
        if reader.given("lags"):
            reader.refuse("lags", "must be left out for the estimator KALMAN, whose filter has its own standard errors")
    elif reader.given("lags") and method != "newey_west":
        reader.refuse("lags", "belongs to the standard errors NEWEY_WEST")
    return method


# --- cross-sections


def _read_cross_sectional(message: pb.CrossSectionalModel, reader: _Reader) -> CrossSectionalSpec:
    exposures_id, factors = reader.identifier("factor_exposures_id"), reader.names("factors")
    if factors and not exposures_id:
        reader.refuse("factors", "are those of factor_exposures_id, which is empty")
    styles = _read_styles(message, reader)
    industries = message.industries if reader.given("industries") else None
    open_styles = not styles and not exposures_id and not industries
    winsorization = reader.number("winsorization", _WINSORIZATION)
    return CrossSectionalSpec(
        factor_exposures_id=exposures_id,
        factors=factors,
        styles=None if open_styles else styles,
        industries=not styles and not exposures_id if industries is None else industries,
        weighting=reader.word("weighting", _WEIGHTINGS, CrossSectionalSpec().weighting),
        winsorization=CrossSectionalSpec().winsorization if winsorization is None else winsorization,
    )


def _read_styles(message: pb.CrossSectionalModel, reader: _Reader) -> tuple[str, ...]:
    for k, style in enumerate(message.styles):
        if style not in STYLES:
            reader.refuse(f"styles[{k}]", f"must be one of {', '.join(map(pb.Style.Name, STYLES))}")
    styles = tuple(STYLES[style] for style in message.styles if style in STYLES)
    refuse_repeats(reader.path("styles"), (style.upper() for style in styles), reader.faults)
    return styles


# --- statistical


def _read_statistical(message: pb.StatisticalModel, reader: _Reader) -> StatisticalSpec:
    usual = StatisticalSpec()
    rule = reader.word("count_rule", _COUNT_RULES, usual.count_rule)
    count = message.factor_count
    if rule == "fixed" and not count:
        reader.refuse("factor_count", f"must be 1 to {_MOST_STATISTICAL} with the rule FIXED, and is missing")
    if count > _MOST_STATISTICAL:
        reader.refuse("factor_count", f"must be at most {_MOST_STATISTICAL}, not {count}")
    share = reader.number("explained_share", _SHARE)
    if share is not None and rule != "explained_share":
        reader.refuse("explained_share", "belongs to the rule EXPLAINED_SHARE")
    return StatisticalSpec(
        count_rule=rule,
        factor_count=count or usual.factor_count,
        explained_share=usual.explained_share if share is None else share,
        standardize=message.standardize,
    )


# --- to the wire


def write_specification(spec: FactorModelSpec) -> pb.FactorModelSpecification:
    """A specification; read again, it is the same."""
    message = pb.FactorModelSpecification(
        instrument_ids=spec.instrument_ids,
        pricing_pack_id=spec.pricing_pack_id,
        first_date=spec.first_date,
        last_date=spec.last_date,
        lookback_days=spec.lookback_days,
        factor_half_life_days=spec.factor_half_life,
        specific_half_life_days=spec.specific_half_life,
        specific_shrinkage=spec.specific_shrinkage,
    )
    match spec.kind:
        case TimeSeriesSpec():
            message.time_series.CopyFrom(_write_time_series(spec.kind))
        case CrossSectionalSpec():
            message.cross_sectional.CopyFrom(_write_cross_sectional(spec.kind))
        case StatisticalSpec():
            message.statistical.CopyFrom(_write_statistical(spec.kind))
    return message


def stored_specification(head: FactorModelHead) -> FactorModelSpec:
    """What a stored model was estimated by, with the ids that were used."""
    message = json_format.ParseDict(dict(head.specification), pb.FactorModelSpecification(), ignore_unknown_fields=True)
    return read_specification(message, Faults(), "specification")


def _reversed(words: Mapping[NumberT, str]) -> dict[str, NumberT]:
    return {word: number for number, word in words.items()}


def _write_time_series(spec: TimeSeriesSpec) -> pb.TimeSeriesModel:
    filtered, estimator = spec.estimator == "kalman", spec.estimator
    return pb.TimeSeriesModel(
        factor_set_id=spec.factor_set_id,
        factors=spec.factors,
        risk_free_factor=spec.risk_free_factor,
        estimator=_reversed(ESTIMATORS)[estimator],
        half_life_days=spec.half_life if estimator == "exponentially_weighted" else None,
        ridge_penalty=spec.ridge_penalty if estimator == "ridge" else None,
        huber_threshold=spec.huber_threshold if estimator == "huber" else None,
        drift=spec.drift if filtered else None,
        standard_errors=_reversed(STANDARD_ERRORS)["" if filtered else spec.standard_errors],
        lags=None if filtered or spec.standard_errors != "newey_west" else spec.lags,
    )


def _write_cross_sectional(spec: CrossSectionalSpec) -> pb.CrossSectionalModel:
    return pb.CrossSectionalModel(
        factor_exposures_id=spec.factor_exposures_id,
        factors=spec.factors,
        styles=[_reversed(STYLES)[style] for style in spec.styles or ()],
        industries=None if spec.styles is None and spec.industries else spec.industries,
        weighting=_reversed(_WEIGHTINGS)[spec.weighting],
        winsorization=spec.winsorization,
    )


def _write_statistical(spec: StatisticalSpec) -> pb.StatisticalModel:
    return pb.StatisticalModel(
        count_rule=_reversed(_COUNT_RULES)[spec.count_rule],
        factor_count=spec.factor_count,
        explained_share=spec.explained_share if spec.count_rule == "explained_share" else None,
        standardize=spec.standardize,
    )
