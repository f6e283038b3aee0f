"""Receivers of events on this machine that answer as they are told: over HTTP, and over SMTP."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
DROP = b""
BANNER = b"SSH-2.0-a-secret-banner\r\n"
# Headers of an answer that never ends.
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(code: int, *headers: str) -> bytes:
    """An answer without content."""
    return "\r\n".join([f"HTTP/1.1 {code} So", "Content-Length: 0", *headers, "", ""]).encode()


@dataclass(frozen=True)
class Posted:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def delivery_id(self) -> str:
        return self.headers["x-portfolio-delivery"]

    @property
    def place(self) -> int:
        return int(json.loads(self.body)["sequence"])

    @property
    def portfolio_id(self) -> str:
        return json.loads(self.body)["portfolio_id"]


@dataclass
class HttpReceiver:
    """Takes one request over each connection.

    Attributes:
        answers: What the next requests get, in order; then OK.
        hold: Requests wait for this before they are answered.
        posted: The requests.
    """

    answers: list[bytes] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    posted: list[Posted] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        self.hold.set()
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0, ssl=self.tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hold.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        return self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://localhost:{self.port}/hook"

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.posted.append(Posted(head[0], headers, body))
            reply = self.answers.pop(0) if self.answers else OK
            await self.hold.wait()
            writer.write(reply)
            await writer.drain()
            while reply is ENDLESS and not writer.is_closing():
                writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                await writer.drain()
        writer.close()


Reply = str | Callable[[SMTP], str]


def drop(server: SMTP) -> str:
    """Instead of a reply, the connection is gone."""
    assert server.transport is not None
    server.transport.abort()
    return "421 never sent"


@dataclass
class MailReceiver:
    """A real mail server.

    Attributes:
        replies: What the next commands of each name get, in order; then they are taken.
        mails: What was taken, or was there when the connection broke.
        envelopes: Sender and receivers of each.
        hold: Commands wait for this before they are replied to.
    """

    replies: dict[str, list[Reply]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str | None, list[str]]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self.hold.set()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._conversation, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hold.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        return self._server.sockets[0].getsockname()[1]

    def _conversation(self) -> SMTP:
        loop = asyncio.get_running_loop()
        return SMTP(self, hostname="mail.example.org", loop=loop, enable_SMTPUTF8=False, **self.options)

    async def _reply(self, command: str, server: SMTP, taken: str) -> str:
        self.commands.append(command)
        await self.hold.wait()
        waiting = self.replies.get(command)
        if not waiting:
            return taken
        reply = waiting.pop(0)
        return reply if isinstance(reply, str) else reply(server)

    async def handle_MAIL(  # noqa: N802 - the library calls it so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return await self._reply("MAIL", server, "250 OK")

    async def handle_RCPT(  # noqa: N802 - the library calls it so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return await self._reply("RCPT", server, "250 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = await self._reply("DATA", server, "250 taken")
        if reply.startswith(("250", "421 never")):
            content = envelope.content
            assert isinstance(content, bytes)
            mail = message_from_bytes(content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
        return reply

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return await self._reply("QUIT", server, "221 bye")


def accept_login(user: str, password: str) -> Callable[..., AuthResult]:
    """Lets in who has this password."""

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        known = (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=known, handled=known)

    return authenticate


@dataclass(frozen=True)
class Certificate:
    """A certificate for localhost that is its own authority."""

    file: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Of a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


def make_certificate(directory: Path) -> Certificate:
    """A new one."""
    certificate = Certificate(directory / "localhost.pem", directory / "localhost.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", certificate.key, "-out", certificate.file, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate
