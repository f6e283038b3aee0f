"""Batches through the service: the same trades as one call gives, each portfolio once, followed, cancelled, refused."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import grpc
import pytest
from portfolio_optimization.v1 import events_pb2, plan_workflow_pb2, policies_pb2, rebalancing_calls_pb2
from portfolio_optimization.v1 import rebalance_batches_pb2 as pb
from portfolio_optimization.v1 import rebalancing_pb2 as plans
from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub

from server.convert.answers import to_json
from server.convert.batches import read_batch
from server.convert.faults import checked
from server.errors import WorkerLost
from server.jobs.batches import BatchJob
from server.workflows.rebalance import RebalanceWorkflow
from storage.batches import BatchRepository, RebalanceBatch
from storage.benchmarks import BenchmarkRepository
from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Benchmark, Holding, Instrument
from tests.integration.server.many_portfolios import make_model, store_model, store_portfolios
from tests.integration.server.open_service import OpenService, copied_database, open_service, violations

CODE = grpc.StatusCode
NAMES = tuple(f"account-{k:03d}" for k in range(64))
CHUNK = 20
MODEL = make_model(count=10, days=90)
LONGEST_SECONDS = 120.0


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTFOLIO_BATCH_CHUNK_PORTFOLIOS", str(CHUNK))
        with (
            copied_database(postgres_server, template_database) as url,
            open_service(url, load_sample=False) as service,
        ):
            service.run(_fill(service))
            yield service


async def _fill(service: OpenService) -> None:
    policy = policies_pb2.Policy(policy_id="capped", name="Capped", max_single_position=0.1, method_version="v1")
    await RebalancingServiceStub(service.channel).CreatePolicy(policies_pb2.CreatePolicyRequest(policy=policy))
    database = service.application.database
    await store_model(database, MODEL)
    await store_portfolios(database, MODEL, NAMES)
    half = {name: round(weight, 3) for name, weight in list(MODEL.weights.items())[:5]}
    async with database.transaction() as connection:
        unpriced = Instrument(id="UNPRICED", name="", asset_class="equity", sector="")
        await InstrumentRepository(connection).put([unpriced])
        weights = {name: _exact(weight) for name, weight in half.items()}
        await BenchmarkRepository(connection).put(Benchmark(id="half", name="Half", weights=weights))
        await BenchmarkRepository(connection).put(Benchmark(id="series", name="A series", index_instrument_id="S000"))


def _exact(number: float) -> Decimal:
    return Decimal(repr(number))


def request(names: Any = NAMES, template: Any = None, **fields: Any) -> pb.CreateRebalanceBatchRequest:
    asked = {"target_type": "custom", "custom_target": MODEL.weights} if template is None else template
    return pb.CreateRebalanceBatchRequest(template=asked, portfolio_ids=names, **fields)


def call(service: OpenService, method: str, message: Any) -> Any:
    async def answer() -> Any:
        return await getattr(RebalancingServiceStub(service.channel), method)(message, timeout=LONGEST_SECONDS)

    return service.run(answer())


def create(service: OpenService, message: pb.CreateRebalanceBatchRequest) -> pb.RebalanceBatch:
    return call(service, "CreateRebalanceBatch", message).batch


def watch(service: OpenService, batch_id: str) -> list[pb.RebalanceBatch]:
    async def steps() -> list[pb.RebalanceBatch]:
        stream = RebalancingServiceStub(service.channel).WatchRebalanceBatch(
            pb.WatchRebalanceBatchRequest(batch_id=batch_id), timeout=LONGEST_SECONDS
        )
        return [step.batch async for step in stream]

    return service.run(steps())


def items(service: OpenService, batch_id: str, size: int = 1000, **fields: Any) -> list[pb.RebalanceBatchItem]:
    found, token = [], ""
    while True:
        page = call(
            service,
            "ListRebalanceBatchItems",
            pb.ListRebalanceBatchItemsRequest(batch_id=batch_id, page_size=size, page_token=token, **fields),
        )
        assert len(page.items) <= size
        found += page.items
        token = page.next_page_token
        if not token:
            return found


def completed(service: OpenService, message: pb.CreateRebalanceBatchRequest) -> list[pb.RebalanceBatchItem]:
    batch = watch(service, create(service, message).batch_id)[-1]
    assert (batch.status, batch.done_count) == ("completed", len(message.portfolio_ids))
    return items(service, batch.batch_id)


def alone(service: OpenService, portfolio_id: str, template: plans.RebalancePlanRequest) -> plans.RebalancePlanResponse:
    """The plan of one portfolio by one call, not kept."""
    asked = plans.RebalancePlanRequest()
    asked.CopyFrom(template)
    asked.portfolio_id, asked.validate_only = portfolio_id, True
    return service.call("GenerateRebalancePlan", asked)


def signed(plan: plans.RebalancePlanResponse) -> dict[str, str]:
    return {t.instrument_id: ("-" if t.action == "sell" else "") + t.exact_quantity for t in plan.trades}


TEMPLATES: dict[str, dict[str, Any]] = {
    "custom": {"target_type": "custom", "custom_target": MODEL.weights},
    "benchmark": {"target_type": "benchmark", "benchmark_id": "half", "constraints": {"max_turnover": 0.1}},
    "equal_weight": {"target_type": "equal_weight", "constraints": {"max_trades": 4}},
    "risk": {
        "target_type": "custom",
        "custom_target": MODEL.weights,
        "constraints": {"distance": plans.TRADE_DISTANCE_TRACKING_RISK, "max_trades": 3},
    },
    "policy": {"target_type": "policy", "policy_id": "capped"},
    "tax": {
        "target_type": "custom",
        "custom_target": MODEL.weights,
        "constraints": {"consider_tax_implications": True, "max_tax_amount": "500"},
    },
}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_portfolio_gets_the_plan_that_it_would_get_alone(service: OpenService, kind: str) -> None:
    names = NAMES[:3]
    message = request(names, TEMPLATES[kind], summary_only=True)
    found = completed(service, message)
    assert [item.portfolio_id for item in found] == list(names)
    for item in found:
        plan = alone(service, item.portfolio_id, message.template)
        assert item.error == ""
        assert item.rebalance_id == ""
        assert dict(item.trades) == signed(plan)
        assert len(item.trades) > 0
        assert item.gross_trade_amount == plan.metrics.gross_trade_amount
        assert item.transaction_costs_amount == plan.metrics.transaction_costs_amount
        assert item.tax_amount == plan.metrics.tax_amount
        assert item.gap == pytest.approx(plan.quality.gap, abs=1e-9)


def test_a_batch_is_done_in_chunks_and_followed(service: OpenService) -> None:
    accepted = create(service, request(summary_only=True))
    assert (accepted.status, accepted.portfolio_count, accepted.chunk_count) == ("pending", 64, 4)
    steps = watch(service, accepted.batch_id)
    done = [step.done_count for step in steps]
    assert done == sorted(done)
    assert len(set(done)) > 2
    last = steps[-1]
    assert (last.status, last.done_count, last.failed_count, last.done_chunk_count) == ("completed", 64, 0, 4)
    assert last.processor_seconds > 0.0
    assert last.completed_at.seconds >= last.created_at.seconds
    assert [item.portfolio_id for item in items(service, accepted.batch_id, size=7)] == list(NAMES)
    assert call(service, "GetRebalanceBatch", pb.GetRebalanceBatchRequest(batch_id=accepted.batch_id)).batch == last


def test_plans_are_stored_as_proposals(service: OpenService) -> None:
    names = NAMES[10:14]
    found = completed(service, request(names))
    assert len({item.rebalance_id for item in found}) == 4
    for item in found:
        message = rebalancing_calls_pb2.GetRebalancePlanRequest(rebalance_id=item.rebalance_id)
        plan = call(service, "GetRebalancePlan", message).plan
        assert plan.portfolio_id == item.portfolio_id
        assert plan.workflow.status == plan_workflow_pb2.REBALANCE_PLAN_STATUS_PROPOSED
        assert signed(plan) == dict(item.trades)
    proposed = service.run(_proposals(service))
    assert [name for name in names if proposed.count(name) == 1] == list(names)


async def _proposals(service: OpenService) -> list[str]:
    answer = await EventServiceStub(service.channel).ListEvents(
        events_pb2.ListEventsRequest(types=["rebalance_plan_proposed"], page_size=1000)
    )
    return [event.portfolio_id for event in answer.events]


def test_workers_on_the_same_chunk_keep_one_plan_of_each_portfolio(service: OpenService) -> None:
    names = NAMES[20:26]
    application = service.application

    async def work() -> tuple[str, int]:
        batch = await application.batches().create(request(names), "test")
        job = BatchJob(application.database, application.pool, application.rebalances(), application.changes)
        await asyncio.gather(*(job.run(batch.id, 0, 0) for _ in range(2)))
        async with application.database.transaction() as connection:
            made = await connection.execute(
                b"SELECT COUNT(*) FROM rebalance_requests WHERE portfolio_id = ANY(%s)", [list(names)]
            )
            row = await made.fetchone()
        assert row is not None
        return batch.id, row[0]

    batch_id, made = service.run(work())
    assert watch(service, batch_id)[-1].done_count == len(names)
    assert made == len({item.rebalance_id for item in items(service, batch_id)}) == len(names)


class DeadlyPool:
    """The service's pool, whose process dies over some portfolios."""

    def __init__(self, pool: Any, deadly: set[str], deaths: int = 1_000) -> None:
        self._pool, self._deadly, self._deaths = pool, deadly, deaths

    async def run(self, function: Any, inputs: Any, timeout: float) -> Any:
        if self._deaths and self._deadly & {one.market.portfolio_id for one in inputs}:
            self._deaths -= 1
            raise WorkerLost("the solver process died; try again")
        return await self._pool.run(function, inputs, timeout=timeout)


