"""Metrics in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, start_http_server

_SOLVE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

CALLS = Counter("portfolio_calls_total", "gRPC calls by method and code", ["method", "code"])
CALL_SECONDS = Histogram("portfolio_call_seconds", "Duration of gRPC calls", ["method"], buckets=_SOLVE_BUCKETS)
SOLVES = Counter("portfolio_solves_total", "Computations in solver processes", ["kind"])
SOLVES_WAITING = Gauge("portfolio_solves_open", "Computations running or waiting for a solver process")
JOBS = Counter("portfolio_jobs_total", "Optimizations ended by the worker, by status", ["status"])
VALIDATIONS = Counter("portfolio_validations_total", "Validations ended by the worker, by status", ["status"])
DELIVERIES = Counter(
    "portfolio_deliveries_total", "Attempts to deliver events, by channel and status after", ["channel", "status"]
)
QUEUE = Gauge("portfolio_queue_length", "Optimizations accepted and not ended")


def serve_metrics(address: str) -> None:
    """Serve the metrics of this process at `address`; empty = nowhere."""
    if address:
        host, _, port = address.rpartition(":")
        start_http_server(int(port), host.strip("[]"))
