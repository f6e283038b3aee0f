"""Schedules follow preferences by themselves; looks begin and end once; crossings of drift are remembered."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from storage_examples import PORTFOLIO, prices

from storage.database import Database
from storage.errors import NotFound
from storage.looks import (
    DriftState,
    DriftStateRepository,
    LookedSessions,
    LookRepository,
    PortfolioSchedule,
    ScheduledLook,
    ScheduleGroup,
    WaitingPortfolio,
)
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Portfolio

SET = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
OPENED = datetime(2026, 3, 3, 14, 30, tzinfo=UTC)
SESSION = date(2026, 3, 3)
DAILY = ScheduleGroup("XNYS", "daily")


def scheduled(identifier: str, schedule: str = "DAILY", exchange: str = "", moment: datetime = SET) -> Portfolio:
    rebalancing = {"schedule": f"REBALANCE_SCHEDULE_{schedule}"} | ({"exchange": exchange} if exchange else {})
    return Portfolio(id=identifier, name="", preferences={"rebalancing": rebalancing}, updated_at=moment)


async def put(database: Database, *portfolios: Portfolio) -> None:
    for portfolio in portfolios:
        async with database.transaction() as connection:
            await PortfolioRepository(connection).put(portfolio)


async def schedule_of(database: Database, portfolio_id: str) -> PortfolioSchedule | None:
    async with database.transaction() as connection:
        return await LookRepository(connection).find_schedule(portfolio_id)


async def test_a_schedule_is_what_the_preferences_say(filled: Database):
    await put(filled, scheduled("a"), scheduled("b", "WEEKLY", "XLON"), scheduled("c", "MANUAL"))
    assert await schedule_of(filled, "a") == PortfolioSchedule("a", "daily", "XNYS", SET)
    assert await schedule_of(filled, "b") == PortfolioSchedule("b", "weekly", "XLON", SET)
    assert await schedule_of(filled, "c") is None
    assert await schedule_of(filled, PORTFOLIO.id) is None
    async with filled.transaction() as connection:
        groups = await LookRepository(connection).groups()
    assert groups == (ScheduleGroup("XLON", "weekly"), DAILY)


async def test_its_moment_is_that_of_the_last_change_of_the_schedule(filled: Database):
    later = SET + timedelta(days=1)
    await put(filled, scheduled("a"), scheduled("a", moment=later))
    assert (await schedule_of(filled, "a")).since == SET
    latest = later + timedelta(days=1)
    await put(filled, scheduled("a", "MONTHLY", moment=latest))
    assert await schedule_of(filled, "a") == PortfolioSchedule("a", "monthly", "XNYS", latest)
    await put(filled, scheduled("a", "MANUAL"))
    assert await schedule_of(filled, "a") is None


async def test_preferences_written_alone_count_from_now(filled: Database):
    await put(filled, scheduled("a"))
    async with filled.transaction() as connection:
        await connection.execute(
            b"""UPDATE portfolios SET preferences = '{"rebalancing": {"schedule": "REBALANCE_SCHEDULE_QUARTERLY"}}'"""
            b" WHERE id = 'a'"
        )
        (now,) = await (await connection.execute(b"SELECT NOW()")).fetchone()
    assert await schedule_of(filled, "a") == PortfolioSchedule("a", "quarterly", "XNYS", now)


async def test_a_session_waits_for_portfolios_that_were_scheduled_before_it_opened(filled: Database):
    await put(filled, scheduled("a"), scheduled("late", moment=OPENED), scheduled("other", "WEEKLY"))
    async with filled.transaction() as connection:
        looks = LookRepository(connection)
        assert await looks.waiting(DAILY, SESSION, OPENED, 10) == (WaitingPortfolio("a", SET, None),)
        assert await looks.insert_pending(["a"], SESSION, OPENED) == ("a",)
        assert await looks.waiting(DAILY, SESSION, OPENED, 10) == ()
        following = await looks.waiting(DAILY, date(2026, 3, 4), OPENED + timedelta(days=1), 10)
    assert following == (WaitingPortfolio("a", SET, SESSION), WaitingPortfolio("late", OPENED, None))


async def test_who_comes_at_the_same_time_takes_the_others(filled: Database):
    await put(filled, *(scheduled(name) for name in "abcd"))
    async with filled.transaction() as first, filled.transaction() as second:
        one = await LookRepository(first).waiting(DAILY, SESSION, OPENED, 3)
        other = await LookRepository(second).waiting(DAILY, SESSION, OPENED, 3)
    assert [[row.portfolio_id for row in rows] for rows in (one, other)] == [["a", "b", "c"], ["d"]]


async def test_a_look_begins_and_ends_once(filled: Database):
    await put(filled, scheduled("a"))

    async def begin() -> tuple[str, ...]:
        async with filled.transaction() as connection:
            return await LookRepository(connection).insert_pending(["a"], SESSION, OPENED)

    async def end() -> bool:
        ended = ScheduledLook(portfolio_id="a", session=SESSION, status="done", note="looked", ended_at=OPENED)
        async with filled.transaction() as connection:
            return await LookRepository(connection).finish(ended)

    assert sorted(await asyncio.gather(*(begin() for _ in range(4)))) == [(), (), (), ("a",)]
    async with filled.transaction() as connection:
        looks = LookRepository(connection)
        assert await looks.sessions("a") == LookedSessions(SESSION, None, "")
        assert await looks.set_reached("a", SESSION, reached=True)
        assert not await looks.set_reached("a", SESSION, reached=False)
        assert (await looks.find("a", SESSION)).reached is True
    assert sorted(await asyncio.gather(*(end() for _ in range(4)))) == [False, False, False, True]
    async with filled.transaction() as connection:
        looks = LookRepository(connection)
        assert await looks.sessions("a") == LookedSessions(SESSION, SESSION, "looked")
        assert not await looks.set_reached("a", SESSION, reached=False)
        (look,) = await looks.of_portfolio("a")
    assert (look.status, look.note, look.created_at, look.ended_at) == ("done", "looked", OPENED, OPENED)


async def test_skipped_sessions_are_noted_beside_what_is_there(filled: Database):
    await put(filled, scheduled("a"), scheduled("b"))
    days = [SESSION - timedelta(days=1), SESSION]
    async with filled.transaction() as connection:
        looks = LookRepository(connection)
        await looks.insert_pending(["a"], SESSION, OPENED)
        await looks.insert_skipped({"a": days, "b": days[:1], "c": []}, "too late", OPENED)
        assert [(look.session, look.status) for look in await looks.of_portfolio("a")] == [
            (days[0], "skipped"),
            (SESSION, "pending"),
        ]
        (skipped,) = await looks.of_portfolio("b")
        assert await looks.sessions("b") == LookedSessions(days[0], None, "")
    assert (skipped.note, skipped.ended_at) == ("too late", OPENED)


async def test_what_is_not_there_is_said(filled: Database):
    async with filled.transaction() as connection:
        with pytest.raises(NotFound, match="scheduled look"):
            await LookRepository(connection).find("a", SESSION)
        with pytest.raises(NotFound, match="portfolio"):
            await DriftStateRepository(connection).place("a")


async def test_a_portfolio_is_measured_again_when_prices_or_itself_are_new(filled: Database):
    await put(filled, scheduled("a"), scheduled("b"))

    async def unmeasured(limit: int = 10, after: str = "") -> list[str]:
        async with filled.transaction() as connection:
            return [row.portfolio_id for row in await DriftStateRepository(connection).unmeasured(limit, after)]

    async def measure(portfolio_id: str) -> None:
        async with filled.transaction() as connection:
            states = DriftStateRepository(connection)
            place = await states.place(portfolio_id)
            await states.lock(portfolio_id)
            state = DriftState(portfolio_id, reached=True, told_pack_id=None, packs=place.packs)
            await states.put(state, place.portfolio_updated_at, OPENED)

    # The example portfolio has no preferences of rebalancing, so no target.
    assert await unmeasured() == ["a", "b"]
    assert (await unmeasured(1), await unmeasured(1, "a")) == (["a"], ["b"])
    await measure("a")
    await measure("b")
    assert await unmeasured() == []
    await put(filled, replace(scheduled("a"), updated_at=OPENED))
    assert await unmeasured() == ["a"]
    await measure("a")
    async with filled.transaction() as connection:
        await PricingPackRepository(connection).store(prices(), "test")
    assert await unmeasured() == ["a", "b"]


async def test_what_was_told_is_remembered(filled: Database):
    await put(filled, scheduled("a"))
    async with filled.transaction() as connection:
        pack = await PricingPackRepository(connection).store(prices(), "test")
        states = DriftStateRepository(connection)
        assert await states.lock("a") == DriftState("a", reached=False, told_pack_id=None, packs=-1)
        told = DriftState("a", reached=True, told_pack_id=pack.id, packs=1)
        await states.put(told, SET, OPENED, "why")
        assert await states.lock("a") == told
