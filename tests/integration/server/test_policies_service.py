"""Policies and preferences over the wire: versions that never change, defaults, and everything that is refused."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from data_examples import instrument, store_instruments
from portfolio_optimization.v1 import drift_pb2, instruments_pb2, optimization_pb2, portfolio_data_pb2, rebalancing_pb2
from portfolio_optimization.v1 import policies_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub
from refusals import not_found, refused

TEMPLATES = Path(__file__).resolve().parents[4] / "shared" / "spec" / "policy" / "policy_templates.json"
RELAX = rebalancing_pb2.POLICY_CONFLICT_HANDLING_RELAX


@pytest.fixture
def calls(channel: grpc.aio.Channel) -> Any:
    return RebalancingServiceStub(channel)


@pytest.fixture
async def portfolio(data: PortfolioDataServiceStub) -> str:
    await store_instruments(data, "AAPL", "KO")
    stored = portfolio_data_pb2.Portfolio(
        portfolio_id="family",
        base_currency="USD",
        cash_amount="100",
        preferences=portfolio_data_pb2.PortfolioPreferences(
            optimization=optimization_pb2.OptimizationPreferences(risk_aversion=3.0)
        ),
    )
    await data.PutPortfolio(portfolio_data_pb2.PutPortfolioRequest(portfolio=stored))
    return "family"


def create(previous: int = 0, **fields: Any) -> pb.CreatePolicyRequest:
    plain = {"policy_id": "mine", "name": "Mine", "max_turnover": 0.2}
    return pb.CreatePolicyRequest(policy=pb.Policy(**{**plain, **fields}), previous_version=previous)


def put(portfolio_id: str = "family", **fields: Any) -> pb.SetRebalancingPreferencesRequest:
    return pb.SetRebalancingPreferencesRequest(
        portfolio_id=portfolio_id, preferences=pb.RebalancingPreferences(**fields)
    )


async def stored_preferences(calls: Any) -> pb.RebalancingPreferences:
    asked = pb.GetRebalancingPreferencesRequest(portfolio_id="family")
    answer = await calls.GetRebalancingPreferences(asked)
    return answer.preferences


# --- Policies


async def test_the_templates_are_there_from_the_start(calls: Any) -> None:
    if not TEMPLATES.exists():
        pytest.skip("the shared policy templates are not beside the project")
    listed = (await calls.ListPolicies(pb.ListPoliciesRequest())).policies
    templates = {policy["id"]: policy for policy in json.loads(TEMPLATES.read_text())["policies"]}
    assert [policy.policy_id for policy in listed] == sorted(templates)
    for policy in listed:
        template = templates[policy.policy_id]
        assert policy.version == 1
        assert (policy.name, policy.method_version) == (template["name"], template["method_version"])
        assert policy.min_quality_score == template["min_quality_score"]
        for limit in ("max_single_position", "max_sector", "max_tracking_error", "max_turnover"):
            assert getattr(policy, limit) == template[f"{limit}_pct"]


async def test_versions_follow_each_other_and_stay(calls: Any) -> None:
    first = (await calls.CreatePolicy(create())).policy
    second = (await calls.CreatePolicy(create(1, max_turnover=0.1, min_quality_score=0.0))).policy
    assert (first.version, second.version) == (1, 2)
    assert first.HasField("created_at")
    assert second.HasField("min_quality_score")
    assert not first.HasField("min_quality_score")
    assert (await calls.GetPolicy(pb.GetPolicyRequest(policy_id="mine", version=1))).policy == first
    assert (await calls.GetPolicy(pb.GetPolicyRequest(policy_id="mine"))).policy == second


@pytest.mark.parametrize("previous", [0, 2, 3, 2_000_000_000])
async def test_a_version_that_follows_another_than_the_newest_is_refused(calls: Any, previous: int) -> None:
    await calls.CreatePolicy(create())
    await refused(calls.CreatePolicy(create(previous)), grpc.StatusCode.FAILED_PRECONDITION)
    listed = await calls.ListPolicies(pb.ListPoliciesRequest(include_older_versions=True))
    assert [policy.version for policy in listed.policies if policy.policy_id == "mine"] == [1]


async def test_of_two_at_once_one_is_refused(calls: Any) -> None:
    async def attempt(limit: float) -> str:
        try:
            await calls.CreatePolicy(create(max_turnover=limit))
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    codes = await asyncio.gather(*(attempt(0.01 * k) for k in range(1, 9)))
    assert sorted(codes) == ["FAILED_PRECONDITION"] * 7 + ["OK"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"policy_id": ""}, "policy_id"),
        ({"policy_id": "x" * 37}, "policy_id"),
        ({"policy_id": "a\nb"}, "policy_id"),
        ({"name": "a\0"}, "name"),
        ({"min_quality_score": -0.1}, "min_quality_score"),
        ({"min_quality_score": 10.1}, "min_quality_score"),
        ({"min_quality_score": math.nan}, "min_quality_score"),
        ({"max_single_position": 0.0}, "max_single_position"),
        ({"max_sector": 1.01}, "max_sector"),
        ({"max_sector": -0.2}, "max_sector"),
        ({"max_tracking_error": 0.0}, "max_tracking_error"),
        ({"max_tracking_error": math.inf}, "max_tracking_error"),
        ({"max_turnover": math.nan}, "max_turnover"),
        ({"method_version": "v2"}, "method_version"),
    ],
)
async def test_wrong_policies_are_named(calls: Any, fields: dict[str, Any], field: str) -> None:
    assert list(await refused(calls.CreatePolicy(create(**fields)))) == [f"policy.{field}"]


async def test_a_policy_without_limits_is_none(calls: Any) -> None:
    empty = pb.CreatePolicyRequest(policy=pb.Policy(policy_id="empty"))
    assert list(await refused(calls.CreatePolicy(empty))) == ["policy"]
    nothing = await refused(calls.CreatePolicy(pb.CreatePolicyRequest(previous_version=2**32 - 1)))
    assert set(nothing) == {"policy", "policy.policy_id", "previous_version"}


async def test_policies_that_are_not_there(calls: Any) -> None:
    assert "nobody" in await not_found(calls.GetPolicy(pb.GetPolicyRequest(policy_id="nobody")))
    missing = pb.GetPolicyRequest(policy_id="quality_focused", version=2**32 - 1)
    assert "quality_focused version" in await not_found(calls.GetPolicy(missing))
    assert list(await refused(calls.GetPolicy(pb.GetPolicyRequest()))) == ["policy_id"]


async def test_policies_come_page_by_page(calls: Any) -> None:
    for previous in range(3):
        await calls.CreatePolicy(create(previous, max_turnover=0.1 + 0.1 * previous))
    seen: list[tuple[str, int]] = []
    token = ""
    while True:
        asked = pb.ListPoliciesRequest(include_older_versions=True, page_size=2, page_token=token)
        page = await calls.ListPolicies(asked)
        seen += [(policy.policy_id, policy.version) for policy in page.policies]
        token = page.next_page_token
        if not token:
            break
    versions = [("mine", 1), ("mine", 2), ("mine", 3)]
    assert seen == [("aggressive_growth", 1), ("conservative_income", 1), *versions, ("quality_focused", 1)]
    newest = await calls.ListPolicies(pb.ListPoliciesRequest())
    assert [policy.version for policy in newest.policies] == [1, 1, 3, 1]


@pytest.mark.parametrize("token", ["x", "AAAA", "bWluZQ==", "LTEgbWluZQ==", "é", "MSA" * 40])
async def test_foreign_page_tokens_are_refused(calls: Any, token: str) -> None:
    assert list(await refused(calls.ListPolicies(pb.ListPoliciesRequest(page_token=token)))) == ["page_token"]


async def test_a_negative_page_size_is_refused(calls: Any) -> None:
    assert list(await refused(calls.ListPolicies(pb.ListPoliciesRequest(page_size=-1)))) == ["page_size"]


# --- Preferences


async def test_defaults_of_a_portfolio_that_has_none(calls: Any, portfolio: str) -> None:
    answer = await calls.GetRebalancingPreferences(pb.GetRebalancingPreferencesRequest(portfolio_id=portfolio))
    preferences = answer.preferences
    assert preferences.target_type == "optimal"
    assert preferences.drift.measure == drift_pb2.DRIFT_MEASURE_MAX_ABSOLUTE
    assert preferences.drift.threshold == 0.05
    assert preferences.strategy == rebalancing_pb2.REBALANCE_STRATEGY_FULL
    assert preferences.schedule == pb.REBALANCE_SCHEDULE_MANUAL
    assert preferences.scheduled_action == pb.SCHEDULED_ACTION_PROPOSE
    assert preferences.exchange == "XNYS"
    assert preferences.approval_limit_amount == "10000.00"
    assert preferences.approval_validity_hours == 24
    assert (preferences.max_price_move, preferences.max_weight_move) == (0.02, 0.01)
    assert not preferences.HasField("constraints")
    assert (answer.next_look_on, answer.last_look_on) == ("", "")


async def test_preferences_are_replaced_as_a_whole_and_others_stay(
    calls: Any, data: PortfolioDataServiceStub, portfolio: str
) -> None:
    limits = rebalancing_pb2.RebalanceConstraints(max_turnover=0.3, do_not_buy=["KO"])
    asked = put(
        target_type="policy",
        policy_id="quality_focused",
        on_conflict=RELAX,
        relax_order=["max_turnover", "max_sector"],
        schedule=pb.REBALANCE_SCHEDULE_QUARTERLY,
        exchange="XLON",
        constraints=limits,
        drift=drift_pb2.DriftSettings(measure=drift_pb2.DRIFT_MEASURE_HALF_L1, threshold=0.03),
        alert_emails=["owner@example.org"],
    )
    answer = await calls.SetRebalancingPreferences(asked)
    assert answer.preferences == await stored_preferences(calls)
    assert answer.preferences.constraints == limits
    assert answer.preferences.drift.threshold == 0.03
    await calls.SetRebalancingPreferences(put(target_type="equal_weight"))
    changed = await stored_preferences(calls)
    assert (changed.target_type, changed.policy_id, changed.exchange) == ("equal_weight", "", "XNYS")
    kept = await data.GetPortfolio(portfolio_data_pb2.GetPortfolioRequest(portfolio_id=portfolio))
    assert kept.portfolio.preferences.optimization.risk_aversion == 3.0


async def test_a_schedule_says_when_it_looks_next(calls: Any, portfolio: str) -> None:
    await calls.SetRebalancingPreferences(put(schedule=pb.REBALANCE_SCHEDULE_DAILY))
    answer = await calls.GetRebalancingPreferences(pb.GetRebalancingPreferencesRequest(portfolio_id=portfolio))
    assert answer.next_look_on
    assert not answer.last_look_on


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"target_type": "best"}, "target_type"),
        ({"target_type": "custom"}, "custom_target"),
        ({"target_type": "custom", "custom_target": {"AAPL": 0.7, "KO": 0.4}}, "custom_target"),
        ({"target_type": "custom", "custom_target": {"AAPL": -0.1}}, "custom_target[AAPL]"),
        ({"target_type": "custom", "custom_target": {"NOPE": 0.5}}, "custom_target"),
        ({"target_type": "policy"}, "policy_id"),
        ({"policy_id": "nobody"}, "policy_id"),
        ({"optimization_id": "nothing"}, "optimization_id"),
        ({"on_conflict": RELAX}, "relax_order"),
        ({"relax_order": ["max_turnover"]}, "relax_order"),
        ({"on_conflict": RELAX, "relax_order": ["min_quality_score"]}, "relax_order[0]"),
        ({"on_conflict": 0}, "on_conflict"),
        ({"strategy": 9}, "strategy"),
        ({"drift": drift_pb2.DriftSettings(threshold=0.1)}, "drift.measure"),
        ({"drift": drift_pb2.DriftSettings(measure=1, threshold=math.nan)}, "drift.threshold"),
        ({"drift": drift_pb2.DriftSettings(measure=1, threshold=-0.1)}, "drift.threshold"),
        ({"schedule": 77}, "schedule"),
        ({"exchange": "nyse"}, "exchange"),
        ({"exchange": "ZZZZ"}, "exchange"),
        ({"approval_limit_amount": "1e3"}, "approval_limit_amount"),
        ({"approval_limit_amount": "NaN"}, "approval_limit_amount"),
        ({"approval_validity_hours": math.inf}, "approval_validity_hours"),
        ({"max_price_move": -0.1}, "max_price_move"),
        ({"max_weight_move": math.nan}, "max_weight_move"),
        ({"alert_emails": ["nobody"]}, "alert_emails[0]"),
        ({"alert_emails": ["a@b.org", "a@b.org"]}, "alert_emails"),
        ({"constraints": {"max_turnover": 1.5}}, "constraints.max_turnover"),
        ({"constraints": {"max_tracking_error": math.nan}}, "constraints.max_tracking_error"),
        ({"constraints": {"max_position": 1.1}}, "constraints.max_position"),
        ({"constraints": {"min_trade_fraction": -0.1}}, "constraints.min_trade_fraction"),
        ({"constraints": {"max_tax_amount": "-5"}}, "constraints.max_tax_amount"),
        ({"constraints": {"execution": {"start_date": "tomorrow"}}}, "constraints.execution.start_date"),
        ({"constraints": {"do_not_sell": ["NOPE"]}}, "constraints.do_not_sell"),
        (
            {"constraints": {"max_tracking_error": 0.1, "tracking_benchmark_id": "none"}},
            "constraints.tracking_benchmark_id",
        ),
    ],
)
async def test_wrong_preferences_change_nothing(calls: Any, portfolio: str, fields: dict[str, Any], field: str) -> None:
    before = await stored_preferences(calls)
    assert list(await refused(calls.SetRebalancingPreferences(put(**fields)))) == [f"preferences.{field}"]
    assert await stored_preferences(calls) == before


async def test_preferences_need_a_portfolio_and_themselves(calls: Any, portfolio: str) -> None:
    assert "nobody" in await not_found(calls.SetRebalancingPreferences(put("nobody")))
    nobody = pb.GetRebalancingPreferencesRequest(portfolio_id="nobody")
    assert "nobody" in await not_found(calls.GetRebalancingPreferences(nobody))
    missing = await refused(calls.SetRebalancingPreferences(pb.SetRebalancingPreferencesRequest()))
    assert set(missing) == {"portfolio_id", "preferences"}


async def test_many_at_once_leave_one_of_them(calls: Any, portfolio: str) -> None:
    def setting(k: int) -> Awaitable[Any]:
        call: Awaitable[Any] = calls.SetRebalancingPreferences(put(approval_limit_amount=f"{k}.00"))
        return call

    await asyncio.gather(*(setting(k) for k in range(1, 11)))
    assert (await stored_preferences(calls)).approval_limit_amount in {f"{k}.00" for k in range(1, 11)}


async def test_preferences_leave_holdings_alone(calls: Any, data: PortfolioDataServiceStub, portfolio: str) -> None:
    active = instrument("KO", status=instruments_pb2.INSTRUMENT_STATUS_ACTIVE)
    await data.UpsertInstruments(instruments_pb2.UpsertInstrumentsRequest(instruments=[active]))
    held = portfolio_data_pb2.Portfolio(
        portfolio_id=portfolio,
        base_currency="USD",
        holdings=[portfolio_data_pb2.Holding(instrument_id="KO", quantity="5")],
        lots=[portfolio_data_pb2.TaxLot(lot_id="1", instrument_id="KO", quantity="5", acquired_on="2020-01-02")],
    )
    await data.PutPortfolio(portfolio_data_pb2.PutPortfolioRequest(portfolio=held))
    await calls.SetRebalancingPreferences(put(target_type="equal_weight"))
    found = await data.GetPortfolio(portfolio_data_pb2.GetPortfolioRequest(portfolio_id=portfolio))
    assert list(found.portfolio.holdings) == list(held.holdings)
    assert [lot.acquired_on for lot in found.portfolio.lots] == ["2020-01-02"]
