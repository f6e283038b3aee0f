"""Who is to be told of a plan before its execution is told: value, and until when it wants an answer."""

from __future__ import annotations

import json

from plan_examples import NOW, find_portfolio, portfolio, preferences, propose, store_portfolio

from server.settings import Settings
from server.workflows.plans import PlanWorkflow
from storage.database import Database
from storage.webhooks import Webhook, WebhookRepository
from tests.integration.server.delivery_examples import KEY, QUICK, delivering, ended
from tests.integration.server.receivers import HttpReceiver, MailReceiver

OWNER = "owner@example.org"


async def test_a_plan_is_told_by_mail_and_webhook_from_proposal_to_approval(
    plans: PlanWorkflow, database: Database, database_url: str
) -> None:
    told = preferences(alert_emails=[OWNER], approval_validity_hours=3.0)
    await store_portfolio(database, portfolio(preferences=told))
    assert (await find_portfolio(database)).preferences == told
    async with HttpReceiver() as hook, MailReceiver() as mailbox:
        async with database.transaction() as connection:
            types = ("rebalance_plan_status_changed",)
            await WebhookRepository(connection).create(Webhook(id="w", url=hook.url, types=types), KEY)
        plan = await propose(database)
        await plans.submit(plan, "please", "ann")
        await plans.approve(plan, "go", "ben")
        mail = {"smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_starttls": False}
        async with delivering(database, Settings(database_url=database_url, **QUICK, **mail)):
            rows = await ended(database)
    assert [(row.channel, row.status, row.attempts) for row in rows if row.channel == "email"] == [
        ("email", "delivered", 1)
    ] * 3
    subjects = [sent["Subject"] for sent in mailbox.mails]
    assert subjects == [
        "One: a rebalance plan was made and needs an approval",
        "One: a rebalance plan waits for an approval",
        "One: a rebalance plan is approved and will be executed",
    ]
    texts = [sent.get_content().splitlines() for sent in mailbox.mails]
    # 100 * 110 + 60 * 170 = 21200; three hours after NOW, counted anew at the approval, which is at the same moment.
    until = f"{NOW:%Y-%m-%d} {NOW.hour + 3}:00 UTC"
    for text in texts:
        assert f"Plan: {plan}" in text
        assert "Gross value: 21200.00 USD" in text
    assert [[line for line in text if until in line] for text in texts] == [
        [f"Approval needed until: {until}"],
        [f"Approval needed until: {until}"],
        [f"Approval lapses: {until}"],
    ]
    assert "By: ann" in texts[1]
    assert "Comment: go" in texts[2]
    posted = [json.loads(request.body)["rebalance_plan_status_changed"] for request in hook.posted]
    assert [change["transition"]["status"] for change in posted] == [
        "REBALANCE_PLAN_STATUS_PENDING_APPROVAL",
        "REBALANCE_PLAN_STATUS_APPROVED",
    ]
    assert {change["expires_at"] for change in posted} == {f"{NOW:%Y-%m-%d}T{NOW.hour + 3}:00:00Z"}


async def test_a_plan_that_is_rejected_is_told_to_webhooks_only(
    plans: PlanWorkflow, database: Database, database_url: str
) -> None:
    async with HttpReceiver() as hook:
        async with database.transaction() as connection:
            await WebhookRepository(connection).create(Webhook(id="w", url=hook.url), KEY)
        plan = await propose(database)
        await plans.submit(plan, "", "ann")
        await store_portfolio(database, portfolio(preferences=preferences(alert_emails=[OWNER])))
        await plans.reject(plan, "too much", "ben")
        async with delivering(database, Settings(database_url=database_url, **QUICK)):
            rows = await ended(database)
    assert {row.channel for row in rows} == {"webhook"}
    last = json.loads(hook.posted[-1].body)["rebalance_plan_status_changed"]
    assert last["transition"]["status"] == "REBALANCE_PLAN_STATUS_REJECTED"
    assert "expires_at" not in last
