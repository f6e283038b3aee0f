"""Settings, from environment variables with the prefix ``PORTFOLIO_``, checked at start."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server.notifications.addresses import email_fault
from server.trading_days import Closure, parse_closures
from storage.embedded import default_data_directory

_Address = Annotated[str, Field(pattern=r"^[^\s:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$")]
_Closures = Annotated[
    tuple[Closure, ...],
    NoDecode,
    BeforeValidator(lambda given: parse_closures(given) if isinstance(given, str) else given),
]


def _check_mailbox(address: str) -> str:
    if address and (fault := email_fault(address)):
        raise ValueError(fault)
    return address


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
    max_price_age_days: int = Field(
        5, ge=0, description="trading days after which a price is too old to trade at in a rebalance plan"
    )
    extra_closures: _Closures = Field(
        (), description="days on which trading is cancelled, e.g. 2025-01-09,XLON:2026-09-19; no exchange = all of them"
    )
    batch_chunk_portfolios: int = Field(500, ge=1, le=10_000, description="portfolios in one job of a batch")
    schedule_scan_seconds: float = Field(
        10.0, gt=0, le=3600, description="time between searches for portfolios whose schedule calls for a look"
    )
    drift_monitor_minutes: float = Field(
        15.0, ge=0, description="time between passes over portfolios with new prices or holdings; 0 = no monitoring"
    )
    smtp_host: str = Field("", description="mail server that takes alerts; empty = none, alerts by e-mail wait")
    smtp_port: int = Field(587, ge=1, le=65535, description="port of the mail server; 465 = under TLS from the start")
    smtp_user: str = Field("", description="user of the mail server; empty = without login")
    smtp_password: SecretStr = Field(SecretStr(""), description="password of that user")
    smtp_starttls: bool = Field(default=True, description="send mails only after the connection is brought under TLS")
    smtp_timeout_seconds: float = Field(60.0, gt=0, le=600, description="longest conversation with the mail server")
    mail_sender: Annotated[str, AfterValidator(_check_mailbox)] = Field(
        "", description="address that alerts by e-mail come from"
    )
    webhook_timeout_seconds: float = Field(10.0, gt=0, le=600, description="longest time until a webhook answers")
    max_webhooks: int = Field(1000, ge=0, description="webhooks; each event is stored once for each that wants it")
    webhook_allow_loopback: bool = Field(
        default=False, description="let webhooks lead to this machine, and over http too; for tests and local tools"
    )
    delivery_first_wait_seconds: float = Field(
        1.0, gt=0, description="wait before a delivery is tried again; doubled after each attempt"
    )
    delivery_longest_wait_seconds: float = Field(3600.0, gt=0, description="longest wait between attempts")
    delivery_attempts: int = Field(50, ge=1, description="attempts after which a delivery is abandoned")
    delivery_age_hours: float = Field(
        72.0, gt=0, le=87600, description="age after which a delivery that fails is abandoned"
    )
    approval_limit: Decimal = Field(
        Decimal("10000.00"), ge=0, description="gross value of a plan above which it needs an approval, in money"
    )
    approval_validity_hours: float = Field(24.0, gt=0, description="hours after which a plan or its approval lapses")
    max_price_move: float = Field(0.02, gt=0, description="move of a price beyond which a plan lapses, fraction")
    max_weight_move: float = Field(0.01, gt=0, description="move of a weight beyond which a plan lapses, fraction")


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
