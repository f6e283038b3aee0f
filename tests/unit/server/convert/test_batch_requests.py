"""What is wrong with a batch is said at once, each fault at its field; the content is what makes batches the same."""

from __future__ import annotations

from typing import Any

import pytest
from portfolio_optimization.v1 import rebalance_batches_pb2 as pb
from portfolio_optimization.v1 import rebalancing_pb2

from server.convert.batches import MOST_PORTFOLIOS, BatchSpec, item_content, read_batch, write_item
from server.convert.faults import checked
from server.errors import InvalidRequest
from server.settings import Settings
from storage.batches import BatchItem

SETTINGS = Settings(load_sample=False)


def request(names: Any = ("a", "b"), template: dict[str, Any] | None = None, **fields: Any) -> Any:
    asked = {"target_type": "equal_weight"} | (template or {})
    return pb.CreateRebalanceBatchRequest(template=asked, portfolio_ids=names, **fields)


def read(message: pb.CreateRebalanceBatchRequest) -> BatchSpec:
    return checked(read_batch, message, SETTINGS)


def faults(message: pb.CreateRebalanceBatchRequest) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        read(message)
    return {fault.field: fault.description for fault in refused.value.faults}


def test_a_batch_is_read() -> None:
    spec = read(request(summary_only=True, request_id="mine"))
    assert (spec.portfolio_ids, spec.request_id, spec.summary_only) == (("a", "b"), "mine", True)
    assert spec.plan.target_type == "equal_weight"
    assert spec.template.portfolio_id == ""


@pytest.mark.parametrize("count", [0, MOST_PORTFOLIOS + 1])
def test_too_few_and_too_many_are_refused(count: int) -> None:
    names = [f"p{k}" for k in range(count)]
    assert faults(request(names)) == {
        "portfolio_ids": f"must name at least 1 and at most 100000 portfolios, not {count}"
    }


def test_the_most_are_read() -> None:
    assert len(read(request([f"p{k}" for k in range(MOST_PORTFOLIOS)])).portfolio_ids) == MOST_PORTFOLIOS


def test_every_fault_has_its_field() -> None:
    template = {"portfolio_id": "a", "request_id": "b", "validate_only": True, "target_type": "optimal"}
    constraints = {"max_turnover": float("nan"), "min_cash_amount": "-1"}
    message = request(["", "a" * 37, "a\n", "twice", "twice"], {**template, "constraints": constraints})
    message.request_id = "r" * 37
    found = faults(message)
    assert set(found) == {
        "request_id",
        "portfolio_ids",
        "portfolio_ids[0]",
        "portfolio_ids[1]",
        "portfolio_ids[2]",
        "template.portfolio_id",
        "template.request_id",
        "template.validate_only",
        "template.target_type",
        "template.constraints.max_turnover",
        "template.constraints.min_cash_amount",
    }
    assert found["portfolio_ids"] == "repeats twice"
    assert found["template.target_type"] == ("must be one of custom, benchmark, equal_weight, policy, not 'optimal'")


@pytest.mark.parametrize("word", ["", "unknown", "optimization"])
def test_targets_that_are_not_for_batches_are_refused(word: str) -> None:
    fields = {"target_type": word} | ({"optimization_id": "o"} if word == "optimization" else {})
    assert "template.target_type" in faults(request(template=fields))


def test_the_content_counts_and_nothing_else() -> None:
    first = read(request(request_id="a"))
    assert read(request(request_id="b")).content_hash == first.content_hash
    others = [
        request(["b", "a"]),
        request(["a"]),
        request(summary_only=True),
        request(template={"reason": "another"}),
        request(template={"constraints": {"max_trades": 3}}),
    ]
    assert len({first.content_hash, *(read(other).content_hash for other in others)}) == 1 + len(others)


def test_an_item_keeps_trades_with_their_sign() -> None:
    plan = rebalancing_pb2.RebalancePlanResponse(
        trades=[
            {"instrument_id": "A", "action": "sell", "exact_quantity": "12"},
            {"instrument_id": "B", "action": "buy", "exact_quantity": "0.5"},
        ],
        metrics={"gross_trade_amount": "100.00", "transaction_costs_amount": "5.15", "tax_amount": "-3.00"},
        quality={"gap": 0.25},
    )
    item = write_item(BatchItem(position=3, portfolio_id="p", rebalance_id="plan", content=item_content(plan)))
    assert item == pb.RebalanceBatchItem(
        portfolio_id="p",
        rebalance_id="plan",
        trades={"A": "-12", "B": "0.5"},
        gross_trade_amount="100.00",
        transaction_costs_amount="5.15",
        tax_amount="-3.00",
        gap=0.25,
    )


def test_an_item_without_a_plan_says_why() -> None:
    item = write_item(BatchItem(position=0, portfolio_id="p", error="portfolio not found: p"))
    assert item == pb.RebalanceBatchItem(portfolio_id="p", error="portfolio not found: p")
