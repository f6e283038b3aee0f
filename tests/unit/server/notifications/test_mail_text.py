"""Alerts as mails: in ASCII on the wire, whole for the reader, whatever names and texts say."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from uuid import UUID

import pytest

from server.notifications.mail_text import compose
from storage.deliveries import Claim
from storage.records import Event

DELIVERY = "12345678-1234-1234-1234-123456789abc"


def claim(
    name: str = "Family", address: str = "owner@example.org", kind: str = "drift_detected", **payload: object
) -> Claim:
    return Claim(
        id=DELIVERY,
        webhook_id=None,
        channel="email",
        receiver=f"mailto:{address}",
        address=address,
        attempts=1,
        signing_key=None,
        portfolio_name=name,
        currency="USD",
        event=Event(
            portfolio_id="family",
            type=kind,
            payload=payload,
            id=UUID(int=1),
            created_at=datetime(2022, 12, 28, 21, 0, tzinfo=UTC),
        ),
    )


@pytest.mark.parametrize("name", ["Family", "Zürcher Kantonalbank, Depot Müller & Söhne", "漢" * 100, "a" * 500, ""])
@pytest.mark.parametrize("domain", ["example.org", "a-rather-long-name-of-a-department." * 4 + "example.org"])
def test_a_mail_is_ascii_and_reads_as_it_was_meant(name: str, domain: str) -> None:
    data = compose(claim(name), f"service@{domain}").as_bytes()
    assert data.isascii()
    assert max(len(line) for line in data.split(b"\r\n")) <= 998
    assert b"\n" not in data.replace(b"\r\n", b"")
    read = message_from_bytes(data, policy=policy.default)
    assert read["Message-ID"] == f"<{DELIVERY}@{domain}>"
    assert f"Message-ID: <{DELIVERY}@{domain}>".encode() in data.replace(b"\r\n ", b" ")
    shown = (name or "family")[:97] if len(name) > 100 else name or "family"
    assert read["Subject"].startswith(shown)
    assert read["Subject"].endswith(": the weights have drifted from their target")
    assert read["Date"] == "Wed, 28 Dec 2022 21:00:00 +0000"
    assert "When: 2022-12-28 21:00 UTC" in read.get_content().splitlines()


def test_a_type_that_this_version_does_not_know_is_told_by_its_name() -> None:
    read = message_from_bytes(
        compose(claim(kind="invented_later", a=1), "service@example.org").as_bytes(), policy=policy.default
    )
    assert "Type: invented_later" in read.get_content().splitlines()


def test_a_long_list_is_cut() -> None:
    names = [f"NAME-{k}" for k in range(500)]
    mail = compose(claim(measures={"outside_band_5_25": names}), "service@example.org")
    assert "NAME-19 and 480 more" in mail.get_content()
    assert "NAME-20" not in mail.get_content()


def test_the_same_delivery_gives_the_same_mail() -> None:
    first, second = (compose(claim(), "service@example.org").as_bytes() for _ in range(2))
    assert first == second
