"""Settings, from environment variables with the prefix ``PORTFOLIO_``, checked at start."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.embedded import default_data_directory

_Address = Annotated[str, Field(pattern=r"^[^\s:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$")]


class Settings(BaseSettings):
    """Everything that can be configured. The description of each field is its line in ``--help``."""

    model_config = SettingsConfigDict(env_prefix="PORTFOLIO_", extra="ignore", frozen=True)

    grpc_address: _Address = Field("127.0.0.1:50051", description="address that serves gRPC, host:port")
    metrics_address: _Address | Literal[""] = Field(
        "127.0.0.1:9464", description="address that serves Prometheus metrics, host:port; empty = none"
    )
    database_url: str = Field("", description="PostgreSQL server of your own; empty = an embedded one")
    data_dir: Path = Field(
        default_factory=default_data_directory, description="directory of the embedded PostgreSQL server"
    )
    workers: int = Field(2, ge=1, le=64, description="solver processes, and optimizations worked on at a time")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["console", "json"] = Field("console", description="console for people, json for machines")
    max_message_megabytes: int = Field(64, ge=1, le=1024, description="largest gRPC message, either way")
    max_concurrent_calls: int = Field(256, ge=1, description="calls served at a time; more are refused, to be retried")
    max_waiting_solves: int = Field(64, ge=1, description="interactive solves waiting for a process; more are refused")
    max_assets: int = Field(5000, ge=1, description="assets in one optimization")
    solve_limit_seconds: float = Field(30.0, gt=0, description="longest time in the solver, where a request says none")
    validation_limit_seconds: float = Field(
        3000.0, gt=0, description="longest time of a whole validation, each of whose solves has its own limit"
    )
    drain_seconds: float = Field(5.0, ge=0, description="time that running calls get at shutdown")
    load_sample: bool = Field(default=True, description="load the sample data set into an empty database")
    risk_free_rate: float = Field(0.02, gt=-1, description="annual risk-free rate, where a request says none")
    commission_per_trade: Decimal = Field(Decimal("5.00"), ge=0, description="commission of a trade, in money")
    market_impact_bps: Decimal = Field(Decimal(15), ge=0, description="market impact of a trade, in basis points")
    min_trade_value: Decimal = Field(Decimal("100.00"), ge=0, description="smallest trade, in money")


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SystemExit: A variable is malformed; the message names each one with its value's fault.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "\n".join(
            f"  PORTFOLIO_{str(fault['loc'][0]).upper()}={fault['input']!r}: {fault['msg']}" for fault in error.errors()
        )
        raise SystemExit(f"settings:\n{faults}") from None


def describe_settings() -> str:
    """One line a setting, for ``--help``."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        lines.append(f"  PORTFOLIO_{name.upper():<24} {field.description} [{default}]")
    return "\n".join(lines)