class Refusing:
    """The service's pipeline, which cannot keep the plans of some portfolios."""

    def __init__(self, rebalances: RebalanceWorkflow, refused: set[str]) -> None:
        self._rebalances, self._refused = rebalances, refused

    async def prepare(self, message: Any, *, price_limits: bool) -> Any:
        return await self._rebalances.prepare(message, price_limits=price_limits)

    async def keep(self, connection: Any, prepared: Any, response: Any, answer: Any, actor: str) -> Any:
        kept = await self._rebalances.keep(connection, prepared, response, answer, actor)
        if response.portfolio_id in self._refused:
            await connection.execute(b"SELECT 1 / 0")
        return kept


async def create_without_jobs(service: OpenService, asked: pb.CreateRebalanceBatchRequest) -> str:
    """A batch of one chunk that no worker of the service takes."""
    application, names = service.application, asked.portfolio_ids
    spec = checked(read_batch, asked, application.settings)
    async with application.database.transaction() as connection:
        pack = await PricingPackRepository(connection).latest(MODEL.names)
        batch = RebalanceBatch(
            id=str(uuid.uuid4()),
            request_id=None,
            content_hash=spec.content_hash,
            template=to_json(asked.template),
            summary_only=asked.summary_only,
            pricing_pack_id=pack.id,
            actor="test",
            portfolio_count=len(names),
            chunk_count=1,
        )
        await BatchRepository(connection).create(batch, names, len(names))
    return batch.id


