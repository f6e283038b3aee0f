"""Instruments, benchmarks and holdings from small tables."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from server.imports.benchmarks import BenchmarkOptions, parse_benchmark
from server.imports.factors import FactorOptions, FactorUnit, parse_factors
from server.imports.holdings import parse_holdings
from server.imports.instruments import parse_instruments
from server.imports.problems import ImportRefusedError
from server.imports.rows import TableOptions
from server.imports.weights import normalized
from storage.records import Holding, Instrument, TaxLot

KNOWN = frozenset({"AAPL", "KO", "XOM"})


def csv_file(directory: Path, text: str) -> Path:
    path = directory / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def faults(refused: pytest.ExceptionInfo[ImportRefusedError]) -> list[tuple[int | None, str | None, str | None]]:
    return [(problem.row, problem.column, problem.value) for problem in refused.value.problems]


# --- instruments


def test_an_instrument_with_everything_stated(tmp_path: Path) -> None:
    text = (
        "id,name,asset_class,sector,country,currency,lot_size,quality_score,average_daily_volume,market_cap,status,source\n"
        "KO,Coca-Cola,equity,Consumer Staples,US,USD,0.000001,8.5,1000000,189855335601.25,halted,annual report\n"
    )
    assert parse_instruments(csv_file(tmp_path, text), TableOptions()) == (
        Instrument(
            id="KO",
            name="Coca-Cola",
            asset_class="equity",
            sector="Consumer Staples",
            country="US",
            currency="USD",
            lot_size=Decimal("0.000001"),
            quality_score=Decimal("8.5"),
            average_daily_volume=Decimal(1000000),
            market_cap=Decimal("189855335601.25"),
            status="halted",
            source="annual report",
        ),
    )


def test_an_instrument_with_other_names_and_defaults(tmp_path: Path) -> None:
    path = tmp_path / "universe.parquet"
    pq.write_table(pa.table({"ticker": ["KO"], "gics_sector": [None], "cap": [5_000_000_000]}), path)
    options = TableOptions(
        {"id": "ticker", "sector": "gics_sector", "market_cap": "cap"}, {"sector": "?", "country": "US"}
    )
    (instrument,) = parse_instruments(path, options)
    assert instrument == Instrument(
        id="KO",
        name="KO",
        asset_class="equity",
        sector="?",
        country="US",
        market_cap=Decimal(5_000_000_000),
        source="universe.parquet",
    )


def test_all_faults_of_instruments_are_named(tmp_path: Path) -> None:
    text = (
        "id,lot_size,quality_score,market_cap,status,currency\n"
        f"{'X' * 37},0,101,-1,asleep,DOLLAR\n"
        "CASH,NaN,x,Infinity,,\n"
        "KO,,,1_000,,\n"
        "KO,,,,,\n"
        ",,,,,USD\n"
    )
    with pytest.raises(ImportRefusedError) as refused:
        parse_instruments(csv_file(tmp_path, text), TableOptions())
    assert sorted((row, column) for row, column, _ in faults(refused)) == [
        (2, "currency"),
        (2, "id"),
        (2, "lot_size"),
        (2, "market_cap"),
        (2, "quality_score"),
        (2, "status"),
        (3, "id"),
        (3, "lot_size"),
        (3, "market_cap"),
        (3, "quality_score"),
        (4, "market_cap"),
        (5, "id"),
        (6, "id"),
    ]


def test_an_id_column_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="has no column 'id'; its columns are ticker"):
        parse_instruments(csv_file(tmp_path, "ticker\nKO\n"), TableOptions())


def test_a_table_without_rows(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="has no rows"):
        parse_instruments(csv_file(tmp_path, "id\n"), TableOptions())


# --- benchmarks


def test_weights_are_taken_as_they_are(tmp_path: Path) -> None:
    benchmark = parse_benchmark(
        csv_file(tmp_path, "instrument_id,weight\nKO,0.3\nAAPL,0.7\n"), BenchmarkOptions(id="two"), KNOWN
    )
    assert benchmark.weights == {"KO": Decimal("0.3"), "AAPL": Decimal("0.7")}
    assert (benchmark.name, benchmark.source) == ("two", "table.csv")


def test_amounts_are_normalized_when_asked_to(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "instrument_id,weight\nKO,1\nAAPL,1\nXOM,1\n")
    benchmark = parse_benchmark(path, BenchmarkOptions(id="three", normalize=True), KNOWN)
    assert sum(benchmark.weights.values()) == 1
    assert benchmark.weights["AAPL"] == Decimal("0.3333333333")
    with pytest.raises(ImportRefusedError, match="the weights add up to 3, not to 1"):
        parse_benchmark(path, BenchmarkOptions(id="three"), KNOWN)


def test_all_faults_of_a_benchmark_are_named(tmp_path: Path) -> None:
    text = "instrument_id,weight\nKO,-0.1\nKO,0.5\nZZZ,0.5\n,x\nXOM,\n"
    with pytest.raises(ImportRefusedError) as refused:
        parse_benchmark(csv_file(tmp_path, text), BenchmarkOptions(id="bad"), KNOWN)
    assert faults(refused) == [
        (2, "weight", "-0.1"),
        (3, "instrument_id", "KO"),
        (4, "instrument_id", "ZZZ"),
        (5, "instrument_id", None),
        (5, "weight", "x"),
        (6, "weight", None),
    ]


def test_weights_of_nothing(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "instrument_id,weight\nKO,0\n")
    with pytest.raises(ImportRefusedError, match="add up to 0, not to 1"):
        parse_benchmark(path, BenchmarkOptions(id="none", normalize=True), KNOWN)
    with pytest.raises(ValueError, match="add up to nothing"):
        normalized({"KO": Decimal(0)})


# --- holdings


def test_holdings_lots_and_cash(tmp_path: Path) -> None:
    text = (
        "instrument_id,quantity,acquired_on,cost_per_share,lot_id\n"
        "CASH,-12.50,,,\nKO,10,2020-01-02,50.25,first\nAAPL,7.5,,,\nKO,5,,,\n"
    )
    table = parse_holdings(csv_file(tmp_path, text), TableOptions(), KNOWN)
    assert table.cash == Decimal("-12.50")
    assert table.rows == 4
    assert table.positions.holdings == (Holding("AAPL", Decimal("7.5")), Holding("KO", Decimal(15)))
    assert table.positions.lots == (
        TaxLot(
            id="first",
            instrument_id="KO",
            quantity=Decimal(10),
            acquired_on=date(2020, 1, 2),
            cost_per_share=Decimal("50.25"),
        ),
        TaxLot(id="lot-2", instrument_id="KO", quantity=Decimal(5)),
    )


def test_holdings_without_a_row_of_cash_leave_it_alone(tmp_path: Path) -> None:
    assert parse_holdings(csv_file(tmp_path, "instrument_id,quantity\nKO,1\n"), TableOptions(), KNOWN).cash is None


def test_all_faults_of_holdings_are_named(tmp_path: Path) -> None:
    text = (
        "instrument_id,quantity,acquired_on,cost_per_share,lot_id\n"
        "AAPL,1,,,\nAAPL,2,,,\nKO,0,2020-02-30,-1,a\nKO,1,,,a\nZZZ,x,,,\nCASH,1,,,\nCASH,2,,,\n"
    )
    with pytest.raises(ImportRefusedError) as refused:
        parse_holdings(csv_file(tmp_path, text), TableOptions(), KNOWN)
    assert faults(refused) == [
        (3, "instrument_id", "AAPL"),
        (4, "acquired_on", "2020-02-30"),
        (4, "cost_per_share", "-1"),
        (4, "quantity", "0"),
        (5, "lot_id", "a"),
        (6, "instrument_id", "ZZZ"),
        (6, "quantity", "x"),
        (8, "instrument_id", "CASH"),
    ]


def test_lots_that_a_wash_sale_changed(tmp_path: Path) -> None:
    text = (
        "instrument_id,quantity,acquired_on,cost_per_share,lot_id,held_since,replaced_loss\n"
        "KO,1,2022-05-02,60,a,2021-07-01,TRUE\nKO,2,2022-05-03,60,b,,false\n"
    )
    first, second = parse_holdings(csv_file(tmp_path, text), TableOptions(), KNOWN).positions.lots
    assert (first.held_since, first.replaced_loss) == (date(2021, 7, 1), True)
    assert (second.held_since, second.replaced_loss) == (None, False)


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ("2022-05-02,2022-05-03,", "held_since"),
        (",2022-05-01,", "held_since"),
        ("2022-05-02,soon,", "held_since"),
        ("2022-05-02,,yes", "replaced_loss"),
    ],
)
def test_wrong_changes_of_lots_are_named(tmp_path: Path, cells: str, column: str) -> None:
    text = f"instrument_id,quantity,acquired_on,held_since,replaced_loss\nKO,1,{cells}\n"
    with pytest.raises(ImportRefusedError) as refused:
        parse_holdings(csv_file(tmp_path, text), TableOptions(), KNOWN)
    assert [found for _, found, _ in faults(refused)] == [column]


# --- factors


@pytest.mark.parametrize(
    ("unit", "values", "returns"),
    [
        (FactorUnit.FRACTION, ("0.01", "-0.02"), [0.01, -0.02]),
        (FactorUnit.PERCENT, ("1", "-2"), [0.01, -0.02]),
        (FactorUnit.LEVELS, ("50", "55"), [0.1]),
    ],
)
def test_units_of_factor_returns(
    tmp_path: Path, unit: FactorUnit, values: tuple[str, str], returns: list[float]
) -> None:
    path = csv_file(tmp_path, f"date,size\n2020-01-02,{values[0]}\n2020-01-03,{values[1]}\n")
    table, rows = parse_factors(path, FactorOptions(unit=unit))
    assert table.factors == ("size",)
    assert table.returns[:, 0].tolist() == pytest.approx(returns, abs=1e-15)
    assert rows == 2


def test_percents_taken_for_fractions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="'-2' is not above -1"):
        parse_factors(csv_file(tmp_path, "date,size\n2020-01-02,-2\n"), FactorOptions())


def test_levels_of_one_day_make_no_return(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="make no return"):
        parse_factors(csv_file(tmp_path, "date,size\n2020-01-02,50\n"), FactorOptions(unit=FactorUnit.LEVELS))
