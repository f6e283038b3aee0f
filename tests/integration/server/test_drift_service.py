"""Drift through the service from every kind of target, the shared known answers, and plans that go part of the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import grpc
import pytest
from portfolio_optimization.v1 import common_pb2, drift_pb2, instruments_pb2, policies_pb2, portfolio_data_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from storage.embedded import EmbeddedServer
from tests.integration.server.data_examples import price_block, price_header
from tests.integration.server.open_service import copied_database, open_service, violations
from tests.integration.server.policy_market import LAST, SHARES, PolicyDesk
from tests.unit.kernel.rebalancing.golden_cases import load_cases

CASES = load_cases("drift")
ABSOLUTE, RELATIVE, HALF_L1, BAND = (
    drift_pb2.DRIFT_MEASURE_MAX_ABSOLUTE,
    drift_pb2.DRIFT_MEASURE_RELATIVE,
    drift_pb2.DRIFT_MEASURE_HALF_L1,
    drift_pb2.DRIFT_MEASURE_BAND_5_25,
)
# Instruments of one unit of money each, so that shares are weights.
UNITS = ("U0", "U1", "U2", "U3")
CLASSES = ("equity", "equity", "bond", "bond")
FREE = {"commission_per_trade_amount": "0", "market_impact_bps": 0.0}


@pytest.fixture(scope="module")
def desk(postgres_server: EmbeddedServer, template_database: str) -> Iterator[PolicyDesk]:
    with (
        copied_database(postgres_server, template_database) as url,
        open_service(url, load_sample=False) as service,
    ):
        desk = PolicyDesk(service)
        service.run(stock_units(desk))
        desk.put("P1", SHARES)
        yield desk


async def stock_units(desk: PolicyDesk) -> None:
    instruments = [
        instruments_pb2.Instrument(
            instrument_id=name,
            name=name,
            asset_class=asset_class,
            currency="USD",
            lot_size="0.01",
            status=instruments_pb2.INSTRUMENT_STATUS_ACTIVE,
        )
        for name, asset_class in zip(UNITS, CLASSES, strict=True)
    ]
    await desk.data.UpsertInstruments(instruments_pb2.UpsertInstrumentsRequest(instruments=instruments))
    blocks = [price_header(("2024-12-30", "2024-12-31")), price_block(**{name: [1.0, 1.0] for name in UNITS})]
    await desk.data.LoadPricingPack(iter(blocks))


def put_units(desk: PolicyDesk, portfolio_id: str, quantities: list[str], cash: str = "0", **fields: Any) -> None:
    holdings = [
        portfolio_data_pb2.Holding(instrument_id=name, quantity=quantity)
        for name, quantity in zip(UNITS, quantities, strict=False)
    ]
    desk.put(portfolio_id, {}, holdings=holdings, cash_amount=cash, benchmark_id="", **fields)


def drift(desk: PolicyDesk, portfolio_id: str, target: list[float] | None = None, **fields: Any) -> Any:
    if target is not None:
        fields |= {"target_type": "custom", "custom_target": dict(zip(UNITS, target, strict=False))}
    return desk.ask("GetDrift", drift_pb2.GetDriftRequest(portfolio_id=portfolio_id, **fields))


def settings(measure: Any, threshold: float = 0.0) -> drift_pb2.DriftSettings:
    return drift_pb2.DriftSettings(measure=measure, threshold=threshold)


def as_shares(weights: list[Any]) -> list[str]:
    return [str(Decimal(weight) * 1000) for weight in weights]


# --- The shared known answers


def test_half_the_sum_of_deviations(desk: PolicyDesk) -> None:
    case = CASES["drift-01"]
    put_units(desk, "golden-1", as_shares(case["inputs"]["current"]))
    answer = drift(desk, "golden-1", [float(weight) for weight in case["inputs"]["target"]])
    assert answer.measures.half_l1 == float(case["expected"]["portfolio_drift"])
    assert answer.measures.max_absolute == float(case["expected"]["max_abs_drift"])
    assert answer.rebalance_needed  # 5 points reach the threshold of 5%


def test_exactly_at_the_threshold(desk: PolicyDesk) -> None:
    inputs = CASES["drift-02"]["inputs"]
    put_units(desk, "golden-2", as_shares([inputs["current"], "0.70"]))
    at = settings(ABSOLUTE, float(inputs["threshold"]))
    answer = drift(desk, "golden-2", [float(inputs["target"]), 0.75], settings=at)
    assert answer.rebalance_needed is CASES["drift-02"]["expected"]["breach"]
    assert [item.breached for item in answer.instruments[:2]] == [True, True]
    above = settings(ABSOLUTE, float(inputs["threshold"]) + 1e-9)
    assert not drift(desk, "golden-2", [0.25, 0.75], settings=above).rebalance_needed


@pytest.mark.parametrize("name", ["drift-03", "drift-04"])
def test_bands_fire_at_their_ends_and_not_inside(desk: PolicyDesk, name: str) -> None:
    case = CASES[name]
    relative = "band_rel" in case["inputs"]
    at = settings(RELATIVE if relative else ABSOLUTE, float(case["inputs"]["band_rel" if relative else "band_abs"]))
    for target, ends in zip(case["inputs"]["targets"], case["expected"]["ranges"], strict=True):
        for end in ends:
            inside = end + (target - end) / 1000
            for current, fires in ((end, True), (inside, False)):
                put_units(desk, name, [str(current * 1_000_000)], cash=str((1 - current) * 1_000_000))
                answer = drift(desk, name, [float(target)], settings=at)
                (item,) = [item for item in answer.instruments if item.name == "U0"]
                assert item.breached is fires


def test_five_twenty_five(desk: PolicyDesk) -> None:
    case = CASES["drift-05"]
    current, target = case["inputs"]["current"], case["inputs"]["targets"]
    put_units(desk, "golden-5", as_shares(current), cash=str((1 - sum(current)) * 1000))
    answer = drift(desk, "golden-5", [float(weight) for weight in target], settings=settings(BAND))
    outside = [name in answer.measures.outside_band_5_25 for name in UNITS[:3]]
    assert outside == case["expected"]["breach"]
    breached = {item.name: item.breached for item in answer.instruments}
    assert [breached[name] for name in UNITS[:3]] == case["expected"]["breach"]


def test_the_euclidean_case_stays_below_an_absolute_band(desk: PolicyDesk) -> None:
    case = CASES["drift-06"]
    put_units(desk, "golden-6", as_shares(case["inputs"]["current"]))
    answer = drift(desk, "golden-6", [float(weight) for weight in case["inputs"]["target"]])
    assert not answer.rebalance_needed
    assert answer.measures.half_l1 == float(case["expected"]["portfolio_drift"])
    distance = math.sqrt(sum(item.difference**2 for item in answer.instruments))
    assert distance == pytest.approx(float(case["expected"]["l2"]), abs=1e-12)


def test_a_trade_below_the_smallest_is_not_proposed(desk: PolicyDesk) -> None:
    inputs = CASES["drift-07"]["inputs"]
    put_units(desk, "golden-7", ["10000"], cash="90000")
    limits = pb.RebalanceConstraints(min_trade_fraction=float(inputs["min_trade_pct_of_account"]), **FREE)
    plan = desk.plan(custom("golden-7", [float(inputs["goal"])], constraints=limits))
    assert not plan.trades
    assert "below_min_trade_size" in {note.code for note in plan.notes}


def custom(portfolio_id: str, target: list[float], **fields: Any) -> pb.RebalancePlanRequest:
    weights = dict(zip(UNITS, target, strict=False))
    plain = {"target_type": "custom", "custom_target": weights, "validate_only": True}
    return pb.RebalancePlanRequest(portfolio_id=portfolio_id, **{**plain, **fields})


def test_to_target_or_to_the_bands_edge(desk: PolicyDesk) -> None:
    case = CASES["drift-08"]
    put_units(desk, "golden-8", ["58000"], cash="42000")
    limits = pb.RebalanceConstraints(**FREE)
    full = desk.plan(custom("golden-8", [0.5], constraints=limits))
    at = settings(ABSOLUTE, float(case["inputs"]["band_abs"]))
    edge = desk.plan(custom("golden-8", [0.5], constraints=limits, strategy=pb.REBALANCE_STRATEGY_THRESHOLD, drift=at))
    assert [trade.estimated_value for trade in full.trades] == [float(case["expected"]["best_fit_sell"])]
    assert [trade.estimated_value for trade in edge.trades] == [float(case["expected"]["min_transaction_sell"])]
    assert edge.drift_before.max_absolute == pytest.approx(0.08)
    assert edge.drift_after.max_absolute == pytest.approx(0.05)


# --- Targets of every kind


def test_targets_of_every_kind(desk: PolicyDesk) -> None:
    value = sum(SHARES[name] * LAST[name] for name in SHARES)
    weights = {name: SHARES[name] * LAST[name] / value for name in SHARES}
    for fields, target in (
        ({"target_type": "benchmark"}, {"AAPL": 0.3, "JNJ": 0.4, "XOM": 0.3}),
        ({"target_type": "benchmark", "benchmark_id": "three"}, {"AAPL": 0.3, "JNJ": 0.4, "XOM": 0.3}),
        ({"target_type": "equal_weight"}, dict.fromkeys(SHARES, 1 / 3)),
    ):
        answer = drift(desk, "P1", **fields)
        items = {item.name: item for item in answer.instruments if item.name != "CASH"}
        assert {name: item.current_weight for name, item in items.items()} == pytest.approx(weights)
        assert {name: item.target_weight for name, item in items.items()} == pytest.approx(target)
        differences = [abs(item.difference) for item in answer.instruments]
        assert differences == sorted(differences, reverse=True)
        assert answer.as_of == "2024-12-31"
        classes = {item.name: item.current_weight for item in answer.asset_classes}
        assert classes == pytest.approx({"cash": 0.0, "equity": 1.0})


def test_the_target_of_a_policy_is_where_it_leads(desk: PolicyDesk) -> None:
    policy = policies_pb2.Policy(policy_id="quality_only", min_quality_score=6.0, max_turnover=0.01)
    desk.ask("CreatePolicy", policies_pb2.CreatePolicyRequest(policy=policy))
    answer = drift(desk, "P1", target_type="policy", policy_id="quality_only")
    targets = {item.name: item.target_weight for item in answer.instruments if item.target_weight > 1e-9}
    assert targets == pytest.approx({"AAPL": 23250 / 48120, "JNJ": 24870 / 48120}, abs=1e-9)
    assert answer.rebalance_needed
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        drift(desk, "P1", target_type="policy", policy_id="quality_focused")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "quality_focused has no target" in (caught.value.details() or "")


def test_classes_net_inside(desk: PolicyDesk) -> None:
    put_units(desk, "classes", ["400", "200", "100", "300"])
    answer = drift(desk, "classes", [0.3, 0.3, 0.2, 0.2])
    assert answer.measures.max_absolute == pytest.approx(0.1)
    assert {item.name: item.difference for item in answer.asset_classes} == {"bond": 0.0, "cash": 0.0, "equity": 0.0}


def test_preferences_speak_where_the_question_is_silent(desk: PolicyDesk) -> None:
    put_units(desk, "preferred", ["560", "440"])
    preferences = policies_pb2.RebalancingPreferences(
        target_type="custom", custom_target={"U0": 0.5, "U1": 0.5}, drift=settings(HALF_L1, 0.06)
    )
    put = policies_pb2.SetRebalancingPreferencesRequest(portfolio_id="preferred", preferences=preferences)
    desk.ask("SetRebalancingPreferences", put)
    answer = drift(desk, "preferred")
    assert answer.settings == settings(HALF_L1, 0.06)
    assert answer.rebalance_needed
    assert not drift(desk, "preferred", settings=settings(HALF_L1, 0.0601)).rebalance_needed
    threshold = pb.RebalancePlanRequest(
        portfolio_id="preferred", validate_only=True, strategy=pb.REBALANCE_STRATEGY_THRESHOLD
    )
    plan = desk.plan(threshold)
    assert plan.target_type == "custom"
    assert not plan.trades  # it is at the threshold, to which such a plan would go


def test_a_rest_of_cash_is_no_instrument_outside_its_band(desk: PolicyDesk) -> None:
    put_units(desk, "rest", ["499", "499"], cash="2")
    answer = drift(desk, "rest", [0.5, 0.5], settings=settings(BAND))
    assert not answer.rebalance_needed
    assert not answer.measures.outside_band_5_25


REFUSED: dict[str, tuple[dict[str, Any], grpc.StatusCode, str]] = {
    "no portfolio": ({"portfolio_id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "portfolio_id"),
    "an unknown portfolio": ({"portfolio_id": "nobody"}, grpc.StatusCode.NOT_FOUND, "nobody"),
    "no target to drift from": ({"target_type": "optimal"}, grpc.StatusCode.INVALID_ARGUMENT, "target_type"),
    "an unknown word": ({"target_type": "best"}, grpc.StatusCode.INVALID_ARGUMENT, "target_type"),
    "custom without weights": ({"target_type": "custom"}, grpc.StatusCode.INVALID_ARGUMENT, "custom_target"),
    "weights above the whole": (
        {"target_type": "custom", "custom_target": {"AAPL": 0.6, "JNJ": 0.5}},
        grpc.StatusCode.INVALID_ARGUMENT,
        "custom_target",
    ),
    "no number": (
        {"target_type": "custom", "custom_target": {"AAPL": math.nan}},
        grpc.StatusCode.INVALID_ARGUMENT,
        "custom_target[AAPL]",
    ),
    "weights of nothing": (
        {"target_type": "custom", "custom_target": {"NOPE": 0.5}},
        grpc.StatusCode.NOT_FOUND,
        "NOPE",
    ),
    "another target's field": (
        {"target_type": "equal_weight", "benchmark_id": "three"},
        grpc.StatusCode.INVALID_ARGUMENT,
        "benchmark_id",
    ),
    "an unknown benchmark": (
        {"target_type": "benchmark", "benchmark_id": "none"},
        grpc.StatusCode.NOT_FOUND,
        "benchmark not found: none",
    ),
    "an unknown policy": (
        {"target_type": "policy", "policy_id": "none"},
        grpc.StatusCode.NOT_FOUND,
        "policy not found: none",
    ),
    "a policy that nobody names": ({"target_type": "policy"}, grpc.StatusCode.FAILED_PRECONDITION, "name no policy"),
    "nothing optimized yet": (
        {"target_type": "optimization"},
        grpc.StatusCode.FAILED_PRECONDITION,
        "no completed optimization",
    ),
    "no measure": ({"settings": drift_pb2.DriftSettings()}, grpc.StatusCode.INVALID_ARGUMENT, "settings.measure"),
    "a negative threshold": (
        {"settings": settings(ABSOLUTE, -0.1)},
        grpc.StatusCode.INVALID_ARGUMENT,
        "settings.threshold",
    ),
    "an unknown pack": ({"pricing_pack_id": "none", "target_type": "equal_weight"}, grpc.StatusCode.NOT_FOUND, "none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_asked(desk: PolicyDesk, name: str) -> None:
    fields, code, named = REFUSED[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        desk.ask("GetDrift", drift_pb2.GetDriftRequest(**{"portfolio_id": "P1", **fields}))
    assert caught.value.code() is code, caught.value.details()
    assert named in violations(caught.value) or named in (caught.value.details() or "")


# --- Flows of cash


def test_a_deposit_is_answered_in_band_without_a_sale(desk: PolicyDesk) -> None:
    put_units(desk, "flow", ["5100", "4900"], cash="100")
    asked = custom("flow", [0.5, 0.5], strategy=pb.REBALANCE_STRATEGY_CASH_FLOW, cash_flow_amount="1000")
    asked.constraints.CopyFrom(pb.RebalanceConstraints(**FREE))
    plan = desk.plan(asked)
    assert plan.cash_before_amount == "1100"
    # Of 11,100 each aims at 5,550: 450 and 650 are lacking, 1,000 leaves 50 to both, the old 100 of cash.
    assert {trade.instrument_id: trade.estimated_value for trade in plan.trades} == {"U0": 400.0, "U1": 600.0}
    assert Decimal(plan.cash_after_amount) == 100
    assert {"cash_flow", "drift_remains"} <= {note.code for note in plan.notes}


def test_a_withdrawal_raises_the_amount_with_its_costs_and_the_floor(desk: PolicyDesk) -> None:
    put_units(desk, "flow-out", ["6000", "4000"])
    asked = custom("flow-out", [0.5, 0.5], strategy=pb.REBALANCE_STRATEGY_CASH_FLOW, cash_flow_amount="-1000.50")
    asked.constraints.CopyFrom(pb.RebalanceConstraints(min_cash_amount="200"))
    plan = desk.plan(asked)
    assert [(trade.instrument_id, trade.action) for trade in plan.trades] == [("U0", "sell")]
    assert Decimal("1200.50") <= Decimal(plan.cash_after_amount) <= Decimal("1200.52")


@pytest.mark.parametrize(
    ("amount", "code", "named"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT, "cash_flow_amount"),
        ("0", grpc.StatusCode.INVALID_ARGUMENT, "cash_flow_amount"),
        ("1e3", grpc.StatusCode.INVALID_ARGUMENT, "cash_flow_amount"),
        ("NaN", grpc.StatusCode.INVALID_ARGUMENT, "cash_flow_amount"),
        ("-10000.01", grpc.StatusCode.INVALID_ARGUMENT, "cash_flow_amount"),
    ],
)
def test_flows_that_cannot_be(desk: PolicyDesk, amount: str, code: grpc.StatusCode, named: str) -> None:
    put_units(desk, "flow-no", ["6000", "4000"])
    asked = custom("flow-no", [0.5, 0.5], strategy=pb.REBALANCE_STRATEGY_CASH_FLOW, cash_flow_amount=amount)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        desk.plan(asked)
    assert caught.value.code() is code
    assert named in violations(caught.value)


def test_in_band_nothing_trades_and_it_is_said(desk: PolicyDesk) -> None:
    put_units(desk, "calm", ["5200", "4800"])
    plan = desk.plan(custom("calm", [0.5, 0.5], strategy=pb.REBALANCE_STRATEGY_THRESHOLD))
    assert plan.outcome.status == common_pb2.OUTCOME_STATUS_OPTIMAL
    assert not plan.trades
    texts = [note.message for note in plan.notes if note.code == "no_trades"]
    assert any("2%" in text and "5%" in text for text in texts)