def test_a_portfolio_that_kills_its_process_costs_the_others_nothing(service: OpenService) -> None:
    names, application = NAMES[30:36], service.application
    batch_id = service.run(create_without_jobs(service, request(names, summary_only=True)))
    pool: Any = DeadlyPool(application.pool, {names[1], names[4]})
    job = BatchJob(application.database, pool, application.rebalances(), application.changes)
    service.run(job.run(batch_id, 0, 0))
    found = items(service, batch_id)
    assert [item.portfolio_id for item in found if item.error] == [names[1], names[4]]
    assert {item.error for item in found if item.error} == {"the solver process died over this portfolio"}
    assert watch(service, batch_id)[-1].status == "completed"


@pytest.mark.parametrize("count", [1, 3])
def test_a_process_that_is_killed_costs_a_retry_and_no_answer(service: OpenService, count: int) -> None:
    names, application = NAMES[36 : 36 + count], service.application
    batch_id = service.run(create_without_jobs(service, request(names, summary_only=True)))
    pool: Any = DeadlyPool(application.pool, {names[0]}, deaths=2)
    service.run(BatchJob(application.database, pool, application.rebalances(), application.changes).run(batch_id, 0, 0))
    assert [item.error for item in items(service, batch_id)] == [""] * count


def test_a_plan_that_cannot_be_kept_leaves_nothing_and_costs_the_others_nothing(service: OpenService) -> None:
    names, application = NAMES[40:43], service.application
    batch_id = service.run(create_without_jobs(service, request(names)))
    rebalances: Any = Refusing(application.rebalances(), {names[1]})
    service.run(BatchJob(application.database, application.pool, rebalances, application.changes).run(batch_id, 0, 0))
    found = items(service, batch_id)
    assert [bool(item.rebalance_id) for item in found] == [True, False, True]
    assert found[1].error == "division by zero"
    assert watch(service, batch_id)[-1].failed_count == 1
    proposed = service.run(_proposals(service))
    assert [proposed.count(name) for name in names] == [1, 0, 1]


