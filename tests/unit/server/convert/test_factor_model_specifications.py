"""Specifications of factor models: what they mean, every fault with its path, and the way back to the wire."""

from __future__ import annotations

import math

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from portfolio_optimization.v1 import factor_models_pb2 as pb

from server.convert.factor_models import read_specification, write_specification
from server.convert.faults import Faults
from server.errors import InvalidRequest
from server.factor_specs import CrossSectionalSpec, FactorModelSpec, KindSpec, StatisticalSpec, TimeSeriesSpec

Json = dict[str, object]
NAN, INFINITY = math.nan, math.inf


def specification(**fields: object) -> pb.FactorModelSpecification:
    return pb.FactorModelSpecification(**fields)


def meaning(message: pb.FactorModelSpecification) -> FactorModelSpec:
    faults = Faults()
    spec = read_specification(message, faults, "model")
    faults.check()
    return spec


def kind(**fields: object) -> KindSpec:
    return meaning(specification(**fields)).kind


def faults(message: pb.FactorModelSpecification) -> dict[str, str]:
    found = Faults()
    read_specification(message, found, "model")
    with pytest.raises(InvalidRequest) as refused:
        found.check()
    return {fault.field: fault.description for fault in refused.value.faults}


def test_what_is_left_out_is_the_usual() -> None:
    spec = meaning(specification(time_series=pb.TimeSeriesModel()))
    assert spec == FactorModelSpec()
    assert kind(cross_sectional=pb.CrossSectionalModel()) == CrossSectionalSpec()
    assert kind(statistical=pb.StatisticalModel()) == StatisticalSpec()


def test_everything_of_a_specification_is_read() -> None:
    message = specification(
        statistical=pb.StatisticalModel(
            count_rule=pb.FACTOR_COUNT_RULE_EXPLAINED_SHARE, factor_count=7, explained_share=0.75, standardize=True
        ),
        instrument_ids=["KO", "AAPL"],
        pricing_pack_id="pp-1",
        last_date="2022-12-28",
        lookback_days=250,
        factor_half_life_days=90.0,
        specific_half_life_days=0.1,
        specific_shrinkage=0.0,
    )
    assert meaning(message) == FactorModelSpec(
        kind=StatisticalSpec("explained_share", 7, 0.75, standardize=True),
        instrument_ids=("KO", "AAPL"),
        pricing_pack_id="pp-1",
        last_date="2022-12-28",
        lookback_days=250,
        factor_half_life=90.0,
        specific_half_life=0.1,
        specific_shrinkage=0.0,
    )


@pytest.mark.parametrize(
    ("fields", "spec"),
    [
        ({}, CrossSectionalSpec(styles=None, industries=True)),
        ({"industries": True}, CrossSectionalSpec(styles=(), industries=True)),
        ({"industries": False}, CrossSectionalSpec(styles=None, industries=False)),
        ({"styles": [pb.STYLE_SIZE]}, CrossSectionalSpec(styles=("size",), industries=False)),
        ({"styles": [pb.STYLE_SIZE], "industries": True}, CrossSectionalSpec(styles=("size",), industries=True)),
        ({"factor_exposures_id": "fe-1"}, CrossSectionalSpec("fe-1", styles=(), industries=False)),
        ({"factor_exposures_id": "fe-1", "industries": True}, CrossSectionalSpec("fe-1", styles=(), industries=True)),
    ],
)
def test_which_factors_a_cross_section_has(fields: Json, spec: CrossSectionalSpec) -> None:
    assert kind(cross_sectional=pb.CrossSectionalModel(**fields)) == spec


def time_series(**fields: object) -> pb.FactorModelSpecification:
    return specification(time_series=pb.TimeSeriesModel(**fields))


def cross_sectional(**fields: object) -> pb.FactorModelSpecification:
    return specification(cross_sectional=pb.CrossSectionalModel(**fields))


def statistical(**fields: object) -> pb.FactorModelSpecification:
    return specification(statistical=pb.StatisticalModel(**fields))


