"""Commands beside a running service: migrate, import and demo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from portfolio_optimization.v1 import optimization_pb2 as pb
from running_service import RunningService, environment, run_command
from sample_calls import check_weights, optimize

NAMES = ("ALPHA", "BETA", "GAMMA")


def test_migrating_beside_a_running_service_changes_nothing(service: RunningService) -> None:
    done = run_command("migrate", environment=environment(service.data_directory))
    assert (done.code, done.output) == (0, "the database is up to date\n")
    assert service.alive


def written_data(directory: Path) -> dict[str, Path]:
    """Files with instruments, 100 days of prices, and a portfolio."""
    instruments = "id,sector\n" + "".join(f"{name},Sector of {name}\n" for name in NAMES)
    returns = np.random.default_rng(7).normal(0.0005, 0.01, (100, len(NAMES)))
    closes = 100.0 * np.cumprod(1.0 + returns, axis=0)
    days = np.busday_offset("2024-01-01", range(100), roll="forward")
    rows = (f"{day},{','.join(map(repr, row.tolist()))}\n" for day, row in zip(days, closes, strict=True))
    portfolio = {
        "id": "own",
        "cash": "100",
        "holdings": [{"instrument_id": name, "quantity": "10"} for name in NAMES],
    }
    texts = {
        "instruments": instruments,
        "prices": f"date,{','.join(NAMES)}\n" + "".join(rows),
        "portfolio": json.dumps(portfolio),
    }
    files = {what: directory / f"{what}.{'json' if what == 'portfolio' else 'csv'}" for what in texts}
    for what, text in texts.items():
        files[what].write_text(text, encoding="utf-8")
    return files


def test_imported_data_can_be_optimized_at_once(service: RunningService, tmp_path: Path) -> None:
    settings = environment(service.data_directory)
    for what, file in written_data(tmp_path).items():
        done = run_command("import", what, str(file), environment=settings)
        assert done.code == 0, done.output
    request = pb.CreateOptimizationRequest(portfolio_id="own", optimization_type="minimum_variance")
    answer = optimize(service, request)
    assert answer.status == "completed"
    assert set(answer.target_allocation) <= {*NAMES, "CASH"}
    check_weights(answer.target_allocation)


def test_policies_are_loaded_once(service: RunningService, tmp_path: Path) -> None:
    file = tmp_path / "policies.json"
    policies = [{"id": "own", "max_turnover_pct": 0.1}]
    file.write_text(json.dumps({"schema_version": "1.0", "policies": policies}), encoding="utf-8")
    settings = environment(service.data_directory)
    first, again = (run_command("load-policies", str(file), environment=settings) for _ in range(2))
    assert (first.code, again.code) == (0, 0), first.output
    assert "1 new versions, 0 unchanged" in first.output
    assert "was stored before, nothing written" in again.output
    file.write_text("{}", encoding="utf-8")
    assert run_command("load-policies", str(file), environment=settings).code == 1


def test_a_refused_import_names_the_row_and_fails(service: RunningService, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("date,AAPL\n2024-01-02,100\n2024-01-03,-5\n", encoding="utf-8")
    refused = run_command("import", "prices", str(file), environment=environment(service.data_directory))
    assert refused.code == 1
    assert "prices.csv" in refused.output
    assert "Traceback" not in refused.output


def test_the_demo_shows_a_running_service(service: RunningService, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    shown = run_command(
        "demo", "--address", service.address, "--output", str(tmp_path), environment=environment(service.data_directory)
    )
    assert shown.code == 0, shown.output
    pictures = [file for file in tmp_path.iterdir() if file.suffix in (".png", ".svg")]
    assert pictures
    assert min(file.stat().st_size for file in pictures) > 1000
    assert "AAPL" in shown.output
