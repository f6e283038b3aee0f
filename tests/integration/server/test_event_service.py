"""Events over the wire: in order, from any place on, as they happen, none missed and none twice."""

import asyncio
from dataclasses import replace
from datetime import UTC
from uuid import uuid4

import pytest
from data_examples import store_instruments
from portfolio_optimization.v1 import events_pb2 as pb
from portfolio_optimization.v1 import optimization_pb2
from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceStub
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from refusals import refused

from server.application import Application
from server.convert.events import optimization_ended, portfolio_optimized
from storage.events import EventRepository
from storage.portfolios import PortfolioRepository
from storage.records import Event, OptimizationRequest, Portfolio

Events = EventServiceStub
SECONDS = 20.0


@pytest.fixture(autouse=True)
async def portfolios(application: Application, data: PortfolioDataServiceStub) -> None:
    """Two portfolios are there."""
    await store_instruments(data, "KO")
    async with application.database.transaction() as connection:
        for name in ("one", "two"):
            await PortfolioRepository(connection).put(Portfolio(id=name, name=name))


def ended(portfolio_id: str, status: str = "failed") -> Event:
    request = OptimizationRequest(
        id="o-1",
        portfolio_id=portfolio_id,
        optimization_type="mean_variance",
        objective="maximize_sharpe",
        risk_measure="volatility",
    )
    return optimization_ended(request, status, "no reason")


async def append(application: Application, *events: Event) -> list[Event]:
    """Each in a transaction of its own."""
    stored = []
    for event in events:
        async with application.database.transaction() as connection:
            stored.append(await EventRepository(connection).append(event))
    return stored


async def listed(events: Events, **request: object) -> tuple[list[int], int]:
    answer = await events.ListEvents(pb.ListEventsRequest(**request))
    return [event.sequence for event in answer.events], answer.last_sequence


async def test_an_event_says_what_happened(events: Events, application: Application) -> None:
    response = optimization_pb2.GetOptimizationResponse(target_allocation={"KO": 0.75, "CASH": 0.25})
    response.metrics.sharpe_ratio = 1.5
    response.certificate.iterations = 12
    request = OptimizationRequest(
        id="o-1", portfolio_id="one", optimization_type="mean_variance", objective="x", risk_measure="volatility"
    )
    (stored,) = await append(application, portfolio_optimized(request, response))
    (event,) = (await events.ListEvents(pb.ListEventsRequest())).events
    assert (event.event_id, event.sequence, event.portfolio_id) == (str(stored.id), stored.sequence, "one")
    assert event.timestamp.ToDatetime(UTC) == stored.created_at
    assert event.WhichOneof("payload") == "portfolio_optimized"
    payload = event.portfolio_optimized
    assert dict(payload.optimal_weights) == {"KO": 0.75, "CASH": 0.25}
    assert (payload.sharpe_ratio, payload.optimization_id, payload.portfolio_id) == (1.5, "o-1", "one")
    assert payload.optimization_metadata.iterations == 12
    assert payload.optimization_metadata.constraints_satisfied


async def test_a_type_of_a_later_version_comes_without_payload(events: Events, application: Application) -> None:
    await append(application, Event(portfolio_id="one", type="invented_later", payload={"a": 1}))
    await append(application, Event(portfolio_id="one", type="optimization_ended", payload={}))
    later, empty = (await events.ListEvents(pb.ListEventsRequest())).events
    assert later.WhichOneof("payload") is None
    assert empty.WhichOneof("payload") == "optimization_ended"


async def test_events_are_listed_from_a_place_on(events: Events, application: Application) -> None:
    assert await listed(events) == ([], 0)
    await append(
        application, ended("one"), ended("two"), ended("one"), Event(portfolio_id="two", type="drift_detected")
    )
    assert await listed(events) == ([1, 2, 3, 4], 4)
    assert await listed(events, page_size=3) == ([1, 2, 3], 3)
    assert await listed(events, after_sequence=3) == ([4], 4)
    assert await listed(events, after_sequence=4) == ([], 4)
    assert await listed(events, after_sequence=2**63 - 1) == ([], 2**63 - 1)


async def test_events_are_listed_by_portfolio_and_type(events: Events, application: Application) -> None:
    await append(
        application, ended("one"), ended("two"), ended("one"), Event(portfolio_id="two", type="drift_detected")
    )
    assert await listed(events, portfolio_id="one") == ([1, 3], 4)
    assert await listed(events, portfolio_id="one", page_size=1) == ([1], 1)
    assert await listed(events, types=["drift_detected"]) == ([4], 4)
    assert await listed(events, types=["optimization_ended", "drift_detected"], portfolio_id="two") == ([2, 4], 4)
    assert await listed(events, types=["portfolio_optimized"]) == ([], 4)
    assert await listed(events, portfolio_id="nobody") == ([], 4)


