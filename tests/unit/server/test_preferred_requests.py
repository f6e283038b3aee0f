"""What a request for a plan leaves unset is taken from the portfolio's preferences, and only what belongs to it."""

import pytest
from portfolio_optimization.v1 import drift_pb2, policies_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.convert.answers import to_json
from server.errors import NotReady
from server.policies import with_preferences
from storage.records import Portfolio

RELAX, STAGE = pb.POLICY_CONFLICT_HANDLING_RELAX, pb.POLICY_CONFLICT_HANDLING_STAGE
FULL, THRESHOLD, CASH_FLOW = (
    pb.REBALANCE_STRATEGY_FULL,
    pb.REBALANCE_STRATEGY_THRESHOLD,
    pb.REBALANCE_STRATEGY_CASH_FLOW,
)
HALF_L1 = drift_pb2.DriftSettings(measure=drift_pb2.DRIFT_MEASURE_HALF_L1, threshold=0.02)


def filled(preferences, **fields):
    stored = {"rebalancing": to_json(policies_pb2.RebalancingPreferences(**preferences))}
    message = pb.RebalancePlanRequest(portfolio_id="p", **fields)
    before = message.SerializeToString(deterministic=True)
    answer = with_preferences(message, Portfolio(id="p", name="p", preferences=stored))
    assert message.SerializeToString(deterministic=True) == before
    return answer


def test_a_request_that_says_everything_stays():
    preferences = {"target_type": "custom", "custom_target": {"A": 1.0}, "strategy": THRESHOLD, "drift": HALF_L1}
    fields = {
        "target_type": "equal_weight",
        "strategy": FULL,
        "constraints": pb.RebalanceConstraints(max_turnover=0.1),
    }
    assert filled(preferences, **fields) == pb.RebalancePlanRequest(portfolio_id="p", **fields)


def test_the_target_with_what_belongs_to_it():
    assert filled({"target_type": "custom", "custom_target": {"A": 0.5}}).custom_target == {"A": 0.5}
    other = filled({"target_type": "policy", "custom_target": {"A": 0.5}, "policy_id": "q"}, target_type="custom")
    assert (dict(other.custom_target), other.policy_id) == ({}, "")
    own = filled({"target_type": "custom", "custom_target": {"A": 0.5}}, target_type="custom", custom_target={"B": 1.0})
    assert own.custom_target == {"B": 1.0}
    assert filled({"target_type": "optimization", "optimization_id": "o"}).optimization_id == "o"
    assert filled({"optimization_id": "o"}, target_type="benchmark").optimization_id == ""


def test_the_policy_and_its_way_out_of_conflicts():
    preferences = {"target_type": "policy", "policy_id": "q", "on_conflict": RELAX, "relax_order": ["max_turnover"]}
    answer = filled(preferences)
    assert (answer.policy_id, answer.on_conflict, list(answer.relax_order)) == ("q", RELAX, ["max_turnover"])
    assert answer.policy_version == 0
    own = filled(preferences, on_conflict=STAGE, policy_id="other")
    assert (own.policy_id, own.on_conflict, list(own.relax_order)) == ("other", STAGE, [])
    assert not filled(preferences, target_type="benchmark").HasField("on_conflict")


def test_limits_are_taken_as_a_whole():
    preferences = {"constraints": pb.RebalanceConstraints(max_turnover=0.1, max_trades=3)}
    assert filled(preferences).constraints == preferences["constraints"]
    own = filled(preferences, constraints=pb.RebalanceConstraints(max_trades=5)).constraints
    assert own == pb.RebalanceConstraints(max_trades=5)
    assert filled(preferences, constraints=pb.RebalanceConstraints()).constraints == pb.RebalanceConstraints()


def test_the_strategy_and_its_drift():
    answer = filled({"strategy": THRESHOLD, "drift": HALF_L1})
    assert (answer.strategy, answer.drift) == (THRESHOLD, HALF_L1)
    assert not filled({"strategy": FULL, "drift": HALF_L1}).HasField("drift")
    own = drift_pb2.DriftSettings(measure=drift_pb2.DRIFT_MEASURE_RELATIVE)
    assert filled({"drift": HALF_L1}, strategy=THRESHOLD, drift=own).drift == own


def test_a_flow_is_a_strategy_and_a_strategy_of_flows_needs_one():
    assert filled({"strategy": THRESHOLD}, cash_flow_amount="5").strategy == CASH_FLOW
    assert not filled({"strategy": CASH_FLOW}).HasField("strategy")


def test_preferences_that_a_file_spoiled_are_refused():
    spoiled = Portfolio(id="p", name="p", preferences={"rebalancing": {"custom_target": "sideways"}})
    with pytest.raises(NotReady, match="preferences of portfolio p"):
        with_preferences(pb.RebalancePlanRequest(portfolio_id="p"), spoiled)
