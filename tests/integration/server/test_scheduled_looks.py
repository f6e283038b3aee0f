"""Scheduled looks and the drift monitor: each session once, whoever stops, dies or comes twice; time is an argument."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from portfolio_optimization.v1 import drift_pb2, plan_workflow_pb2, policies_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.errors import NotReady, WorkerLost
from server.jobs.drift import DriftMonitor
from server.jobs.queue import JobQueue
from server.jobs.schedules import LookActions, ScheduleJob
from server.schedules import CalendarShelf, LookDates, next_look
from server.settings import Settings
from storage.database import Database
from storage.errors import Conflict, Unavailable
from storage.events import EventRepository
from storage.instruments import InstrumentRepository
from storage.looks import LookRepository, ScheduledLook
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Event, Instrument, Portfolio, PriceTable

P = policies_pb2
# A Monday; New York opens at 14:30 UTC in winter.
MONDAY = datetime(2026, 1, 12, 14, 30, tzinfo=UTC)
BEFORE = MONDAY - timedelta(minutes=1)
DAY = timedelta(days=1)


class World:
    """A database, a clock, and actions that remember what they were asked."""

    def __init__(self, database: Database, queue: JobQueue) -> None:
        self.database, self.queue, self.now = database, queue, BEFORE
        self.calendars = CalendarShelf(Settings(load_sample=False))
        self.reached: dict[str, bool | Exception] = {}
        self.pack_id = ""
        self.measured: list[str] = []
        self.plans: list[pb.RebalancePlanRequest] = []
        self.submitted: list[tuple[str, str]] = []
        self.job = ScheduleJob(database, queue, self.calendars, self.actions(), self.clock)
        self.monitor = DriftMonitor(database, queue, self.measure, self.clock)

    def actions(self, **changes: Callable[..., Awaitable[object]]) -> LookActions:
        return LookActions(**{"measure": self.measure, "plan": self.plan, "submit": self.submit} | changes)

    def clock(self) -> datetime:
        return self.now

    async def measure(self, portfolio_id: str) -> drift_pb2.GetDriftResponse:
        self.measured.append(portfolio_id)
        reached = self.reached.get(portfolio_id, False)
        if isinstance(reached, Exception):
            raise reached
        return drift_pb2.GetDriftResponse(
            portfolio_id=portfolio_id,
            pricing_pack_id=self.pack_id,
            settings=drift_pb2.DriftSettings(measure=drift_pb2.DRIFT_MEASURE_MAX_ABSOLUTE, threshold=0.05),
            measures=drift_pb2.DriftMeasures(max_absolute=0.0625 if reached else 0.03125),
            rebalance_needed=reached,
        )

    async def plan(self, request: pb.RebalancePlanRequest) -> pb.RebalancePlanResponse:
        self.plans.append(request)
        return pb.RebalancePlanResponse(trades=[{"instrument_id": "A", "action": "sell"}])

    async def submit(self, rebalance_id: str, comment: str) -> plan_workflow_pb2.PlanWorkflow:
        self.submitted.append((rebalance_id, comment))
        return plan_workflow_pb2.PlanWorkflow(status=plan_workflow_pb2.REBALANCE_PLAN_STATUS_PENDING_APPROVAL)

    async def schedule(self, portfolio_id: str, schedule: int = P.REBALANCE_SCHEDULE_DAILY, **fields: object) -> None:
        stored = {"schedule": P.RebalanceSchedule.Name(schedule), **fields}
        moment = self.now + timedelta(microseconds=len(self.measured))
        portfolio = Portfolio(id=portfolio_id, name="", preferences={"rebalancing": stored}, updated_at=moment)
        async with self.database.transaction() as connection:
            await PortfolioRepository(connection).put(portfolio)

    async def prices(self, close: float) -> None:
        """A new pack."""
        days = np.array(["2026-01-08", "2026-01-09"], dtype="datetime64[D]")
        async with self.database.transaction() as connection:
            await InstrumentRepository(connection).put([Instrument(id="A", name="", asset_class="", sector="")])
            table = PriceTable(("A",), days, np.array([[1.0], [close]]))
            self.pack_id = (await PricingPackRepository(connection).store(table, "test")).id

    async def jobs(self) -> list[tuple[str, dict[str, str]]]:
        """The jobs that wait."""
        async with self.database.transaction() as connection:
            rows = await connection.execute(
                b"SELECT task_name, args FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id"
            )
            return [(task, args) for task, args in await rows.fetchall()]

    async def work(self) -> None:
        """Do all looks that wait, as a worker would."""
        for _, args in await self.jobs():
            await self.job.run(args["portfolio_id"], date.fromisoformat(args["session"]), 0)
        async with self.database.transaction() as connection:
            await connection.execute(b"DELETE FROM procrastinate_jobs")

    async def looks(self, portfolio_id: str) -> tuple[ScheduledLook, ...]:
        async with self.database.transaction() as connection:
            return await LookRepository(connection).of_portfolio(portfolio_id)

    async def statuses(self, portfolio_id: str) -> list[tuple[str, str]]:
        return [(look.session.isoformat(), look.status) for look in await self.looks(portfolio_id)]

    async def events(self) -> tuple[Event, ...]:
        async with self.database.transaction() as connection:
            return await EventRepository(connection).after(0, 100)

    async def next(self, portfolio_id: str) -> LookDates:
        async with self.database.transaction() as connection:
            return await next_look(connection, portfolio_id, self.now, self.calendars)


@pytest.fixture
async def world(database: Database, database_url: str):
    queue = JobQueue(database_url)
    await queue.open()
    world = World(database, queue)
    await world.prices(2.0)
    yield world
    await queue.close()


async def test_a_session_is_looked_at_once_it_has_opened(world: World):
    await world.schedule("a")
    await world.job.scan()
    assert await world.jobs() == []
    world.now = MONDAY
    await world.job.scan()
    await world.job.scan()
    assert await world.jobs() == [("look", {"portfolio_id": "a", "session": "2026-01-12"})]
    await world.work()
    await world.job.scan()
    assert await world.jobs() == []
    (look,) = await world.looks("a")
    assert (look.status, look.reached, look.note) == ("done", False, "the drift is below its threshold")
    assert world.measured == ["a"]


async def test_a_session_that_had_opened_before_the_schedule_was_set_is_none_of_its_business(world: World):
    world.now = MONDAY
    await world.schedule("a")
    world.now += timedelta(hours=2)
    await world.job.scan()
    assert await world.jobs() == []
    world.now = MONDAY + DAY
    await world.job.scan()
    assert await world.statuses("a") == [("2026-01-13", "pending")]


async def test_workers_at_the_same_time_begin_each_look_once(world: World):
    names = [f"p{k:03d}" for k in range(230)]
    for name in names:
        await world.schedule(name)
    world.now = MONDAY
    others = [ScheduleJob(world.database, world.queue, world.calendars, world.actions(), world.clock) for _ in "abc"]
    await asyncio.gather(*(job.scan() for job in (world.job, *others)))
    assert sorted(args["portfolio_id"] for _, args in await world.jobs()) == names


async def test_a_look_by_two_workers_at_the_same_time_counts_once(world: World):
    world.reached["a"] = True
    await world.schedule("a", scheduled_action="SCHEDULED_ACTION_ALERT")
    world.now = MONDAY
    await world.job.scan()
    await asyncio.gather(*(world.job.run("a", date(2026, 1, 12), 0) for _ in range(4)))
    assert [event.type for event in await world.events()] == ["drift_detected"]
    assert await world.statuses("a") == [("2026-01-12", "done")]


async def test_after_a_stop_of_five_days_the_newest_session_answers_all(world: World):
    await world.schedule("a")
    world.now = MONDAY
    await world.job.scan()
    await world.work()
    # Martin Luther King day is no session.
    world.now = datetime(2026, 1, 20, 15, 0, tzinfo=UTC)
    await world.job.scan()
    await world.work()
    missed = [
        ("2026-01-13", "skipped"),
        ("2026-01-14", "skipped"),
        ("2026-01-15", "skipped"),
        ("2026-01-16", "skipped"),
    ]
    assert await world.statuses("a") == [("2026-01-12", "done"), *missed, ("2026-01-20", "done")]
    assert {look.note for look in (await world.looks("a"))[1:5]} == {
        "nobody looked in time; the look of 2026-01-20 answers this session too"
    }
    assert world.measured == ["a", "a"]


async def test_a_first_look_after_a_stop_skips_what_was_due_since_the_schedule_was_set(world: World):
    await world.schedule("a")
    world.now = MONDAY + 2 * DAY
    await world.job.scan()
    assert await world.statuses("a") == [
        ("2026-01-12", "skipped"),
        ("2026-01-13", "skipped"),
        ("2026-01-14", "pending"),
    ]


async def test_a_schedule_of_long_ago_is_no_burden(world: World):
    world.now = datetime(1970, 1, 1, tzinfo=UTC)
    await world.schedule("a")
    world.now = MONDAY
    await world.job.scan()
    statuses = await world.statuses("a")
    assert statuses[-1] == ("2026-01-12", "pending")
    assert 250 < len(statuses) < 300


@pytest.mark.parametrize(
    ("schedule", "sessions"),
    [
        (P.REBALANCE_SCHEDULE_WEEKLY, ["2026-01-12", "2026-01-20", "2026-01-26", "2026-02-02"]),
        (P.REBALANCE_SCHEDULE_MONTHLY, ["2026-02-02"]),
        (P.REBALANCE_SCHEDULE_QUARTERLY, []),
        (P.REBALANCE_SCHEDULE_MANUAL, []),
    ],
)
async def test_longer_periods_begin_with_their_first_session(world: World, schedule: int, sessions: list[str]):
    await world.schedule("a", schedule)
    for day in range(24):
        world.now = MONDAY + day * DAY
        await world.job.scan()
    assert [day for day, _ in await world.statuses("a")] == sessions


async def test_every_exchange_has_hours_of_its_own(world: World):
    world.now = datetime(2026, 1, 11, 20, 0, tzinfo=UTC)
    for name, exchange in (("tokyo", "XTKS"), ("london", "XLON"), ("nowhere", "XXXX")):
        await world.schedule(name, exchange=exchange)
    await world.schedule("york")
    found = {}
    for hour in range(24):
        world.now += timedelta(hours=1)
        await world.job.scan()
        for name in ("tokyo", "london", "york", "nowhere"):
            if name not in found and await world.statuses(name):
                found[name] = (world.now.hour, (await world.statuses(name))[0][0])
        assert hour >= 0
    # Monday is a holiday in Tokyo, and Tuesday has not begun there before midnight UTC.
    assert found == {"london": (8, "2026-01-12"), "york": (15, "2026-01-12")}


async def test_a_drift_that_is_reached_is_told_planned_and_submitted_as_the_owner_wants(world: World):
    actions = {"alert": "ALERT", "propose": "PROPOSE", "submit": "SUBMIT"}
    for name, action in actions.items():
        world.reached[name] = True
        await world.schedule(name, scheduled_action=f"SCHEDULED_ACTION_{action}")
    world.reached["plain"] = True
    await world.schedule("plain")
    world.now = MONDAY
    await world.job.scan()
    await world.work()
    assert sorted(event.portfolio_id for event in await world.events()) == ["alert", "plain", "propose", "submit"]
    assert {event.type for event in await world.events()} == {"drift_detected"}
    assert (await world.events())[0].payload["measures"] == {"max_absolute": 0.0625}
    assert sorted(request.portfolio_id for request in world.plans) == ["plain", "propose", "submit"]
    assert {request.reason for request in world.plans} == {"scheduled look of 2026-01-12"}
    assert world.submitted == [("", "scheduled look of 2026-01-12")]
    (look,) = await world.looks("submit")
    assert look.note == "a plan was proposed and submitted: pending approval"


async def test_the_same_session_makes_the_same_request_and_another_one_another(world: World):
    world.reached["a"] = True
    await world.schedule("a")
    for day in (0, 1):
        world.now = MONDAY + day * DAY
        await world.job.scan()
        await world.work()
    first, second = world.plans
    assert first.request_id != second.request_id
    assert len(first.request_id) == 36
    # What a worker would send that takes the first look up again.
    await world.job._act(ScheduledLook(portfolio_id="a", session=MONDAY.date()), submit=False)
    assert world.plans[2] == first


@pytest.mark.parametrize("step", ["measure", "plan", "submit"])
async def test_a_worker_that_dies_on_the_way_costs_a_retry_and_nothing_twice(world: World, step: str):
    world.reached["a"] = True
    await world.schedule("a", scheduled_action="SCHEDULED_ACTION_SUBMIT")
    world.now = MONDAY
    await world.job.scan()
    died = []

    async def dies(*arguments: object) -> object:
        if not died:
            died.append(step)
            raise Unavailable("gone")
        return await getattr(World, step)(world, *arguments)

    world.job = ScheduleJob(world.database, world.queue, world.calendars, world.actions(**{step: dies}), world.clock)
    with pytest.raises(Unavailable):
        await world.job.run("a", MONDAY.date(), 0)
    assert await world.statuses("a") == [("2026-01-12", "pending")]
    # What was found counts, even when another measurement would find something else.
    world.reached["a"] = step == "measure"
    await world.work()
    assert await world.statuses("a") == [("2026-01-12", "done")]
    assert [event.type for event in await world.events()] == ["drift_detected"]
    assert len({request.request_id for request in world.plans}) == 1
    assert len(world.submitted) == 1


async def test_what_cannot_be_measured_or_planned_fails_and_says_why(world: World):
    world.reached = {"a": NotReady("portfolio a has no target"), "b": True}
    await world.schedule("a")
    await world.schedule("b")
    world.now = MONDAY

    async def refuses(request: pb.RebalancePlanRequest) -> pb.RebalancePlanResponse:
        raise Conflict(f"{request.portfolio_id} has another plan")

    world.job = ScheduleJob(world.database, world.queue, world.calendars, world.actions(plan=refuses), world.clock)
    await world.job.scan()
    await world.work()
    assert [(look.status, look.note) for name in "ab" for look in await world.looks(name)] == [
        ("failed", "portfolio a has no target"),
        ("failed", "b has another plan"),
    ]


async def test_a_solver_that_dies_again_and_again_ends_the_look(world: World):
    world.reached["a"] = WorkerLost("died")
    await world.schedule("a")
    world.now = MONDAY
    await world.job.scan()
    with pytest.raises(WorkerLost):
        await world.job.run("a", MONDAY.date(), 3)
    await world.job.run("a", MONDAY.date(), 4)
    (look,) = await world.looks("a")
    assert (look.status, "attempt 5" in look.note) == ("failed", True)


async def test_a_schedule_that_is_taken_away_stops_looks_that_wait(world: World):
    world.reached["a"] = True
    await world.schedule("a")
    world.now = MONDAY
    await world.job.scan()
    await world.schedule("a", P.REBALANCE_SCHEDULE_MANUAL)
    await world.work()
    assert await world.statuses("a") == [("2026-01-12", "skipped")]
    assert (world.measured, await world.events()) == ([], ())


async def test_the_dates_of_looks_are_known(world: World):
    await world.schedule("a", P.REBALANCE_SCHEDULE_WEEKLY)
    await world.schedule("b", P.REBALANCE_SCHEDULE_MANUAL)
    await world.schedule("c", exchange="XXXX")
    assert await world.next("a") == LookDates(date(2026, 1, 12), None)
    assert await world.next("b") == await world.next("c") == LookDates(None, None)
    world.now = MONDAY + timedelta(hours=1)
    # Due, and not begun.
    assert await world.next("a") == LookDates(date(2026, 1, 12), None)
    await world.job.scan()
    assert await world.next("a") == LookDates(date(2026, 1, 20), None)
    await world.work()
    note = "the drift is below its threshold"
    assert await world.next("a") == LookDates(date(2026, 1, 20), date(2026, 1, 12), note)


async def test_a_crossing_is_told_once_and_again_only_after_it_was_below(world: World):
    await world.schedule("a", P.REBALANCE_SCHEDULE_MANUAL)
    told = []
    for close, reached in enumerate([False, True, True, False, False, True], start=3):
        world.reached["a"] = reached
        await world.prices(float(close))
        await world.monitor.run(0)
        await world.monitor.run(0)
        told.append(len(await world.events()))
    assert told == [0, 1, 1, 1, 1, 2]
    assert len(world.measured) == 6


async def test_the_monitor_measures_again_what_has_changed(world: World):
    world.reached["a"] = True
    await world.schedule("a", P.REBALANCE_SCHEDULE_MANUAL)
    await world.monitor.run(0)
    world.reached["a"] = False
    await world.monitor.run(0)
    assert len(world.measured) == 1
    await world.schedule("a", P.REBALANCE_SCHEDULE_MANUAL)
    await world.monitor.run(0)
    world.reached["a"] = True
    await world.schedule("a", P.REBALANCE_SCHEDULE_MANUAL)
    await world.monitor.run(0)
    assert (len(world.measured), len(await world.events())) == (3, 2)


async def test_monitors_at_the_same_time_tell_once(world: World):
    names = [f"p{k}" for k in range(20)]
    for name in names:
        world.reached[name] = True
        await world.schedule(name, P.REBALANCE_SCHEDULE_MANUAL)
    await asyncio.gather(*(world.monitor.run(0) for _ in range(4)))
    assert sorted(event.portfolio_id for event in await world.events()) == sorted(names)


async def test_a_pass_goes_on_behind_what_cannot_be_measured(world: World):
    world.reached = {"a": NotReady("no target"), "b": True}
    for name in "ab":
        await world.schedule(name, P.REBALANCE_SCHEDULE_MANUAL)
    await world.monitor.run(0)
    await world.monitor.run(0)
    assert world.measured == ["a", "b"]
    assert [event.portfolio_id for event in await world.events()] == ["b"]


async def test_a_pass_that_is_interrupted_goes_on_with_the_rest(world: World):
    world.reached = {"a": True, "b": Unavailable("gone"), "c": True}
    for name in "abc":
        await world.schedule(name, P.REBALANCE_SCHEDULE_MANUAL)
    with pytest.raises(Unavailable):
        await world.monitor.run(0)
    world.reached["b"] = True
    await world.monitor.run(0)
    assert world.measured == ["a", "b", "b", "c"]
    assert [event.portfolio_id for event in await world.events()] == ["a", "b", "c"]


async def test_a_portfolio_that_kills_its_solver_again_and_again_is_left_alone(world: World):
    world.reached = {"a": WorkerLost("died"), "b": True}
    for name in "ab":
        await world.schedule(name, P.REBALANCE_SCHEDULE_MANUAL)
    for attempt in range(4):
        with pytest.raises(WorkerLost):
            await world.monitor.run(attempt)
    await world.monitor.run(4)
    assert [event.portfolio_id for event in await world.events()] == ["b"]


async def test_one_pass_waits_at_a_time_and_none_without_news(world: World):
    await world.monitor.begin()
    assert await world.jobs() == []
    await world.schedule("a", P.REBALANCE_SCHEDULE_MANUAL)
    await asyncio.gather(*(world.monitor.begin() for _ in range(3)))
    assert [task for task, _ in await world.jobs()] == ["measure_drift"]


async def test_a_look_tells_a_lasting_drift_on_new_prices_and_never_what_the_monitor_told(world: World):
    world.reached["a"] = True
    await world.schedule("a", scheduled_action="SCHEDULED_ACTION_ALERT")
    told = []
    for day, news in ((0, False), (1, False), (2, True)):
        world.now = MONDAY + day * DAY
        if news:
            await world.prices(3.0)
        if day == 0:
            await world.monitor.run(0)
        await world.job.scan()
        await world.work()
        told.append(len(await world.events()))
    assert told == [1, 1, 2]
    await world.monitor.run(0)
    assert len(await world.events()) == 2
