"""What is logged, and what never is."""

import logging
from collections.abc import Iterator

import httpx
import pytest
import structlog

from server.logs import configure_logging
from server.settings import Settings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What is configured for the whole process is not left to other tests."""
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    yield
    structlog.reset_defaults()
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


@pytest.mark.parametrize("level", ["debug", "info"])
def test_addresses_of_webhooks_are_not_logged(caplog: pytest.LogCaptureFixture, level: str) -> None:
    configure_logging(Settings(log_level=level))
    answer = httpx.MockTransport(lambda _: httpx.Response(204))
    with caplog.at_level(logging.DEBUG), httpx.Client(transport=answer) as client:
        client.post("https://hooks.example/services/SECRET?key=TOKEN")
    assert "SECRET" not in caplog.text
    assert "TOKEN" not in caplog.text