def test_what_cannot_be_planned_is_an_item_and_no_failure(service: OpenService) -> None:
    service.run(_put_odd(service))
    names = ("nobody", NAMES[0], "empty", "unpriced", NAMES[1])
    batch = watch(service, create(service, request(names, summary_only=True)).batch_id)[-1]
    assert (batch.status, batch.done_count, batch.failed_count) == ("completed", 5, 3)
    found = items(service, batch.batch_id)
    assert [bool(item.error) for item in found] == [True, False, True, True, False]
    assert found[0].error == "portfolio not found: nobody"
    assert "NEW" in found[3].error
    failed = items(service, batch.batch_id, size=1, only_failed=True)
    assert [item.portfolio_id for item in failed] == ["nobody", "empty", "unpriced"]
    assert items(service, create(service, request(names[1:2])).batch_id, only_failed=True) == []


async def _put_odd(service: OpenService) -> None:
    """A portfolio that is worth nothing, and one with something that has no price."""
    async with service.application.database.transaction() as connection:
        portfolios = PortfolioRepository(connection)
        plain = await portfolios.find(NAMES[0])
        await InstrumentRepository(connection).put([Instrument(id="NEW", name="", asset_class="equity", sector="")])
        await portfolios.put(replace(plain, id="empty", cash=_exact(0.0), holdings=(), lots=()))
        await portfolios.put(replace(plain, id="unpriced", holdings=(Holding("NEW", _exact(5.0)),), lots=()))


def test_the_same_key_gives_the_same_batch(service: OpenService) -> None:
    message = request(NAMES[:2], summary_only=True, request_id="once")
    first = create(service, message)
    watch(service, first.batch_id)
    again = create(service, message)
    assert (again.batch_id, again.status) == (first.batch_id, "completed")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        create(service, request(NAMES[:3], summary_only=True, request_id="once"))
    assert refused.value.code() == CODE.FAILED_PRECONDITION
    assert first.batch_id in refused.value.details()


def test_callers_with_the_same_key_at_the_same_time_get_the_same_batch(service: OpenService) -> None:
    message = request(NAMES[:2], summary_only=True, request_id="together")

    async def both() -> list[Any]:
        stub = RebalancingServiceStub(service.channel)
        return await asyncio.gather(*(stub.CreateRebalanceBatch(message, timeout=60.0) for _ in range(5)))

    assert len({answer.batch.batch_id for answer in service.run(both())}) == 1