RIDGE, KALMAN = pb.REGRESSION_ESTIMATOR_RIDGE, pb.REGRESSION_ESTIMATOR_KALMAN
FIXED = pb.FACTOR_COUNT_RULE_FIXED
WRONG = [
    (specification(), "model.kind", "one of time_series, cross_sectional, statistical"),
    (time_series(half_life_days=10.0), "model.time_series.half_life_days", "belongs to the estimator EXPONENTIALLY_W"),
    (time_series(ridge_penalty=1.0), "model.time_series.ridge_penalty", "belongs to the estimator RIDGE"),
    (time_series(huber_threshold=1.0), "model.time_series.huber_threshold", "belongs to the estimator HUBER"),
    (time_series(drift=0.1, estimator=RIDGE), "model.time_series.drift", "belongs to the estimator KALMAN"),
    (time_series(estimator=77), "model.time_series.estimator", "has no value 77"),
    (time_series(standard_errors=9), "model.time_series.standard_errors", "has no value 9"),
    (time_series(standard_errors=1, lags=2), "model.time_series.lags", "belongs to the standard errors NEWEY_WEST"),
    (time_series(standard_errors=1, estimator=KALMAN), "model.time_series.standard_errors", "must be left out"),
    (time_series(lags=1, estimator=KALMAN), "model.time_series.lags", "must be left out"),
    (time_series(estimator=RIDGE, ridge_penalty=NAN), "model.time_series.ridge_penalty", "at most 1e+06, not nan"),
    (time_series(estimator=RIDGE, ridge_penalty=-1e-9), "model.time_series.ridge_penalty", "at least 0"),
    (time_series(estimator=2, half_life_days=0.0999), "model.time_series.half_life_days", "at least 0.1"),
    (time_series(estimator=2, half_life_days=INFINITY), "model.time_series.half_life_days", "not inf"),
    (time_series(estimator=4, huber_threshold=0.0), "model.time_series.huber_threshold", "at least 0.1"),
    (time_series(estimator=KALMAN, drift=1.1), "model.time_series.drift", "at most 1"),
    (time_series(factors=["size", "value", "size"]), "model.time_series.factors", "repeats size"),
    (time_series(factors=["size", ""]), "model.time_series.factors[1]", "empty name"),
    (time_series(factors=["a\0"]), "model.time_series.factors[0]", "control characters"),
    (time_series(factors=["rf"], risk_free_factor="rf"), "model.time_series.risk_free_factor", "is rf, which must not"),
    (time_series(factor_set_id="x" * 37), "model.time_series.factor_set_id", "at most 36 characters"),
    (cross_sectional(styles=[0]), "model.cross_sectional.styles[0]", "must be one of STYLE_MARKET_BETA"),
    (cross_sectional(styles=[4, 4]), "model.cross_sectional.styles", "repeats SIZE"),
    (cross_sectional(factors=["a"]), "model.cross_sectional.factors", "factor_exposures_id, which is empty"),
    (cross_sectional(winsorization=0.5), "model.cross_sectional.winsorization", "at least 1"),
    (cross_sectional(winsorization=NAN), "model.cross_sectional.winsorization", "not nan"),
    (cross_sectional(weighting=4), "model.cross_sectional.weighting", "has no value 4"),
    (statistical(count_rule=FIXED), "model.statistical.factor_count", "is missing"),
    (statistical(count_rule=FIXED, factor_count=101), "model.statistical.factor_count", "at most 100, not 101"),
    (statistical(factor_count=2**32 - 1), "model.statistical.factor_count", "at most 100"),
    (statistical(explained_share=0.5), "model.statistical.explained_share", "belongs to the rule EXPLAINED_SHARE"),
    (statistical(count_rule=5, explained_share=1.0), "model.statistical.explained_share", "below 1"),
    (statistical(count_rule=5, explained_share=0.0), "model.statistical.explained_share", "above 0"),
    (statistical(count_rule=9), "model.statistical.count_rule", "has no value 9"),
]


@pytest.mark.parametrize(
    ("message", "field", "reason"), WRONG, ids=[f"{field} {k}" for k, (_, field, _) in enumerate(WRONG)]
)
def test_what_is_wrong_is_named(message: pb.FactorModelSpecification, field: str, reason: str) -> None:
    found = faults(message)
    assert set(found) == {field}
    assert reason in found[field]


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"instrument_ids": ["KO", "KO"]}, "instrument_ids", "repeats KO"),
        ({"instrument_ids": ["KO", ""]}, "instrument_ids[1]", "is required"),
        ({"first_date": "2022-02-30"}, "first_date", "must be a day"),
        ({"last_date": "28.12.2022"}, "last_date", "must be a day"),
        ({"first_date": "2022-12-02", "last_date": "2022-12-01"}, "first_date", "after last_date"),
        ({"first_date": "2022-12-02", "lookback_days": 5}, "lookback_days", "must be 0 when first_date is given"),
        ({"factor_half_life_days": 0.0}, "factor_half_life_days", "at least 0.1"),
        ({"specific_half_life_days": 1e5 + 1}, "specific_half_life_days", "at most 100000"),
        ({"specific_shrinkage": -0.1}, "specific_shrinkage", "at least 0"),
        ({"specific_shrinkage": NAN}, "specific_shrinkage", "not nan"),
        ({"pricing_pack_id": "p" * 37}, "pricing_pack_id", "at most 36"),
    ],
)
def test_what_is_wrong_beside_the_kind_is_named(fields: Json, field: str, reason: str) -> None:
    found = faults(specification(statistical=pb.StatisticalModel(), **fields))
    assert set(found) == {f"model.{field}"}
    assert reason in found[f"model.{field}"]


