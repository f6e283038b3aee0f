"""Many portfolios that follow one model, each drifted its own way, loaded in bulk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np

from storage.database import Connection, Database
from storage.instruments import InstrumentRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Instrument, PriceTable

LAST_DAY = date(2026, 1, 9)
_SECTORS = ("Energy", "Finance", "Health", "Industry", "Technology")
_MOMENT = datetime(2026, 1, 9, 21, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Model:
    """The instruments that all portfolios hold, their weights, and the prices."""

    names: tuple[str, ...]
    weights: dict[str, float]
    prices: PriceTable

    @property
    def last(self) -> list[Decimal]:
        """The newest price of each."""
        return [Decimal(repr(price)) for price in self.prices.closes[-1].tolist()]


def make_model(count: int = 30, days: int = 300, seed: int = 7) -> Model:
    """A random walk of `count` stocks with cents, and weights in thousandths that add to 0.98."""
    random = np.random.default_rng(seed)
    names = tuple(f"S{k:03d}" for k in range(count))
    market = random.normal(0.0003, 0.009, (days, 1))
    returns = market + random.normal(0.0001, 0.012, (days, count))
    closes = np.round(random.uniform(20.0, 300.0, count) * np.exp(np.cumsum(returns, axis=0)), 2)
    last = np.datetime64(LAST_DAY)
    dates = np.arange(last - days + 1, last + 1)
    shares = np.floor(980.0 * (raw := random.uniform(0.5, 1.5, count)) / raw.sum()).astype(int)
    shares[0] += 980 - shares.sum()
    weights = dict(zip(names, (shares / 1000.0).tolist(), strict=True))
    return Model(names, weights, PriceTable(names, dates, closes))


async def store_model(database: Database, model: Model) -> str:
    """The pack of the model's prices."""
    instruments = [
        Instrument(
            id=name, name=name, asset_class="equity", sector=_SECTORS[k % 5], average_daily_volume=Decimal(5_000_000)
        )
        for k, name in enumerate(model.names)
    ]
    async with database.transaction() as connection:
        await InstrumentRepository(connection).put(instruments)
        return (await PricingPackRepository(connection).store(model.prices, "random walk")).id


async def store_portfolios(database: Database, model: Model, ids: Sequence[str], seed: int = 11) -> None:
    """Portfolios near the model: each weight off by up to a third, two lots of each name, some cash."""
    random = np.random.default_rng(seed)
    weights = np.array([model.weights[name] for name in model.names])
    prices = np.array([float(price) for price in model.last])
    values = random.uniform(2e5, 2e6, len(ids))
    drifts = random.uniform(0.67, 1.33, (len(ids), len(weights)))
    quantities = np.floor(values[:, None] * weights * drifts / prices).astype(int)
    costs = np.round(prices * random.uniform(0.6, 1.4, (len(ids), len(weights))), 2)
    columns = "id, name, base_currency, cash, short_term_tax_rate, long_term_tax_rate, lot_method, account, preferences"
    async with database.transaction() as connection:
        plain = (
            (name, name, "USD", round(0.02 * value, 2), "0.37", "0.2", "hifo", "{}", "{}", _MOMENT)
            for name, value in zip(ids, values.tolist(), strict=True)
        )
        await _copy(connection, f"portfolios ({columns}, updated_at)", plain)
        held = (
            (name, stock, quantity)
            for name, row in zip(ids, quantities.tolist(), strict=True)
            for stock, quantity in zip(model.names, row, strict=True)
        )
        await _copy(connection, "holdings (portfolio_id, instrument_id, quantity)", held)
        lots = "tax_lots (portfolio_id, id, instrument_id, quantity, acquired_on, cost_per_share)"
        await _copy(connection, lots, _lots(model, ids, quantities, costs))


def _lots(
    model: Model, ids: Sequence[str], quantities: np.ndarray, costs: np.ndarray
) -> Iterator[tuple[str, str, str, int, date, float]]:
    old, recent = LAST_DAY - timedelta(days=900), LAST_DAY - timedelta(days=100)
    for name, row, paid in zip(ids, quantities.tolist(), costs.tolist(), strict=True):
        for stock, quantity, cost in zip(model.names, row, paid, strict=True):
            yield name, f"{stock}-1", stock, quantity // 2, old, cost
            yield name, f"{stock}-2", stock, quantity - quantity // 2, recent, round(1.1 * cost, 2)


async def _copy(connection: Connection, target: str, rows: Iterator[tuple[object, ...]]) -> None:
    async with connection.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN".encode()) as copy:
        for row in rows:
            await copy.write_row(row)
