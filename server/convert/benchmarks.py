"""Benchmarks, from the wire and back."""

from __future__ import annotations

from decimal import Decimal

from portfolio_optimization.v1 import portfolio_data_pb2 as pb

from server.convert.faults import FRACTION, Faults
from server.convert.text_values import read_words, shortest_decimal
from server.imports.weights import normalized
from server.settings import Settings
from server.specs import CASH
from storage.records import Benchmark

_MOST_WEIGHTS = 10_000
_SUM_TOLERANCE = Decimal("0.000001")


def read_benchmark(message: pb.PutBenchmarkRequest, _settings: Settings, faults: Faults) -> Benchmark:
    """The benchmark of a request; what is wrong with it is added to `faults`."""
    benchmark, at = message.benchmark, "benchmark"
    index = faults.identifier(f"{at}.index_instrument_id", benchmark.index_instrument_id, required=False)
    return Benchmark(
        id=faults.identifier(f"{at}.benchmark_id", benchmark.benchmark_id),
        name=read_words(f"{at}.name", benchmark.name, faults),
        weights=_read_weights(f"{at}.weights", benchmark, faults),
        index_instrument_id=index or None,
        source=read_words(f"{at}.source", benchmark.source, faults),
    )


def _read_weights(field: str, message: pb.Benchmark, faults: Faults) -> dict[str, Decimal]:
    """Weights that add up to exactly 1; none for a benchmark that is its own price series."""
    if not message.weights and not message.index_instrument_id:
        faults.add(field, "is required where there is no index_instrument_id")
    if CASH in message.weights:
        faults.add(f"{field}[{CASH}]", "cannot be part of a benchmark")
    if len(message.weights) > _MOST_WEIGHTS:
        faults.add(field, f"must have at most {_MOST_WEIGHTS} items, not {len(message.weights)}")
        return {}
    given = faults.numbers(field, message.weights, FRACTION)
    weights = {name: shortest_decimal(weight) for name, weight in given.items()}
    total = sum(weights.values(), Decimal(0))
    if weights and abs(total - 1) > _SUM_TOLERANCE:
        faults.add(field, f"must add to 1, not {float(total):.9g}")
    return normalized(weights) if total > 0 and total != 1 else weights


def write_benchmark(benchmark: Benchmark) -> pb.Benchmark:
    """A benchmark."""
    return pb.Benchmark(
        benchmark_id=benchmark.id,
        name=benchmark.name,
        weights={name: float(weight) for name, weight in benchmark.weights.items()},
        index_instrument_id=benchmark.index_instrument_id or "",
        source=benchmark.source,
    )
