"""What is logged, and what never is."""

import logging

import httpx
import pytest

from server.logs import configure_logging
from server.settings import Settings


@pytest.mark.parametrize("level", ["debug", "info"])
def test_addresses_of_webhooks_are_not_logged(caplog: pytest.LogCaptureFixture, level: str) -> None:
    configure_logging(Settings(log_level=level))
    answer = httpx.MockTransport(lambda _: httpx.Response(204))
    with caplog.at_level(logging.DEBUG), httpx.Client(transport=answer) as client:
        client.post("https://hooks.example/services/SECRET?key=TOKEN")
    assert "SECRET" not in caplog.text
    assert "TOKEN" not in caplog.text
