"""Benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storage.errors import NotFound
from storage.instruments import InstrumentRepository
from storage.records import Benchmark
from storage.repository import Repository, as_parameters
from storage.statements import load_statements


class BenchmarkRepository(Repository):
    """Keeps benchmarks with their weights."""

    _sql = load_statements("benchmarks")

    async def put(self, benchmark: Benchmark) -> None:
        """Inserts the benchmark, or replaces it with all its weights.

        Raises:
            NotFound: Names the instruments that do not exist.
        """
        index = () if benchmark.index_instrument_id is None else (benchmark.index_instrument_id,)
        await InstrumentRepository(self._connection).require([*benchmark.weights, *index])
        await self._run(self._sql["put"], as_parameters(benchmark))
        await self._run(self._sql["delete_weights"], {"id": benchmark.id})
        weights = {"instrument_ids": list(benchmark.weights), "weights": list(benchmark.weights.values())}
        await self._run(self._sql["insert_weights"], {"id": benchmark.id, **weights})

    async def find(self, identifier: str) -> Benchmark:
        """The benchmark.

        Raises:
            NotFound: There is none of this id.
        """
        rows = await self._rows(self._sql["find"], {"id": identifier})
        if not rows:
            raise NotFound("benchmark", identifier)
        return _benchmark(rows[0])

    async def page(self, limit: int, after: str = "") -> tuple[Benchmark, ...]:
        """At most ``limit`` benchmarks in the order of their ids, beginning behind the id ``after``."""
        return tuple(_benchmark(row) for row in await self._rows(self._sql["page"], {"limit": limit, "after": after}))


def _benchmark(row: Mapping[str, Any]) -> Benchmark:
    return Benchmark(
        id=row["id"],
        name=row["name"],
        weights=dict(zip(row["instrument_ids"], row["weights"], strict=True)),
        index_instrument_id=row["index_instrument_id"],
        source=row["source"],
    )