def test_what_is_cancelled_keeps_what_is_done(service: OpenService) -> None:
    async def cancel() -> tuple[Any, Any]:
        stub = RebalancingServiceStub(service.channel)
        batch = (await stub.CreateRebalanceBatch(request(summary_only=True), timeout=60.0)).batch
        message = pb.CancelRebalanceBatchRequest(batch_id=batch.batch_id)
        async for step in stub.WatchRebalanceBatch(pb.WatchRebalanceBatchRequest(batch_id=batch.batch_id)):
            if step.batch.done_count or step.batch.status == "running":
                break
        return (await stub.CancelRebalanceBatch(message)).batch, (await stub.CancelRebalanceBatch(message)).batch

    cancelled, again = service.run(cancel())
    assert cancelled.status == again.status == "cancelled"
    assert cancelled.done_count == again.done_count < len(NAMES)
    # Whatever waits behind it in the queue is done, and finds it ended.
    completed(service, request(NAMES[:1], summary_only=True))
    batch = watch(service, cancelled.batch_id)[-1]
    assert (batch.status, batch.done_count) == ("cancelled", cancelled.done_count)
    assert len(items(service, batch.batch_id)) == batch.done_count
    assert not batch.HasField("completed_at")


@pytest.mark.parametrize(
    ("template", "code", "said"),
    [
        ({"target_type": "benchmark", "benchmark_id": "none"}, CODE.NOT_FOUND, "none"),
        ({"target_type": "benchmark", "benchmark_id": "series"}, CODE.FAILED_PRECONDITION, "series"),
        ({"target_type": "custom", "custom_target": {"GONE": 0.5}}, CODE.NOT_FOUND, "GONE"),
        ({"target_type": "custom", "custom_target": {"UNPRICED": 0.5}}, CODE.FAILED_PRECONDITION, "prices of UNPRICED"),
        ({"target_type": "equal_weight", "pricing_pack_id": "none"}, CODE.NOT_FOUND, "none"),
        ({"target_type": "policy", "policy_id": "none"}, CODE.NOT_FOUND, "none"),
        ({"target_type": "optimal"}, CODE.INVALID_ARGUMENT, "custom, benchmark"),
        ({}, CODE.INVALID_ARGUMENT, "target_type"),
    ],
)
def test_what_no_portfolio_could_be_planned_with_is_refused_at_once(
    service: OpenService, template: dict[str, Any], code: grpc.StatusCode, said: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        create(service, request(NAMES[:2], template))
    assert refused.value.code() == code
    assert said in (refused.value.details() or "")


def test_portfolios_named_twice_or_not_at_all_are_refused(service: OpenService) -> None:
    for names, said in (((), "at least 1"), (("a", "b", "a"), "repeats a"), (("",), "required")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            create(service, request(names))
        assert refused.value.code() == CODE.INVALID_ARGUMENT
        assert said in str(violations(refused.value))


@pytest.mark.parametrize("method", ["Get", "Cancel", "Watch", "List"])
def test_a_batch_that_is_not_there_is_not_found(service: OpenService, method: str) -> None:
    name = "ListRebalanceBatchItems" if method == "List" else f"{method}RebalanceBatch"

    def ask(batch_id: str) -> None:
        if method == "Watch":
            watch(service, batch_id)
        else:
            call(service, name, getattr(pb, f"{name}Request")(batch_id=batch_id))

    for batch_id, code in (("none", CODE.NOT_FOUND), ("", CODE.INVALID_ARGUMENT)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            ask(batch_id)
        assert refused.value.code() == code


def test_a_token_that_is_none_of_ours_is_refused(service: OpenService) -> None:
    batch = create(service, request(NAMES[:1], summary_only=True))
    for token in ("?", "eA==", "OTk5OTk5OTk5OTk5"):
        message = pb.ListRebalanceBatchItemsRequest(batch_id=batch.batch_id, page_token=token)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            call(service, "ListRebalanceBatchItems", message)
        assert refused.value.code() == CODE.INVALID_ARGUMENT