async def test_all_that_is_wrong_comes_at_once(events: Events) -> None:
    wrong = {"after_sequence": -1, "portfolio_id": "x" * 37, "types": ["portfolio_optimized", "sunrise"]}
    faults = await refused(events.ListEvents(pb.ListEventsRequest(**wrong)))
    assert set(faults) == {"after_sequence", "portfolio_id", "types[1]"}
    assert "rebalance_plan_proposed" in faults["types[1]"]
    assert await refused(events.StreamEvents(pb.StreamEventsRequest(**wrong)).read()) == faults
    assert list(await refused(events.ListEvents(pb.ListEventsRequest(page_size=-1)))) == ["page_size"]


class Follower:
    """A stream of events that is read when asked."""

    def __init__(self, events: Events, **request: object) -> None:
        self._call = events.StreamEvents(pb.StreamEventsRequest(**request))

    async def read(self, count: int) -> list[pb.Event]:
        async with asyncio.timeout(SECONDS):
            return [(await self._call.read()).event for _ in range(count)]

    async def nothing_for(self, seconds: float) -> bool:
        reading = asyncio.ensure_future(self._call.read())
        done, _ = await asyncio.wait({reading}, timeout=seconds)
        self._call.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        return not done

    def close(self) -> None:
        self._call.cancel()


async def test_a_stream_begins_with_what_has_happened_and_is_told_of_the_rest(
    events: Events, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.workflows.events._LOOK_SECONDS", 10 * SECONDS)
    await append(application, ended("one"), ended("two"))
    follower = Follower(events)
    assert [event.sequence for event in await follower.read(2)] == [1, 2]
    await append(application, ended("two"), ended("one"))
    late = await follower.read(2)
    assert [(event.sequence, event.portfolio_id) for event in late] == [(3, "two"), (4, "one")]
    follower.close()


async def test_a_stream_of_one_portfolio_and_type(events: Events, application: Application) -> None:
    follower = Follower(events, portfolio_id="one", types=["optimization_ended"])
    other = Event(portfolio_id="one", type="drift_detected")
    await append(application, ended("two"), other, ended("one"), ended("two"), ended("one"))
    assert [event.sequence for event in await follower.read(2)] == [3, 5]
    assert await follower.nothing_for(0.1)


async def test_a_stream_finds_events_without_being_told(
    events: Events, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.workflows.events._LOOK_SECONDS", 0.05)
    await application.events.close()
    follower = Follower(events)
    await append(application, ended("one"))
    assert [event.sequence for event in await follower.read(1)] == [1]
    await append(application, ended("two"))
    assert [event.sequence for event in await follower.read(1)] == [2]
    follower.close()


async def test_a_stream_goes_through_many_pages(
    events: Events, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.workflows.events._PAGE", 3)
    await append(application, *(ended("one") for _ in range(7)))
    follower = Follower(events, after_sequence=1)
    assert [event.sequence for event in await follower.read(6)] == [2, 3, 4, 5, 6, 7]
    follower.close()


async def test_whoever_comes_back_misses_none_and_sees_none_twice(events: Events, application: Application) -> None:
    """Events come from many writers at once while the reader breaks off again and again."""
    count, seen = 40, []
    share = [ended(name) for name in ("one", "two") for _ in range(count // 4)]
    writing = asyncio.gather(*(append(application, *(replace(event, id=uuid4()) for event in share)) for _ in range(4)))
    while len(seen) < 2 * count:
        follower = Follower(events, after_sequence=seen[-1] if seen else 0)
        seen += [event.sequence for event in await follower.read(min(7, 2 * count - len(seen)))]
        follower.close()
    await writing
    assert seen == sorted(seen)
    assert seen == (await listed(events, page_size=1000))[0]


async def test_events_of_a_portfolio_keep_their_order(events: Events, application: Application) -> None:
    follower = Follower(events, portfolio_id="one")
    await asyncio.gather(
        append(application, *(ended("one", f"{k}") for k in range(20))),
        append(application, *(ended("two") for _ in range(20))),
    )
    assert [event.optimization_ended.status for event in await follower.read(20)] == [f"{k}" for k in range(20)]
    follower.close()


async def test_a_reader_that_has_gone_is_forgotten(events: Events, application: Application) -> None:
    follower = Follower(events, portfolio_id="one")
    await append(application, ended("one"))
    await follower.read(1)
    assert set(application.events._subscriptions) == {"one"}
    follower.close()
    async with asyncio.timeout(SECONDS):
        while application.events._subscriptions:
            await asyncio.sleep(0.01)
