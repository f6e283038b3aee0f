"""Sending alerts by e-mail: one conversation with the mail server for each."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

import aiosmtplib

from server.notifications.addresses import email_fault
from server.notifications.mail_text import compose
from server.notifications.outcome import DELIVERED, Outcome, printable
from storage.deliveries import Claim

_PERMANENT = 500
# Who may send, and how, is a matter of settings that may change (RFC 4954, 3207).
_OF_THE_SERVICE = frozenset({530, 534, 535, 538})
_TLS_PORT = 465
# The mail is taken already: how the server says goodbye is not worth a wait.
_GOODBYE_SECONDS = 1.0
# Mail servers turn away who calls more often at a time.
_AT_A_TIME = 4


@dataclass(frozen=True, slots=True)
class MailServer:
    """The mail server that takes alerts.

    Attributes:
        host: Its name; empty = there is none.
        port: Of the server; on 465 the connection is under TLS from the start.
        user: To log in with; empty = without.
        starttls: Whether the connection must be brought under TLS before anything is said.
        sender: Address that alerts come from.
        timeout_seconds: Longest conversation, > 0.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    starttls: bool
    sender: str
    timeout_seconds: float


class _Stage(Enum):
    """How far a conversation has come; what a break means depends on it."""

    CONNECT = "while it was called"
    ENVELOPE = "when it was told sender and receiver"
    CONTENT = "before it said whether it took the mail"


class MailChannel:
    """Sends alerts as mails.

    A mail is taken when the server says so after its end. When the connection breaks between the two, nobody can know:
    the mail is sent again with the same Message-ID, since one too many is better than none.
    """

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    async def send(self, claim: Claim) -> Outcome:
        """Send an alert once."""
        if fault := email_fault(claim.address):
            return Outcome(f"the address {fault}", final=True)
        if not self._server.host or not self._server.sender:
            return Outcome("no mail server and sender are set")
        conversation = _Conversation(self._server)
        try:
            # Within the time of the attempt: a mail that waits for its turn longer than that is claimed anew.
            async with asyncio.timeout(self._server.timeout_seconds), self._turns:
                await conversation.tell(claim)
        except aiosmtplib.SMTPResponseException as refusal:
            return _refused(refusal, conversation.stage)
        except (TimeoutError, aiosmtplib.SMTPTimeoutError):
            return Outcome(f"the mail server was silent {conversation.stage.value}")
        except (aiosmtplib.SMTPException, OSError):
            return Outcome(f"the mail server was lost {conversation.stage.value}")
        finally:
            await conversation.end()
        return DELIVERED


class _Conversation:
    """One mail over one connection."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self.stage = _Stage.CONNECT
        implicit = server.port == _TLS_PORT
        self._smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password or None,
            local_hostname=server.sender.rpartition("@")[2],
            timeout=server.timeout_seconds,
            use_tls=implicit,
            start_tls=server.starttls and not implicit,
        )

    async def tell(self, claim: Claim) -> None:
        """Returns when the server has taken the mail."""
        await self._smtp.connect()
        self.stage = _Stage.ENVELOPE
        await self._smtp.mail(self._server.sender)
        await self._smtp.rcpt(claim.address)
        self.stage = _Stage.CONTENT
        await self._smtp.data(compose(claim, self._server.sender).as_bytes())

    async def end(self) -> None:
        with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._smtp.quit()
        self._smtp.close()


def _refused(refusal: aiosmtplib.SMTPResponseException, stage: _Stage) -> Outcome:
    """A refusal of the mail with 5xx is final; one of the service itself is a matter of settings that may change."""
    own = stage is _Stage.CONNECT or refusal.code in _OF_THE_SERVICE
    final = refusal.code >= _PERMANENT and not own
    return Outcome(printable(f"the mail server said {refusal.code} {refusal.message}"), final=final)
