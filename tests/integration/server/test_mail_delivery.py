"""Alerts by e-mail, in real conversations with a mail server that takes, refuses, hangs and breaks off."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from delivery_examples import QUICK, SECONDS, deliveries, delivering, ended, event, happen, store_portfolios, until
from google.protobuf.timestamp_pb2 import Timestamp
from portfolio_optimization.v1 import drift_pb2
from portfolio_optimization.v1 import events_pb2 as pb
from portfolio_optimization.v1 import plan_workflow_pb2 as plans
from receivers import MailReceiver, accept_login, drop, make_certificate

from server.convert.answers import timestamp
from server.settings import Settings
from storage.database import Database
from storage.records import Event

OWNER = "owner@example.org"
EXPIRES = datetime(2023, 1, 2, 16, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def portfolios(database: Database) -> None:
    await store_portfolios(database, one={"alert_emails": [OWNER]})


@pytest.fixture
async def mailbox() -> AsyncIterator[MailReceiver]:
    async with MailReceiver() as receiver:
        yield receiver


@pytest.fixture
def settings(database_url: str, mailbox: MailReceiver) -> Settings:
    changes = {"smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_starttls": False}
    return Settings(database_url=database_url, **{**QUICK, **changes})


def changed(
    status: plans.RebalancePlanStatus = plans.REBALANCE_PLAN_STATUS_PENDING_APPROVAL,
    expires_at: Timestamp | None = None,
    **transition: object,
) -> Event:
    return event(
        rebalance_plan_status_changed=pb.RebalancePlanStatusChanged(
            rebalance_id="r-1",
            previous_status=plans.REBALANCE_PLAN_STATUS_PROPOSED,
            transition=plans.PlanTransition(status=status, **transition),
            gross_trade_amount="123456.78",
            expires_at=expires_at,
        )
    )


async def arrive(mailbox: MailReceiver, command: str) -> None:
    async with asyncio.timeout(SECONDS):
        while command not in mailbox.commands:
            await asyncio.sleep(0.005)


async def test_a_plan_that_waits_for_an_approval_is_told_with_value_and_time(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    (stored,) = await happen(database, changed(expires_at=timestamp(EXPIRES), actor="ann", comment="please, Zoë"))
    async with delivering(database, settings):
        (row,) = await ended(database)
    (mail,) = mailbox.mails
    assert mailbox.envelopes == [("service@portfolio.example", [OWNER])]
    assert (row.channel, row.address, row.status, row.attempts) == ("email", OWNER, "delivered", 1)
    assert (mail["From"], mail["To"]) == ("service@portfolio.example", OWNER)
    assert mail["Subject"] == "Account one: a rebalance plan waits for an approval"
    assert mail["Message-ID"] == f"<{row.id}@portfolio.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert abs(mail["Date"].datetime - stored.created_at).total_seconds() < 1
    assert mail.get_content_type() == "text/plain"
    text = mail.get_content()
    for line in (
        "Portfolio: Account one (one)",
        "What: a rebalance plan waits for an approval",
        "Plan: r-1",
        "Gross value: 123456.78 USD",
        "Approval needed until: 2023-01-02 16:30 UTC",
        "By: ann",
        "Comment: please, Zoë",
    ):
        assert line in text.splitlines()
    assert str(stored.id) in text
    assert row.id in text
    assert mailbox.commands == ["MAIL", "RCPT", "DATA", "QUIT"]


async def test_an_approved_plan_a_proposed_one_and_drift_have_words_of_their_own(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    proposed = pb.RebalancePlanProposed(
        rebalance_id="r-2", trade_count=3, gross_trade_amount="99.00", approval_required=True
    )
    drifted = pb.DriftDetected(
        pricing_pack_id="pp-1",
        settings=drift_pb2.DriftSettings(threshold=0.05),
        measures=drift_pb2.DriftMeasures(max_absolute=0.0625, outside_band_5_25=["KO", "XOM"]),
    )
    approved = changed(plans.REBALANCE_PLAN_STATUS_APPROVED, timestamp(EXPIRES))
    silent = changed(plans.REBALANCE_PLAN_STATUS_REJECTED)
    await happen(database, event(rebalance_plan_proposed=proposed), approved, silent, event(drift_detected=drifted))
    async with delivering(database, settings):
        await ended(database)
    first, second, third = mailbox.mails
    assert first["Subject"] == "Account one: a rebalance plan was made and needs an approval"
    assert "Trades: 3" in first.get_content().splitlines()
    assert "Approval needed until" not in first.get_content()
    assert second["Subject"] == "Account one: a rebalance plan is approved and will be executed"
    assert "Approval lapses: 2023-01-02 16:30 UTC" in second.get_content()
    assert third["Subject"] == "Account one: the weights have drifted from their target"
    lines = third.get_content().splitlines()
    assert "Largest difference of a weight: 6.25%" in lines
    assert "Threshold: 5.00%" in lines
    assert "Outside the 5/25 band: KO, XOM" in lines


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
async def test_a_refusal_for_now_is_tried_again(
    database: Database, settings: Settings, mailbox: MailReceiver, command: str
) -> None:
    mailbox.replies = {command: ["451 later", "421 busy"]}
    await happen(database, changed())
    async with delivering(database, settings):
        (row,) = await ended(database)
    assert (row.status, row.attempts, row.last_error, len(mailbox.mails)) == ("delivered", 3, "", 1)


@pytest.mark.parametrize(
    "reply", ["530 5.7.0 Authentication required", "535 5.7.8 bad credentials", "538 5.7.11 use TLS"]
)
async def test_a_refusal_of_the_service_itself_is_tried_again(
    database: Database, settings: Settings, mailbox: MailReceiver, reply: str
) -> None:
    mailbox.replies = {"MAIL": [reply]}
    await happen(database, changed())
    async with delivering(database, settings):
        (row,) = await ended(database)
    assert (row.status, row.attempts, len(mailbox.mails)) == ("delivered", 2, 1)


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
async def test_a_refusal_for_good_is_not(
    database: Database, settings: Settings, mailbox: MailReceiver, command: str
) -> None:
    mailbox.replies = {command: ["550 5.1.1 nobody of this name"]}
    await happen(database, changed(), changed())
    async with delivering(database, settings):
        second, first = await ended(database)
    reason = "the mail server said 550 5.1.1 nobody of this name"
    assert (first.status, first.attempts, first.last_error) == ("abandoned", 1, reason)
    assert (second.status, len(mailbox.mails)) == ("delivered", 1)


@pytest.mark.parametrize(
    ("command", "when"),
    [("MAIL", "when it was told sender and receiver"), ("RCPT", "when it was told sender and receiver")],
)
async def test_a_connection_that_breaks_before_the_mail_costs_an_attempt(
    database: Database, settings: Settings, mailbox: MailReceiver, command: str, when: str
) -> None:
    mailbox.replies = {command: [drop]}
    await happen(database, changed())
    slow = {"delivery_first_wait_seconds": 0.5, "delivery_longest_wait_seconds": 0.5}
    async with delivering(database, settings.model_copy(update=slow)):
        (row,) = await until(lambda rows: bool(rows[0].last_error), database)
        assert row.last_error == f"the mail server was lost {when}"
        (row,) = await ended(database)
    assert (row.status, row.attempts, len(mailbox.mails)) == ("delivered", 2, 1)


async def test_a_mail_whose_fate_is_unknown_is_sent_again_under_the_same_id_and_noted_once(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    """The server has the mail, and the connection breaks before it can say so: nobody can know on this side."""
    mailbox.replies = {"DATA": [drop]}
    await happen(database, changed())
    slow = {"delivery_first_wait_seconds": 0.5, "delivery_longest_wait_seconds": 0.5}
    async with delivering(database, settings.model_copy(update=slow)):
        (row,) = await until(lambda rows: bool(rows[0].last_error), database)
        assert row.last_error == "the mail server was lost before it said whether it took the mail"
        (row,) = await ended(database)
    assert (row.status, row.attempts) == ("delivered", 2)
    assert [mail["Message-ID"] for mail in mailbox.mails] == [f"<{row.id}@portfolio.example>"] * 2


async def test_a_mail_that_was_taken_is_not_sent_again_whatever_comes_after(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    mailbox.replies = {"QUIT": [drop, "500 what?"]}
    await happen(database, changed(), changed())
    async with delivering(database, settings):
        rows = await ended(database)
    assert [(row.status, row.attempts) for row in rows] == [("delivered", 1)] * 2
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == len(mailbox.mails) == 2


async def test_a_mail_server_that_is_silent_is_given_up(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    mailbox.hold.clear()
    await happen(database, changed())
    async with delivering(database, settings.model_copy(update={"smtp_timeout_seconds": 0.3})):
        (row,) = await until(lambda rows: bool(rows[0].last_error), database)
        assert row.last_error == "the mail server was silent when it was told sender and receiver"
        mailbox.hold.set()
        (row,) = await ended(database)
    assert (row.status, len(mailbox.mails)) == ("delivered", 1)


async def test_a_mail_that_is_being_sent_when_the_worker_stops_is_sent_once(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    mailbox.hold.clear()
    await happen(database, changed())
    async with delivering(database, settings) as worker:
        await arrive(mailbox, "MAIL")
        worker.cancel()
        asyncio.get_running_loop().call_later(0.1, mailbox.hold.set)
    (row,) = await deliveries(database)
    assert (row.status, row.attempts, len(mailbox.mails)) == ("delivered", 1, 1)


async def test_without_a_mail_server_alerts_wait_and_say_why(database: Database, settings: Settings) -> None:
    await happen(database, changed())
    async with delivering(database, settings.model_copy(update={"smtp_host": ""})):
        (row,) = await until(lambda rows: rows[0].attempts > 1, database)
    assert (row.status, row.last_error) == ("pending", "no mail server and sender are set")
    async with delivering(database, settings):
        assert [row.status for row in await ended(database)] == ["delivered"]


async def test_nobody_there_is_tried_again(database: Database, settings: Settings) -> None:
    async with MailReceiver() as gone:
        port = gone.port
    await happen(database, changed())
    async with delivering(database, settings.model_copy(update={"smtp_port": port, "delivery_attempts": 3})):
        (row,) = await ended(database)
    assert (row.status, row.attempts, row.last_error) == (
        "abandoned",
        3,
        "the mail server was lost while it was called",
    )


async def test_each_person_is_told_once_and_one_that_is_refused_holds_up_no_other(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    await store_portfolios(database, one={"alert_emails": [OWNER, "b@example.org", "no address", OWNER]})
    await happen(database, changed(), changed())
    async with delivering(database, settings):
        rows = await ended(database)
    told = {(row.address, row.status, row.attempts) for row in rows}
    assert told == {(OWNER, "delivered", 1), ("b@example.org", "delivered", 1), ("no address", "abandoned", 1)}
    assert sorted(receivers for _, receivers in mailbox.envelopes) == [["b@example.org"]] * 2 + [[OWNER]] * 2


async def test_a_mail_server_is_not_called_by_many_at_a_time(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    await store_portfolios(database, one={"alert_emails": [f"{k}@example.org" for k in range(20)]})
    mailbox.hold.clear()
    await happen(database, changed())
    async with delivering(database, settings):
        await arrive(mailbox, "MAIL")
        await asyncio.sleep(0.2)
        assert mailbox.commands == ["MAIL"] * 4
        mailbox.hold.set()
        rows = await ended(database)
    assert {(row.status, row.attempts) for row in rows} == {("delivered", 1)}
    assert sorted(receivers for _, receivers in mailbox.envelopes) == sorted([row.address] for row in rows)
    assert len(rows) == 20


async def test_nothing_is_said_in_the_clear_where_tls_is_required(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    await happen(database, changed())
    strict = {"smtp_starttls": True, "smtp_user": "me", "delivery_attempts": 2}
    async with delivering(database, settings.model_copy(update=strict)):
        (row,) = await ended(database)
    assert (row.status, row.last_error) == ("abandoned", "the mail server was lost while it was called")
    assert mailbox.commands == []


async def test_a_login_goes_over_tls_and_a_wrong_password_is_a_matter_of_settings(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    options = {
        "tls_context": certificate.context(),
        "require_starttls": True,
        "authenticator": accept_login("me", "the right one"),
        "auth_required": True,
    }
    async with MailReceiver(options=options) as secure:
        changes = {"smtp_host": "localhost", "smtp_port": secure.port, "smtp_starttls": True, "smtp_user": "me"}
        known = Settings(**{**QUICK, **changes, "smtp_password": "the wrong one"})
        await happen(database, changed())
        async with delivering(database, known):
            (row,) = await until(lambda rows: rows[0].attempts > 1, database)
        assert row.status == "pending"
        assert row.last_error.startswith("the mail server said 535")
        assert "wrong" not in row.last_error
        assert secure.commands == []
        right = Settings(**{**QUICK, **changes, "smtp_password": "the right one"})
        async with delivering(database, right):
            (row,) = await ended(database)
        assert (row.status, len(secure.mails)) == ("delivered", 1)


async def test_texts_of_others_cannot_add_headers_or_commands(
    database: Database, settings: Settings, mailbox: MailReceiver
) -> None:
    async with database.transaction() as connection:
        name = "Mine\r\nBcc: all@example.org\r\n\r\nhello ümlaut " + "x" * 300
        await connection.execute("UPDATE portfolios SET name = %s", [name])
    await happen(database, changed(actor="a\r\nBcc: b", comment="line\r\n.\r\nMAIL FROM:<c@d>"))
    async with delivering(database, settings):
        await ended(database)
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("Mine  Bcc: all@example.org    hello ümlaut xxx")
    assert mail["Subject"].endswith("...: a rebalance plan waits for an approval")
    assert "Comment: line  .  MAIL FROM:<c@d>" in mail.get_content().splitlines()
    assert mailbox.envelopes == [("service@portfolio.example", [OWNER])]
