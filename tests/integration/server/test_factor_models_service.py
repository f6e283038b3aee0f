"""Factor models through the service: estimated, stored in versions, and read back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from portfolio_optimization.v1 import factor_model_service_pb2 as pb
from portfolio_optimization.v1 import factor_models_pb2 as models_pb
from portfolio_optimization.v1.factor_models_pb2 import CrossSectionalModel, StatisticalModel, TimeSeriesModel

from server.loading_models import factor_model_inputs
from server.sample.facts import STOCKS
from storage.factors import FactorRepository
from storage.instruments import InstrumentRepository
from storage.model_data import ModelDataRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import ExposureSet, FactorTable, PriceTable
from tests.integration.server.factor_model_calls import (
    Floats,
    ModelCalls,
    creation,
    exposures,
    matrix,
    specification,
)
from tests.integration.server.open_service import OpenService

NAMES = tuple(sorted(stock.id for stock in STOCKS))
FACTORS = ("momentum", "quality", "size", "minimum_volatility", "value")
DAYS = 500
MISSING = grpc.StatusCode.NOT_FOUND
KINDS = {
    "time_series": TimeSeriesModel(),
    "kalman": TimeSeriesModel(estimator=models_pb.REGRESSION_ESTIMATOR_KALMAN, drift=1e-4),
    "cross_sectional": CrossSectionalModel(),
    "statistical": StatisticalModel(count_rule=models_pb.FACTOR_COUNT_RULE_FIXED, factor_count=3),
}


@pytest.fixture(scope="module")
def calls(service: OpenService) -> ModelCalls:
    return ModelCalls(service)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Returns of the stocks and of the factors on their common days, and closes of the stocks."""

    R: Floats
    F: Floats
    days: np.ndarray
    closes: Floats


@pytest.fixture(scope="module")
def sample(service: OpenService) -> Sample:
    table, factors = service.run(_tables(service))
    closes = table.closes[:, [table.instrument_ids.index(name) for name in NAMES]]
    R = closes[1:] / closes[:-1] - 1.0
    days, stock_rows, factor_rows = np.intersect1d(table.dates[1:], factors.dates, return_indices=True)
    F = factors.returns[:, [factors.factors.index(name) for name in FACTORS]]
    return Sample(R[stock_rows], F[factor_rows], days, closes)


async def _tables(service: OpenService) -> tuple[PriceTable, FactorTable]:
    async with service.application.database.transaction() as connection:
        packs, sets = PricingPackRepository(connection), FactorRepository(connection)
        return await packs.read((await packs.latest(NAMES)).id), await sets.read((await sets.latest(FACTORS)).id)


def recent(kind: Any, **fields: Any) -> models_pb.FactorModelSpecification:
    """Of the last days, which makes the tests fast."""
    return specification(kind, **{"lookback_days": DAYS, **fields})


def message(kind: str) -> Any:
    return KINDS[kind]


# --- three kinds


