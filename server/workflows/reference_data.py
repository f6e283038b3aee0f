"""Storing and finding instruments and benchmarks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from portfolio_optimization.v1 import instruments_pb2, portfolio_data_pb2

from server.convert.benchmarks import read_benchmark
from server.convert.faults import checked
from server.convert.instruments import read_instruments
from server.errors import Fault, InvalidRequest
from server.imports.known import is_stored
from server.listing import listed
from server.settings import Settings
from storage.benchmarks import BenchmarkRepository
from storage.database import Connection, Database
from storage.instruments import InstrumentRepository
from storage.records import Benchmark, Instrument


class ReferenceDataWorkflow:
    """What portfolios and prices refer to."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    async def put_instruments(self, message: instruments_pb2.UpsertInstrumentsRequest) -> tuple[int, int]:
        """Check and store instruments, all or none.

        Returns:
            How many are new, and how many were there already.

        Raises:
            InvalidRequest: With every fault.
        """
        instruments = await asyncio.to_thread(checked, read_instruments, message, self._settings)
        async with self._database.transaction() as connection:
            repository = InstrumentRepository(connection)
            new = len(await repository.missing([instrument.id for instrument in instruments]))
            if not message.validate_only:
                # In one order, so that two callers wait for each other and never both.
                await repository.put(sorted(instruments, key=lambda instrument: instrument.id))
        return new, len(instruments) - new

    async def instrument(self, instrument_id: str) -> Instrument:
        """One instrument.

        Raises:
            NotFound: There is none of this id.
        """
        async with self._database.transaction() as connection:
            return (await InstrumentRepository(connection).find([instrument_id]))[0]

    async def instruments(self, limit: int, after: str, asset_class: str, sector: str) -> tuple[Instrument, ...]:
        """Instruments in the order of their ids, behind `after`; empty words = of all classes, of all sectors."""
        async with self._database.transaction() as connection:
            repository = InstrumentRepository(connection)
            return await repository.page(limit, after, asset_class=asset_class or None, sector=sector or None)

    async def put_benchmark(self, message: portfolio_data_pb2.PutBenchmarkRequest) -> tuple[Benchmark, bool]:
        """Check and store a benchmark.

        Returns:
            The benchmark, and whether it is new.

        Raises:
            InvalidRequest: With every fault.
        """
        benchmark = checked(read_benchmark, message, self._settings)
        async with self._database.transaction() as connection:
            repository = BenchmarkRepository(connection)
            if faults := await _benchmark_faults(connection, benchmark):
                raise InvalidRequest(faults)
            created = not await is_stored(repository.find, benchmark.id)
            if message.validate_only:
                return benchmark, created
            await repository.put(benchmark)
            return await repository.find(benchmark.id), created

    async def benchmark(self, benchmark_id: str) -> Benchmark:
        """One benchmark.

        Raises:
            NotFound: There is none of this id.
        """
        async with self._database.transaction() as connection:
            return await BenchmarkRepository(connection).find(benchmark_id)

    async def benchmarks(self, limit: int, after: str) -> tuple[Benchmark, ...]:
        """Benchmarks in the order of their ids, behind `after`."""
        async with self._database.transaction() as connection:
            return await BenchmarkRepository(connection).page(limit, after)


async def unknown_instruments(connection: Connection, field: str, instrument_ids: Iterable[str]) -> list[Fault]:
    """The fault of naming instruments that are not stored; none when all are."""
    missing = await InstrumentRepository(connection).missing(sorted(set(instrument_ids)))
    return [Fault(field, f"names {listed(missing)}, not known as an instrument")] if missing else []


async def _benchmark_faults(connection: Connection, benchmark: Benchmark) -> list[Fault]:
    index = [] if benchmark.index_instrument_id is None else [benchmark.index_instrument_id]
    return [
        *await unknown_instruments(connection, "benchmark.weights", benchmark.weights),
        *await unknown_instruments(connection, "benchmark.index_instrument_id", index),
    ]
