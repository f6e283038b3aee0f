"""How the service starts and ends: signals, a second start, addresses that are taken, settings that are wrong."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from conftest import Launcher
from running_service import RunningService, environment, free_port, run_command
from sample_calls import find, optimize, sharpe_request

from server.settings import Settings


def test_signals_end_everything_and_nothing_is_forgotten(launcher: Launcher, data_directory: Path) -> None:
    first = launcher.serve(data_directory, workers=1)
    answer = optimize(first, sharpe_request())
    assert first.stop(signal.SIGTERM) == 0
    second = launcher.serve(data_directory, workers=1)
    assert find(second, answer.optimization_id) == answer
    assert second.stop(signal.SIGINT) == 0
    assert "draining" in first.output
    assert "Traceback" not in first.output + second.output


def test_a_second_start_on_the_same_data_names_the_first(launcher: Launcher, service: RunningService) -> None:
    second = launcher.start_serving(service.data_directory)
    assert second.wait() != 0
    assert f"is already being run by process {service.pid}" in second.output
    assert "Traceback" not in second.output
    assert optimize(service, sharpe_request()).status == "completed"


@pytest.mark.parametrize("setting", ["grpc_address", "metrics_address"])
def test_an_address_that_is_taken_is_named(launcher: Launcher, service: RunningService, setting: str) -> None:
    taken = getattr(service, "address" if setting == "grpc_address" else setting)
    settings = {"database_url": service.database_url, "workers": 1, setting: taken}
    refused = launcher.start_serving(service.data_directory, **settings)
    assert refused.wait() != 0
    assert f"cannot listen on {taken}" in refused.output
    assert "Traceback" not in refused.output


def test_help_lists_every_setting(command_environment: dict[str, str]) -> None:
    helped = run_command("--help", environment=command_environment)
    assert helped.code == 0
    missing = [name for name in Settings.model_fields if f"PORTFOLIO_{name.upper()} " not in helped.output]
    assert missing == []


def test_settings_that_are_wrong_are_all_named_at_start(command_environment: dict[str, str]) -> None:
    values = {"WORKERS": "many", "GRPC_ADDRESS": "here", "LOG_LEVEL": "loud"}
    wrong = command_environment | {f"PORTFOLIO_{name}": value for name, value in values.items()}
    refused = run_command("serve", environment=wrong)
    assert refused.code != 0
    assert [name for name, value in values.items() if f"PORTFOLIO_{name}='{value}'" not in refused.output] == []
    assert "Traceback" not in refused.output


def test_a_database_that_does_not_answer_is_said_plainly(open_directory: Path) -> None:
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    refused = run_command("migrate", environment=environment(open_directory / "unused", database_url=nowhere))
    assert refused.code != 0
    assert "127.0.0.1" in refused.output
    assert "Traceback" not in refused.output