def test_a_time_series_model_against_least_squares(calls: ModelCalls, sample: Sample) -> None:
    model = calls.whole(calls.create("five factors", specification()).factor_model_id)
    T, k = sample.F.shape
    X = np.column_stack([np.ones(T), sample.F])
    coefficients, *_ = np.linalg.lstsq(X, sample.R, rcond=None)
    residuals = sample.R - X @ coefficients
    np.testing.assert_allclose(exposures(model), coefficients[1:].T, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([row.alpha for row in model.instruments], 252.0 * coefficients[0], rtol=1e-8)
    unshrunk = np.sqrt(252.0 * (residuals**2).sum(axis=0) / (T - k - 1))
    np.testing.assert_allclose([row.unshrunk_specific_volatility for row in model.instruments], unshrunk, rtol=1e-9)
    explained = 1.0 - residuals.var(axis=0) / sample.R.var(axis=0)
    np.testing.assert_allclose([row.r_squared for row in model.instruments], explained, rtol=1e-8)
    assert model.mean_r_squared == pytest.approx(explained.mean(), rel=1e-9)
    Phi = matrix(model.factor_covariance, k)
    np.testing.assert_allclose(Phi, 252.0 * np.cov(sample.F, rowvar=False), rtol=1e-10)
    errors = sample.F.std(axis=0, ddof=1) / np.sqrt(T)
    np.testing.assert_allclose([f.t_statistic for f in model.factors], sample.F.mean(axis=0) / errors, rtol=1e-9)
    np.testing.assert_allclose([f.mean_return for f in model.factors], 252.0 * sample.F.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose([f.volatility for f in model.factors], np.sqrt(np.diag(Phi)), rtol=1e-12)
    inflation = np.diag(np.linalg.inv(np.corrcoef(sample.F, rowvar=False)))
    np.testing.assert_allclose([f.variance_inflation for f in model.factors], inflation, rtol=1e-7)
    np.testing.assert_array_equal(matrix(model.factor_returns, k), sample.F)
    assert list(model.dates) == [str(day) for day in sample.days]
    assert tuple(factor.name for factor in model.factors) == FACTORS
    assert {factor.kind for factor in model.factors} == {models_pb.FACTOR_KIND_GIVEN}


def test_a_model_of_styles_and_sectors(calls: ModelCalls, sample: Sample) -> None:
    kind = CrossSectionalModel(styles=[models_pb.STYLE_MOMENTUM, models_pb.STYLE_SIZE], industries=True)
    model = calls.whole(calls.create("styles", recent(kind)).factor_model_id)
    kinds = [factor.kind for factor in model.factors]
    sectors = sorted({stock.sector for stock in STOCKS})
    assert kinds[0] == models_pb.FACTOR_KIND_MARKET
    industries = [f.name for f in model.factors if f.kind == models_pb.FACTOR_KIND_INDUSTRY]
    assert industries == sectors
    B = exposures(model)
    np.testing.assert_array_equal(B[:, 0], np.ones(len(NAMES)))
    member = [[float(stock.sector == sector) for sector in sectors] for stock in sorted(STOCKS, key=lambda s: s.id)]
    np.testing.assert_array_equal(B[:, -len(sectors) :], member)
    styles = [k for k, kind in enumerate(kinds) if kind == models_pb.FACTOR_KIND_STYLE]
    caps = np.array([float(stock.market_cap) for stock in sorted(STOCKS, key=lambda s: s.id)])
    np.testing.assert_allclose(caps @ B[:, styles] / caps.sum(), 0.0, atol=1e-12)
    np.testing.assert_allclose(B[:, styles].std(axis=0), 1.0, rtol=1e-12)
    assert all(not row.standard_errors for row in model.instruments)
    F, T = matrix(model.factor_returns, len(kinds)), model.observations
    assert len(F) == len(model.dates) == T
    np.testing.assert_allclose(252.0 * np.cov(F, rowvar=False), matrix(model.factor_covariance, len(kinds)), rtol=1e-9)


def test_a_statistical_model_against_principal_components(calls: ModelCalls, sample: Sample) -> None:
    model = calls.whole(calls.create("components", recent(message("statistical"))).factor_model_id)
    R = (sample.closes[1:] / sample.closes[:-1] - 1.0)[-DAYS:]
    values, vectors = np.linalg.eigh(252.0 * np.cov(R, rowvar=False))
    B = exposures(model)
    np.testing.assert_allclose((B**2).mean(axis=0), 1.0, rtol=1e-12)
    assert (B.sum(axis=0) > 0.0).all()
    for k in range(3):
        # Alike up to length and sign.
        cosine = abs(B[:, k] @ vectors[:, -1 - k]) / np.linalg.norm(B[:, k])
        assert cosine == pytest.approx(1.0, abs=1e-9)
        assert model.factors[k].volatility ** 2 * len(NAMES) == pytest.approx(values[-1 - k], rel=1e-9)
    assert [factor.name for factor in model.factors] == ["statistical_1", "statistical_2", "statistical_3"]


def test_a_model_of_stored_exposures(service: OpenService, calls: ModelCalls, sample: Sample) -> None:
    B = np.random.default_rng(5).normal(size=(len(NAMES), 2))
    kept = ExposureSet(
        as_of=last_day(), factors=("a", "b"), instrument_ids=NAMES, B=B, specific=np.full(len(NAMES), np.nan)
    )
    service.run(_store(service, kept))
    kind = CrossSectionalModel(factor_exposures_id=kept.id, weighting=models_pb.CROSS_SECTION_WEIGHTING_EQUAL)
    model = calls.whole(calls.create("given", recent(kind)).factor_model_id)
    np.testing.assert_array_equal(exposures(model), B)
    R = (sample.closes[1:] / sample.closes[:-1] - 1.0)[-DAYS:]
    F, *_ = np.linalg.lstsq(B, R.T, rcond=None)
    np.testing.assert_allclose(matrix(model.factor_returns, 2), F.T, rtol=1e-8, atol=1e-12)


def last_day() -> Any:
    return np.datetime64("2022-12-28").item()


async def _store(service: OpenService, kept: ExposureSet) -> None:
    async with service.application.database.transaction() as connection:
        await ModelDataRepository(connection).store(kept, "by hand")


# --- stored


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_read_back_is_the_one_created(calls: ModelCalls, kind: str) -> None:
    created = calls.call("CreateFactorModel", creation(f"back {kind}", recent(message(kind))))
    assert created.created
    model = created.factor_model
    assert (model.version, len(model.factor_model_id), len(model.instruments)) == (1, 35, 0)
    by_id = calls.call("GetFactorModel", pb.GetFactorModelRequest(factor_model_id=model.factor_model_id))
    by_name = calls.call("GetFactorModel", pb.GetFactorModelRequest(name=f"back {kind}"))
    assert by_id.factor_model == by_name.factor_model == model
    whole = calls.whole(model.factor_model_id)
    assert [row.instrument_id for row in whole.instruments] == list(NAMES)
    assert len(whole.factor_returns) == model.observations * len(model.factors)
    for field in ("instruments", "dates", "factor_returns"):
        whole.ClearField(field)
    assert whole == model


@pytest.mark.parametrize("kind", KINDS)
def test_the_filled_specification_is_the_same_model(calls: ModelCalls, kind: str) -> None:
    model = calls.create(f"again {kind}", recent(message(kind)))
    assert list(model.specification.instrument_ids) == list(NAMES)
    again = calls.call("CreateFactorModel", creation(f"again {kind}", model.specification))
    assert not again.created
    assert again.factor_model == model


def test_an_id_is_the_hash_of_what_the_model_was_estimated_from(calls: ModelCalls) -> None:
    """Name, filled specification, and what may change of the instruments, which a regression does not use."""
    model = calls.create("hashed", recent(None))
    content = json_format.MessageToDict(model.specification, preserving_proto_field_name=True)
    text = json.dumps(["hashed", content, {}], sort_keys=True, separators=(",", ":"))
    assert model.factor_model_id == f"fm-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def test_the_same_specification_twice_is_one_model(calls: ModelCalls) -> None:
    first = calls.create(
        "twice", recent(KINDS["statistical"], instrument_ids=["KO", "AAPL", "XOM", "JPM", "PFE", "BAC"])
    )
    turned = recent(KINDS["statistical"], instrument_ids=["BAC", "PFE", "JPM", "XOM", "AAPL", "KO"])
    again = calls.call("CreateFactorModel", creation("twice", turned))
    assert not again.created
    assert again.factor_model == first
    other = calls.call("CreateFactorModel", creation("another name", turned))
    assert other.created
    assert other.factor_model.factor_model_id != first.factor_model_id
    assert other.factor_model.factor_covariance == first.factor_covariance


def test_versions_of_a_name(calls: ModelCalls) -> None:
    made = [calls.create("versions", specification(lookback_days=days)) for days in (250, 251, 252)]
    assert [model.version for model in made] == [1, 2, 3]
    for version, model in zip((1, 2, 3, 0), (*made, made[-1]), strict=True):
        found = calls.call("GetFactorModel", pb.GetFactorModelRequest(name="versions", version=version))
        assert found.factor_model == model


def test_what_a_model_was_estimated_from_may_change_and_it_does_not(service: OpenService, calls: ModelCalls) -> None:
    kind = CrossSectionalModel(styles=[models_pb.STYLE_SIZE])
    before = calls.create("facts", recent(kind))
    numbers = calls.whole(before.factor_model_id)
    industries = calls.create("sectors", recent(CrossSectionalModel(industries=True)))
    series = calls.create("series", recent(None))
    service.run(_scale_cap(service, "KO", 2))
    try:
        after = calls.call("CreateFactorModel", creation("facts", recent(kind)))
        assert after.created
        assert after.factor_model.version == 2
        assert calls.whole(before.factor_model_id) == numbers
        assert calls.create("sectors", recent(CrossSectionalModel(industries=True))).version == industries.version + 1
        # Regressions on given returns know nothing of market capitalisations.
        assert calls.create("series", recent(None)) == series
    finally:
        service.run(_scale_cap(service, "KO", 1))
    assert calls.create("facts", recent(kind)) == before


async def _scale_cap(service: OpenService, name: str, factor: int) -> None:
    cap = next(stock.market_cap for stock in STOCKS if stock.id == name)
    async with service.application.database.transaction() as connection:
        instruments = InstrumentRepository(connection)
        (found,) = await instruments.find([name])
        await instruments.put([dataclasses.replace(found, market_cap=factor * cap)])


def test_nothing_is_stored_where_a_model_is_only_tried(calls: ModelCalls) -> None:
    wanted = recent(KINDS["statistical"])
    tried = calls.call("CreateFactorModel", creation("tried", wanted, validate_only=True))
    assert tried.created
    assert (tried.factor_model.factor_model_id, tried.factor_model.version) == ("", 0)
    assert not tried.factor_model.HasField("created_at")
    calls.refused("GetFactorModel", pb.GetFactorModelRequest(name="tried"), MISSING)
    kept = calls.create("tried", wanted)
    again = calls.call("CreateFactorModel", creation("tried", wanted, validate_only=True))
    assert not again.created
    for field in ("factor_model_id", "version", "created_at"):
        kept.ClearField(field)
    assert again.factor_model == tried.factor_model == kept


def test_ten_models_at_once_have_ten_versions(calls: ModelCalls) -> None:
    requests = [creation("at once", specification(lookback_days=100 + k)) for k in range(10)]
    answers = calls.together("CreateFactorModel", requests)
    assert sorted(answer.factor_model.version for answer in answers) == list(range(1, 11))
    assert all(answer.created for answer in answers)


def test_ten_times_the_same_model_at_once_is_one(calls: ModelCalls) -> None:
    answers = calls.together("CreateFactorModel", [creation("one", specification(lookback_days=99))] * 10)
    assert sorted(answer.created for answer in answers) == [False] * 9 + [True]
    assert len({answer.factor_model.SerializeToString(deterministic=True) for answer in answers}) == 1


def test_the_loaded_model_is_the_same_to_the_bit(service: OpenService, calls: ModelCalls) -> None:
    model = calls.whole(calls.create("loaded", recent(None)).factor_model_id)
    stored = service.run(service.application.models.factor_model(model.factor_model_id))
    inputs = factor_model_inputs(stored)
    assert inputs.id == model.factor_model_id
    assert inputs.kind == "time_series"
    assert inputs.model.names == NAMES
    np.testing.assert_array_equal(inputs.model.B, exposures(model))
    np.testing.assert_array_equal(inputs.model.Phi.ravel(), model.factor_covariance)
    np.testing.assert_array_equal(np.sqrt(inputs.model.specific), [r.specific_volatility for r in model.instruments])
    np.testing.assert_array_equal(inputs.variance_inflation, [f.variance_inflation for f in model.factors])
    assert inputs.condition_number == model.condition_number
    assert inputs.risk_free is None
    again = service.run(service.application.models.factor_model(model.factor_model_id))
    assert again is stored


def test_a_risk_free_factor_is_taken_from_returns_and_kept(service: OpenService, calls: ModelCalls) -> None:
    kind = TimeSeriesModel(factors=["size", "value"], risk_free_factor="minimum_volatility")
    model = calls.create("excess", recent(kind))
    inputs = factor_model_inputs(service.run(service.application.models.factor_model(model.factor_model_id)))
    assert inputs.risk_free is not None
    assert inputs.risk_free.shape == (DAYS,)
    assert inputs.model.factors == ("size", "value")
