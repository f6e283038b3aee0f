"""What is wrong with a request for a rebalance plan, field by field."""

from typing import Any

import pytest
from google.protobuf import json_format
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.lots import LotMethod
from server.convert.faults import Faults, checked
from server.convert.rebalance import read_rebalance
from server.errors import InvalidRequest
from server.rebalance_specs import RebalanceSpec
from server.settings import Settings

PLAIN = {"portfolio_id": "p", "target_type": "equal_weight"}


def read(**fields: Any) -> RebalanceSpec:
    message = json_format.ParseDict({**PLAIN, **fields}, pb.RebalancePlanRequest())
    return checked(read_rebalance, message, Settings())


def limits(**fields: Any) -> dict[str, Any]:
    return {"constraints": fields}


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"strategy": "REBALANCE_STRATEGY_CASH_FLOW"}, "cash_flow_amount"),
    ({"strategy": "REBALANCE_STRATEGY_CASH_FLOW", "cash_flow_amount": "0"}, "cash_flow_amount"),
    ({"cash_flow_amount": "5"}, "cash_flow_amount"),
    ({"drift": {"measure": "DRIFT_MEASURE_HALF_L1"}}, "drift"),
    ({"strategy": "REBALANCE_STRATEGY_THRESHOLD", "drift": {}}, "drift.measure"),
    (
        {
            "strategy": "REBALANCE_STRATEGY_THRESHOLD",
            "drift": {"measure": "DRIFT_MEASURE_RELATIVE", "threshold": -0.1},
        },
        "drift.threshold",
    ),
    ({"policy_id": "x"}, "policy_id"),
    ({"target_type": "policy"}, "policy_id"),
    ({"target_type": "policy", "policy_id": "x", "relax_order": ["max_turnover"]}, "relax_order"),
    (
        {"target_type": "policy", "policy_id": "x", "on_conflict": "POLICY_CONFLICT_HANDLING_RELAX"},
        "relax_order",
    ),
    (
        {
            "target_type": "policy",
            "policy_id": "x",
            "on_conflict": "POLICY_CONFLICT_HANDLING_RELAX",
            "relax_order": ["min_quality_score"],
        },
        "relax_order[0]",
    ),
    (limits(specific_lots=[{"lot_id": "a"}]), "constraints.specific_lots"),
    (limits(lot_method="LOT_METHOD_SPECIFIC"), "constraints.specific_lots"),
    (
        limits(lot_method="LOT_METHOD_SPECIFIC", specific_lots=[{"lot_id": "a"}, {"lot_id": "a"}]),
        "constraints.specific_lots[1].lot_id",
    ),
    (
        limits(lot_method="LOT_METHOD_SPECIFIC", specific_lots=[{"lot_id": "a", "quantity": "-1"}]),
        "constraints.specific_lots[0].quantity",
    ),
    (limits(tax_weight=2.0), "constraints.tax_weight"),
    (limits(risk_aversion=5.0), "constraints.risk_aversion"),
    (limits(tracking_benchmark_id="b"), "constraints.tracking_benchmark_id"),
    (
        limits(tracking_benchmark_id="b", max_tracking_error=0.02, distance="TRADE_DISTANCE_TRACKING_RISK"),
        "constraints.tracking_benchmark_id",
    ),
    (limits(max_tracking_error="NaN"), "constraints.max_tracking_error"),
    (limits(max_position=1.5), "constraints.max_position"),
    (limits(max_sector=-0.1), "constraints.max_sector"),
    (limits(max_turnover=1.2), "constraints.max_turnover"),
    (limits(max_trades=-1), "constraints.max_trades"),
    (limits(max_tax_amount="-1"), "constraints.max_tax_amount"),
    (limits(max_realized_gain_amount="1e3"), "constraints.max_realized_gain_amount"),
    (limits(min_trade_fraction=2.0), "constraints.min_trade_fraction"),
    (limits(max_participation=1.5), "constraints.max_participation"),
    (limits(impact_coefficient="Infinity"), "constraints.impact_coefficient"),
    (limits(execution={"days": 251}), "constraints.execution.days"),
    (limits(execution={"start_date": "2026-13-01"}), "constraints.execution.start_date"),
    (limits(execution={"risk_aversion": -1.0}), "constraints.execution.risk_aversion"),
    (limits(execution={"half_spread": 1.5}), "constraints.execution.half_spread"),
]


@pytest.mark.parametrize(("fields", "at"), FAULTS, ids=[f"{k} {at}" for k, (_, at) in enumerate(FAULTS)])
def test_each_fault_names_its_field(fields: dict[str, Any], at: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(**fields)
    assert [fault.field for fault in refused.value.faults] == [at]


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(strategy="REBALANCE_STRATEGY_CASH_FLOW", **limits(max_position=2.0, tax_weight=2.0))
    found = {fault.field for fault in refused.value.faults}
    assert found == {"cash_flow_amount", "constraints.max_position", "constraints.tax_weight"}


def test_unspecified_enumerations_are_refused() -> None:
    message = pb.RebalancePlanRequest(**PLAIN, strategy=pb.REBALANCE_STRATEGY_UNSPECIFIED)
    message.constraints.distance = pb.TRADE_DISTANCE_UNSPECIFIED
    message.constraints.wash_sales = pb.WASH_SALE_HANDLING_UNSPECIFIED
    faults = Faults()
    read_rebalance(message, Settings(), faults)
    with pytest.raises(InvalidRequest) as refused:
        faults.check()
    assert {fault.field for fault in refused.value.faults} == {
        "strategy",
        "constraints.distance",
        "constraints.wash_sales",
    }


def test_two_way_turnover_is_halved() -> None:
    read_one = read(**limits(max_turnover=0.3)).limits.max_turnover
    read_two = read(**limits(max_turnover=0.6, turnover_definition="TURNOVER_DEFINITION_TWO_WAY")).limits.max_turnover
    assert read_one == read_two


def test_a_law_of_impact_of_ones_own_replaces_the_usual_one() -> None:
    assert read().costs.impact_bps == 15
    assert read(**limits(impact_coefficient=1.0)).costs.impact_bps == 0
    assert read(**limits(impact_coefficient=1.0, market_impact_bps=3.0)).costs.impact_bps == 3


def test_lots_are_chosen_for_the_least_tax_where_tax_counts_and_nothing_else_is_said() -> None:
    assert read().tax.lot_method is None
    assert read(**limits(consider_tax_implications=True)).tax.lot_method is LotMethod.LEAST_TAX
    asked = limits(consider_tax_implications=True, lot_method="LOT_METHOD_FIFO")
    assert read(**asked).tax.lot_method is LotMethod.FIFO