def test_all_faults_come_at_once() -> None:
    message = time_series(factors=["a", "a"], ridge_penalty=NAN, estimator=RIDGE, lags=3, standard_errors=1)
    message.instrument_ids.extend(["KO", "KO"])
    message.first_date, message.specific_shrinkage = "yesterday", 2.0
    assert set(faults(message)) == {
        "model.instrument_ids",
        "model.first_date",
        "model.specific_shrinkage",
        "model.time_series.factors",
        "model.time_series.ridge_penalty",
        "model.time_series.lags",
    }


# --- to the wire and back

NAMES = st.lists(st.text("abc", min_size=1, max_size=3), max_size=3, unique=True).map(tuple)
STYLES = st.lists(st.sampled_from(["market_beta", "momentum", "volatility", "size", "quality"]), unique=True).map(tuple)


@st.composite
def time_series_specs(draw: st.DrawFn) -> TimeSeriesSpec:
    estimator = draw(st.sampled_from(["ordinary", "exponentially_weighted", "ridge", "huber", "kalman"]))
    own = {
        "exponentially_weighted": {"half_life": st.floats(0.1, 1e5)},
        "ridge": {"ridge_penalty": st.floats(0.0, 1e6)},
        "huber": {"huber_threshold": st.floats(0.1, 10.0)},
        "kalman": {"drift": st.none() | st.floats(0.0, 1.0)},
    }
    fields = {name: draw(value) for name, value in own.get(estimator, {}).items()}
    if estimator != "kalman":
        fields["standard_errors"] = draw(st.sampled_from(["newey_west", "classical"]))
        fields["lags"] = draw(st.none() | st.integers(0, 50)) if fields["standard_errors"] == "newey_west" else None
    return TimeSeriesSpec(
        factor_set_id=draw(st.sampled_from(["", "fs-1"])),
        factors=draw(NAMES),
        risk_free_factor=draw(st.sampled_from(["", "rf"])),
        estimator=estimator,
        **fields,
    )


@st.composite
def cross_sectional_specs(draw: st.DrawFn) -> CrossSectionalSpec:
    """As they are once everything is filled in: some factors are there."""
    exposures_id = draw(st.sampled_from(["", "fe-1"]))
    styles = draw(STYLES)
    return CrossSectionalSpec(
        factor_exposures_id=exposures_id,
        factors=draw(NAMES) if exposures_id else (),
        styles=styles,
        industries=draw(st.booleans()) if styles or exposures_id else True,
        weighting=draw(st.sampled_from(["square_root_market_cap", "equal", "inverse_specific_variance"])),
        winsorization=draw(st.floats(1.0, 100.0)),
    )


@st.composite
def statistical_specs(draw: st.DrawFn) -> StatisticalSpec:
    rule = draw(st.sampled_from(["bai_ng", "fixed", "eigenvalue_ratio", "marchenko_pastur", "explained_share"]))
    share = draw(st.floats(1e-9, 0.999)) if rule == "explained_share" else 0.5
    return StatisticalSpec(rule, draw(st.integers(1, 100)), share, standardize=draw(st.booleans()))


@st.composite
def specs(draw: st.DrawFn) -> FactorModelSpec:
    first, look_back = draw(st.sampled_from([("", 0), ("", 250), ("2020-01-02", 0)]))
    return FactorModelSpec(
        kind=draw(time_series_specs() | cross_sectional_specs() | statistical_specs()),
        instrument_ids=draw(NAMES),
        pricing_pack_id=draw(st.sampled_from(["", "pp-1"])),
        first_date=first,
        last_date=draw(st.sampled_from(["", "2022-12-28"])),
        lookback_days=look_back,
        factor_half_life=draw(st.none() | st.floats(0.1, 1e5)),
        specific_half_life=draw(st.none() | st.floats(0.1, 1e5)),
        specific_shrinkage=draw(st.none() | st.floats(0.0, 1.0)),
    )


@given(specs())
def test_a_specification_written_and_read_is_the_same(spec: FactorModelSpec) -> None:
    message = write_specification(spec)
    assert meaning(message) == spec
    stored = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert meaning(json_format.ParseDict(stored, pb.FactorModelSpecification())) == spec


@pytest.mark.parametrize("spec", [CrossSectionalSpec(), CrossSectionalSpec(styles=None, industries=False)])
def test_styles_left_open_stay_open(spec: CrossSectionalSpec) -> None:
    assert meaning(write_specification(FactorModelSpec(kind=spec))).kind == spec
