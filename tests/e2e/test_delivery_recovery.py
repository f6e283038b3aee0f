"""A worker that is killed while it tells somebody: the next one tells again, and it is noted once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from conftest import Launcher
from portfolio_optimization.v1 import events_pb2 as pb
from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceStub
from running_service import RunningService, await_that, free_port

from storage.database import Database
from storage.events import EventRepository
from storage.portfolios import PortfolioRepository
from storage.records import Event

PORTFOLIO = "sample-growth"
QUICK = {"webhook_allow_loopback": True, "webhook_timeout_seconds": 1, "smtp_timeout_seconds": 1}


@dataclass
class Killer:
    """Kills a process the first time it is asked to.

    Attributes:
        ids: What has come, in order.
    """

    pid: int = 0
    ids: list[str] = field(default_factory=list)

    def came(self, identifier: str) -> None:
        self.ids.append(identifier)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = 0


@contextmanager
def http_receiver(killer: Killer) -> Iterator[int]:
    """Takes events; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            killer.came(self.headers["X-Portfolio-Delivery"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def mail_receiver(killer: Killer, port: int) -> Iterator[int]:
    """Takes mails; the port."""

    class Handler:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
            assert isinstance(envelope.content, bytes)
            killer.came(message_from_bytes(envelope.content)["Message-ID"])
            return "250 taken"

    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    yield port
    controller.stop()


async def drift(database_url: str, addresses: list[str]) -> None:
    """The portfolio drifts, and these people are to be told."""
    async with Database(database_url) as database, database.transaction() as connection:
        portfolios = PortfolioRepository(connection)
        known = await portfolios.find(PORTFOLIO)
        await portfolios.put(replace(known, preferences={"rebalancing": {"alert_emails": addresses}}))
        await EventRepository(connection).append(Event(portfolio_id=PORTFOLIO, type="drift_detected"))


def deliveries(service: RunningService) -> list[pb.Delivery]:
    return list(EventServiceStub(service.channel).ListDeliveries(pb.ListDeliveriesRequest()).deliveries)


def check_told_again(
    launcher: Launcher, directory: Path, killer: Killer, addresses: list[str], **settings: object
) -> str:
    """Kills a worker while it tells, and returns the delivery that another has ended."""
    database_url = str(settings["database_url"])
    service = launcher.serve(directory, "--no-worker", workers=1, **settings)
    if not addresses:
        webhook = pb.Webhook(url=f"http://127.0.0.1:{settings['port']}/", types=["drift_detected"])
        asked = pb.CreateWebhookRequest(webhook=webhook, signing_key="a key of sixteen characters or more")
        EventServiceStub(service.channel).CreateWebhook(asked)
    worker = launcher.work(directory, workers=1, **settings)
    killer.pid = worker.pid
    asyncio.run(drift(database_url, addresses))
    await_that(lambda: not worker.alive, "the worker is killed in the middle of an attempt")
    (row,) = deliveries(service)
    assert (row.status, row.attempts, len(killer.ids)) == ("pending", 1, 1)
    other = launcher.work(directory, workers=1, **settings)
    await_that(lambda: deliveries(service)[0].status != "pending", f"it is told again:\n{other.output}")
    (row,) = deliveries(service)
    assert (row.status, row.attempts) == ("delivered", 2)
    assert killer.ids[0] == killer.ids[1]
    assert len(killer.ids) == 2
    assert [running.stop() for running in (other, service)] == [0, 0]
    return row.delivery_id


def test_an_event_that_was_being_posted_is_posted_again(
    launcher: Launcher, open_directory: Path, database_url: str
) -> None:
    killer = Killer()
    with http_receiver(killer) as port:
        settings = {**QUICK, "database_url": database_url, "port": port}
        delivery = check_told_again(launcher, open_directory / "unused-1", killer, [], **settings)
    assert killer.ids == [delivery] * 2


def test_a_mail_that_was_being_sent_is_sent_again_under_its_id(
    launcher: Launcher, open_directory: Path, database_url: str
) -> None:
    """The server had the whole mail, and was to say that it takes it: one too many is better than none."""
    killer, port = Killer(), free_port()
    mail = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_starttls": False, "mail_sender": "a@portfolio.example"}
    with mail_receiver(killer, port):
        settings = {**QUICK, **mail, "database_url": database_url}
        delivery = check_told_again(launcher, open_directory / "unused-2", killer, ["o@example.org"], **settings)
    assert killer.ids == [f"<{delivery}@portfolio.example>"] * 2
