"""Walk-forward validations through the service: against an independent walk, followed, cancelled, and refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import estimation_pb2, frontier_pb2, robustness_pb2
from portfolio_optimization.v1 import multi_period_pb2 as plans
from portfolio_optimization.v1 import optimization_pb2 as pb
from portfolio_optimization.v1 import validation_pb2 as v

from server.vocabulary import OPTIMIZATION_TYPES
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import PriceTable
from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import PORTFOLIO, RISK_FREE, Floats, load_market

E = estimation_pb2
SAMPLE = E.RiskModel(method=E.RISK_MODEL_METHOD_SAMPLE)
LAST_YEAR = "2021-12-29"
COST = 0.0015


def request(optimization: dict[str, Any] | None = None, **fields: Any) -> v.CreateValidationRequest:
    plain = {"portfolio_id": PORTFOLIO, "optimization_type": "minimum_variance"}
    asked = pb.CreateOptimizationRequest(**{**plain, **(optimization or {})})
    return v.CreateValidationRequest(**{"optimization": asked, "first_date": LAST_YEAR, **fields})


def follow(service: OpenService, validation_id: str) -> list[Any]:
    steps = service.stream("WatchValidation", v.WatchValidationRequest(validation_id=validation_id))
    return [step.validation for step in steps]


def ended(service: OpenService, asked: v.CreateValidationRequest) -> Any:
    created = service.call("CreateValidation", asked)
    return follow(service, created.validation_id)[-1]


def completed(service: OpenService, asked: v.CreateValidationRequest) -> Any:
    found = ended(service, asked)
    assert found.status == "completed", found.message
    return found.report


def prices(service: OpenService) -> tuple[tuple[str, ...], Any, Floats]:
    """Names, days and closes of the portfolio."""

    async def read() -> PriceTable:
        async with service.application.database.transaction() as connection:
            packs = PricingPackRepository(connection)
            return await packs.read((await packs.latest(names)).id)

    names = load_market(service).names
    table = service.run(read())
    closes = table.closes[:, [table.instrument_ids.index(name) for name in names]]
    days = ~np.isnan(closes).all(axis=1)
    return names, table.dates[days], closes[days]


def least_variance(Sigma: Floats, cap: float) -> Floats:
    w = cp.Variable(len(Sigma))
    risk = cp.sum_squares(np.linalg.cholesky(Sigma).T @ w)
    problem: Any = cp.Problem(cp.Minimize(risk), [w >= 0, w <= cap, cp.sum(w) == 1])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-13)
    return np.asarray(w.value)


def test_a_validation_is_the_walk_of_an_independent_model(service: OpenService) -> None:
    constraints = pb.OptimizationConstraints(max_position_size=0.15)
    asked = {"risk_model": SAMPLE, "constraints": constraints, "risk_free_rate": RISK_FREE}
    report = completed(service, request(asked, train_days=252, rebalance_days=21, embargo_days=3))
    names, dates, closes = prices(service)
    current = service.call("GenerateEfficientFrontier", _frontier()).current_portfolio.weights
    drifted = np.array([current[name] for name in (*names, "CASH")])
    start = int(np.searchsorted(dates, np.datetime64(LAST_YEAR))) - 1
    wealth, path, turnovers, costs = 1.0, [], [], []
    for window in report.windows:
        seen = closes[start - 3 - 252 : start - 3 + 1]
        Sigma = 252.0 * np.cov(seen[1:] / seen[:-1] - 1.0, rowvar=False)
        w = least_variance(Sigma, 0.15)
        change = np.abs(np.append(w, 0.0) - drifted)
        turnovers.append(0.5 * change.sum())
        costs.append(COST * change[:-1].sum())
        wealth *= 1.0 - costs[-1]
        held = closes[start : start + 22] / closes[start]
        values = (held * w)[1:]
        daily = values.sum(axis=1) / np.concatenate([[1.0], values.sum(axis=1)[:-1]]) - 1.0
        path += (wealth * values.sum(axis=1)).tolist()
        assert (window.seen_from, window.seen_until) == (str(dates[start - 255]), str(dates[start - 3]))
        assert window.first_date == str(dates[start + 1])
        assert [window.weights[name] for name in names] == pytest.approx(w.tolist(), abs=2e-5)
        assert window.predicted_volatility == pytest.approx(np.sqrt(w @ Sigma @ w), rel=1e-7)
        assert window.realised_volatility == pytest.approx(np.sqrt(252.0) * daily.std(ddof=1), rel=1e-4)
        assert window.turnover == pytest.approx(turnovers[-1], abs=1e-4)
        drifted, wealth, start = np.append(values[-1] / values[-1].sum(), 0.0), path[-1], start + len(values)
    assert len(report.windows) == 12
    assert list(report.wealth) == pytest.approx(path, rel=1e-5)
    assert report.days == len(path) == 252
    assert (report.first_date, report.last_date) == (LAST_YEAR, str(dates[-1]))
    assert report.turnover_per_year == pytest.approx(sum(turnovers), rel=1e-4)
    assert report.cost_per_year == pytest.approx(sum(costs), rel=1e-4)
    assert dict(report.outcomes) == {"optimal": 12}


def _frontier() -> Any:
    return frontier_pb2.EfficientFrontierRequest(portfolio_id=PORTFOLIO, points=2, lookback_days=250)


def test_realised_volatility_is_within_a_factor_of_two_in_nine_windows_of_ten(service: OpenService) -> None:
    """Over the whole history, 1991 to 2022, by a risk model that follows volatility as it changes."""
    risk = E.RiskModel(method=E.RISK_MODEL_METHOD_EXPONENTIALLY_WEIGHTED, half_life_days=42.0)
    band = v.ValidationBand(minimum=0.5, maximum=2.0)
    report = completed(service, request({"risk_model": risk}, band=band, first_date=""))
    ratios = np.array([w.realised_volatility / w.predicted_volatility for w in report.windows])
    assert len(ratios) > 350
    assert report.share_inside_band == pytest.approx(((ratios >= 0.5) & (ratios <= 2.0)).mean())
    assert report.share_inside_band > 0.9
    assert report.expected_share_inside_band > 0.99


def test_every_step_is_followed_to_the_report(service: OpenService) -> None:
    created = service.call("CreateValidation", request(first_date="2012-12-28", rebalance_days=5))
    assert (created.status, created.portfolio_id) == ("pending", PORTFOLIO)
    steps = follow(service, created.validation_id)
    done = [step.windows_done for step in steps]
    assert done == sorted(done)
    assert len(set(done)) > 2
    assert {step.windows for step in steps} == {504}
    assert [step.HasField("report") for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].windows_done == len(steps[-1].report.windows) == 504
    found = service.call("GetValidation", v.GetValidationRequest(validation_id=created.validation_id))
    assert found == steps[-1]
    assert found.completed_at.seconds >= found.created_at.seconds
    assert found.request.optimization.pricing_pack_id == found.pricing_pack_id == created.pricing_pack_id
    assert found.request.cost_rate == COST


def test_the_stored_request_gives_the_same_report_again(service: OpenService) -> None:
    first = ended(service, request(window=v.WINDOW_KIND_EXPANDING, train_days=60, rebalance_days=40))
    assert completed(service, first.request) == first.report


EXTRAS: dict[str, dict[str, Any]] = {
    "mean_variance": {"objective": "maximize_sharpe", "preferences": {"ill_posed_fallback": "minimize_risk"}},
    "multi_objective": {
        "terms": [
            {"name": "r", "kind": "return", "coefficient": 1.0},
            {"name": "v", "kind": "variance", "coefficient": -2.0},
        ]
    },
    "custom": {"terms": [{"name": "r", "kind": "return", "coefficient": 1.0}, {"kind": "entropy", "coefficient": 0.1}]},
    "robust": {
        "objective": "minimize_risk",
        "robustness": robustness_pb2.Robustness(
            mean=robustness_pb2.MeanUncertainty(shape=robustness_pb2.UNCERTAINTY_SHAPE_ELLIPSOID)
        ),
    },
    "multi_period": {
        "objective": "maximize_utility",
        "multi_period": plans.MultiPeriod(periods=[plans.PlanPeriod(), plans.PlanPeriod()]),
    },
}


@pytest.mark.parametrize(
    "kind", [word for word in OPTIMIZATION_TYPES.served if word not in ("scenario_based", "black_litterman")]
)
def test_every_type_can_be_validated(service: OpenService, kind: str) -> None:
    asked = {"optimization_type": kind, **EXTRAS.get(kind, {})}
    report = completed(service, request(asked, train_days=120, rebalance_days=126))
    assert report.windows_without_answer == 0
    for window in report.windows:
        assert sum(window.weights.values()) == pytest.approx(1.0, abs=1e-8)
        assert window.predicted_volatility > 0
    assert 0.0 <= report.max_drawdown < 1.0


def test_impossible_limits_leave_the_portfolio_as_it_is_and_are_counted(service: OpenService) -> None:
    constraints = pb.OptimizationConstraints(max_position_size=0.03)
    report = completed(service, request({"constraints": constraints}, rebalance_days=126))
    assert dict(report.outcomes) == {"infeasible": report.windows_without_answer} == {"infeasible": 2}
    assert report.turnover_per_year == report.cost_per_year == 0.0
    for field in ("share_inside_band", "expected_share_inside_band", "predicted_volatility", "predicted_return"):
        assert not report.HasField(field)
    assert not report.windows[0].HasField("inside_band")
    assert report.realised_volatility > 0.1


def test_a_cancelled_validation_has_no_report(service: OpenService) -> None:
    created = service.call("CreateValidation", request(first_date="", rebalance_days=2))
    cancelled = service.call("CancelValidation", v.CancelValidationRequest(validation_id=created.validation_id))
    assert cancelled.status == "cancelled"
    (found,) = follow(service, created.validation_id)
    assert (found.status, found.HasField("report"), found.HasField("completed_at")) == ("cancelled", False, True)


def test_cancelling_what_has_ended_changes_nothing(service: OpenService) -> None:
    found = ended(service, request(rebalance_days=126))
    answer = service.call("CancelValidation", v.CancelValidationRequest(validation_id=found.validation_id))
    assert answer.status == "completed"
    assert service.call("GetValidation", v.GetValidationRequest(validation_id=found.validation_id)) == found


def test_the_same_request_id_gives_the_same_validation(service: OpenService) -> None:
    first = service.call("CreateValidation", request(request_id="mine", rebalance_days=126))
    follow(service, first.validation_id)
    again = service.call("CreateValidation", request(request_id="mine", rebalance_days=126))
    assert (again.validation_id, again.status) == (first.validation_id, "completed")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateValidation", request(request_id="mine", rebalance_days=125))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert first.validation_id in str(caught.value.details())


def test_stored_preferences_count_and_can_be_replaced(service: OpenService) -> None:
    async def prefer() -> None:
        async with service.application.database.transaction() as connection:
            repository = PortfolioRepository(connection)
            known = await repository.find(PORTFOLIO)
            stored = {"optimization": {"consider_tax_implications": True}}
            await repository.put(replace(known, id="taxed", preferences=stored))

    service.run(prefer())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateValidation", request({"portfolio_id": "taxed"}))
    assert set(violations(caught.value)) == {"optimization.preferences.consider_tax_implications"}
    assert completed(service, request({"portfolio_id": "taxed", "preferences": {}}, rebalance_days=126)).days == 252


NAN, HUGE = float("nan"), 1e300
REFUSED: dict[str, tuple[v.CreateValidationRequest, set[str]]] = {
    "nothing": (
        v.CreateValidationRequest(),
        {"optimization.portfolio_id", "optimization.optimization_type", "optimization.objective"},
    ),
    "numbers out of range": (
        request(train_days=59, rebalance_days=1, embargo_days=253, cost_rate=1.01),
        {"train_days", "rebalance_days", "embargo_days", "cost_rate"},
    ),
    "huge numbers": (
        request(train_days=2**32 - 1, rebalance_days=2**32 - 1, embargo_days=2**32 - 1, cost_rate=HUGE),
        {"train_days", "rebalance_days", "embargo_days", "cost_rate"},
    ),
    "no numbers": (
        request(cost_rate=NAN, band=v.ValidationBand(minimum=NAN, maximum=NAN)),
        {"cost_rate", "band.minimum", "band.maximum"},
    ),
    "a band upside down": (request(band=v.ValidationBand(minimum=3.0)), {"band.maximum"}),
    "a negative band": (request(band=v.ValidationBand(minimum=-0.5, maximum=-1.0)), {"band.minimum", "band.maximum"}),
    "no kind of window": (request(window=9), {"window"}),
    "no dates": (request(first_date="last year", last_date="2022-02-30"), {"first_date", "last_date"}),
    "dates upside down": (request(first_date="2022-02-03", last_date="2022-02-02"), {"first_date"}),
    "more history than there is": (request(first_date="", train_days=9000), {"train_days"}),
    "judged before there is history": (request(first_date="1991-01-02"), {"first_date"}),
    "judged after the end": (request(first_date="2030-01-02"), {"first_date"}),
    "a last day that has not come": (request(last_date="2030-01-02"), {"last_date"}),
    "a single day": (request(first_date="2022-12-28"), {"first_date"}),
    "a long id": (request(request_id="x" * 37), {"request_id"}),
    "an instrument that is not there": (
        request({"constraints": pb.OptimizationConstraints(max_weights={"KOO": 0.1})}),
        {"optimization.constraints.max_weights"},
    ),
    "views of today": (
        request(
            {
                "optimization_type": "black_litterman",
                "objective": "maximize_sharpe",
                "black_litterman": E.BlackLitterman(
                    views=[E.View(weights={"KO": 1.0}, expected_return=0.1, confidence=0.5)]
                ),
            }
        ),
        {"optimization.optimization_type"},
    ),
    "a lookback of its own": (request({"lookback_days": 100}), {"optimization.lookback_days"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_is_refused_at_once(service: OpenService, name: str) -> None:
    asked, fields = REFUSED[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateValidation", asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert set(violations(caught.value)) == fields


def test_what_does_not_exist_is_not_found(service: OpenService) -> None:
    for method, asked in {
        "CreateValidation": request({"portfolio_id": "none"}),
        "GetValidation": v.GetValidationRequest(validation_id="none"),
        "CancelValidation": v.CancelValidationRequest(validation_id="none"),
    }.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            service.call(method, asked)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        follow(service, "none")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_price_that_is_missing_is_named_before_anything_runs(service: OpenService) -> None:
    async def store() -> str:
        async with service.application.database.transaction() as connection:
            packs = PricingPackRepository(connection)
            known = await packs.read((await packs.latest(names)).id)
            closes = known.closes[-800:].copy()
            closes[-100, known.instrument_ids.index("KO")] = np.nan
            return (await packs.store(PriceTable(known.instrument_ids, known.dates[-800:], closes), "a hole")).id

    names, dates, _ = prices(service)
    pack = service.run(store())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateValidation", request({"pricing_pack_id": pack}))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert f"{pack} has no price above zero of KO on {dates[-100]}" in str(caught.value.details())
