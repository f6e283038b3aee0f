"""The sub-commands of `import`: arguments, and what each does with a database."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import TextIO

from server.imports.benchmarks import BenchmarkOptions, import_benchmark
from server.imports.exposures import EXPOSURE_COLUMNS, ExposureOptions, import_exposures
from server.imports.factors import FactorOptions, FactorUnit, import_factors
from server.imports.holdings import HOLDINGS_TABLE, HoldingsOptions, import_holdings
from server.imports.instruments import INSTRUMENT_TABLE, import_instruments
from server.imports.policies import EXAMPLE as POLICIES_EXAMPLE
from server.imports.policies import import_policies
from server.imports.portfolios import EXAMPLE, import_portfolio
from server.imports.prices import PriceOptions, import_prices
from server.imports.problems import ImportRefusedError
from server.imports.progress import ProgressCallback, terminal_progress
from server.imports.report import ImportReport
from server.imports.rows import MAX_ID, TableOptions
from server.imports.tax_rules import RULES_TABLE, import_tax_rules
from storage.database import Database
from storage.errors import Conflict, NotFound

ImportHandler = Callable[[Database, argparse.Namespace, ProgressCallback], Awaitable[ImportReport]]

_PRICES_HELP = """Prices as an immutable pricing pack, named by its content: the same prices again give the same id.

Wide: a column `date` and one column per instrument; an empty cell where there is no price.
Long: columns date, instrument_id, close.
Days are YYYY-MM-DD, in any order. Prices are above zero. An instrument must be known, unless --create-instruments names
a file of instruments (see `import instruments`). Doubtful data (holes, late starts, jumps, wrong splits, ...) are
reported by name and do not refuse the load; a bad row does, and then nothing of the load is kept."""
_INSTRUMENTS_HELP = """Instruments; a known one is replaced by what the file says.

Columns: id; and, where there are any, name, asset_class (equity), sector, country, currency (USD), lot_size (1 = whole
shares, 0.000001 = fractions), quality_score (0 to 10), average_daily_volume (shares), market_cap, status (active,
halted, delisted), source, required_option_level (0 to 5: what an account needs to buy it)."""
_HOLDINGS_HELP = """Holdings, tax lots and cash of a portfolio, replacing those it has.

Columns: instrument_id, quantity (shares, negative when short); acquired_on, cost_per_share, lot_id, and where a wash
sale changed the lot held_since and replaced_loss (true or false) make the row a tax lot, and then every row of that
instrument is one. The row of the instrument CASH has the cash as its quantity."""
_PORTFOLIO_HELP = f"""A whole portfolio from a JSON file, replacing the one of that id.

{EXAMPLE}

All but the id may be left out. Numbers may be text, to keep them exact. An instrument with lots and without a holding
is held as the sum of its lots."""
_BENCHMARK_HELP = """A benchmark by weights, replacing the one of that id.

Columns: instrument_id, weight (fractions that add up to 1; any amounts with --normalize)."""
_POLICIES_HELP = f"""Policies from a JSON file: what is new becomes a new version, what is as it was is left alone.

{POLICIES_EXAMPLE}

All but the id and one limit may be left out. Numbers named pct are fractions."""
_FACTORS_HELP = """Factor returns as an immutable factor set, named by its content.

Wide: a column `date` and one column per factor. Long: columns date, factor, return.
There is a value for every day and factor."""
_EXPOSURES_HELP = """Exposures of instruments to factors, immutable and named by their content.

Wide: a column `instrument_id`, perhaps `specific_volatility` (annual, a fraction, empty where it is not known), and one
column per factor. Long: columns instrument_id, factor, exposure.
There is a number for every instrument and factor. An instrument must be known."""
_TAX_RULES_HELP = """Tax rules with the days from which they hold; those of the same name and first day are replaced.

Columns: jurisdiction (US), valid_from (YYYY-MM-DD), long_term_months (long-term when held for more), wash_sale_days
(before and after a sale), yearly_loss_limit and separate_loss_limit (net loss set against other income in a year; the
latter for those who file separately), source."""


def add_import_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the sub-commands of `import` to the sub-parsers of its parser; `run_import` takes what they have parsed."""
    prices = _command(subparsers, "prices", _PRICES_HELP, _prices)
    _add_columns(prices, ("date", "instrument_id", "close", *INSTRUMENT_TABLE.columns), defaults=True)
    prices.add_argument("--create-instruments", type=Path, metavar="FILE", help="instruments to create when not known")
    _add_source(prices)
    instruments = _command(subparsers, "instruments", _INSTRUMENTS_HELP, _instruments)
    _add_columns(instruments, INSTRUMENT_TABLE.columns, defaults=True)
    _command(subparsers, "portfolio", _PORTFOLIO_HELP, _portfolio)
    holdings = _command(subparsers, "holdings", _HOLDINGS_HELP, _holdings)
    _add_columns(holdings, HOLDINGS_TABLE.columns)
    holdings.add_argument("--portfolio", type=_identifier, required=True, metavar="ID", help="whose holdings these are")
    holdings.add_argument("--create", action="store_true", help="create the portfolio when there is none of that id")
    _add_benchmark(subparsers)
    factors = _command(subparsers, "factors", _FACTORS_HELP, _factors)
    _add_columns(factors, ("date", "factor", "return"))
    factors.add_argument(
        "--unit", type=FactorUnit, choices=list(FactorUnit), default=FactorUnit.FRACTION, help="of the values"
    )
    _add_source(factors)
    exposures = _command(subparsers, "factor-exposures", _EXPOSURES_HELP, _exposures)
    _add_columns(exposures, EXPOSURE_COLUMNS)
    exposures.add_argument("--as-of", type=_day, required=True, metavar="DATE", help="day of the exposures, YYYY-MM-DD")
    _add_source(exposures)
    tax_rules = _command(subparsers, "tax-rules", _TAX_RULES_HELP, _tax_rules)
    _add_columns(tax_rules, RULES_TABLE.columns, defaults=True)


def add_policies_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `load-policies`; `run_import` takes what it has parsed."""
    _command(subparsers, "load-policies", _POLICIES_HELP, _policies)


async def run_import(database: Database, arguments: argparse.Namespace, output: TextIO, errors: TextIO) -> int:
    """Runs the parsed sub-command.

    Args:
        database: Where to load to.
        arguments: As parsed by a parser with the sub-commands of `add_import_commands`.
        output: Takes the report.
        errors: Takes the progress, when it is a terminal, and the reasons of a refusal.

    Returns:
        The exit code: 0, or 1 when the load was refused.
    """
    handler: ImportHandler = arguments.import_handler
    try:
        report = await handler(database, arguments, terminal_progress(errors))
    except (ImportRefusedError, NotFound, Conflict) as refused:
        errors.write(f"{refused}\n")
        return 1
    output.write("".join(f"{line}\n" for line in report.lines()))
    return 0


def _command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, handler: ImportHandler
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        name, help=text.split("\n", 1)[0], description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = "JSON" if handler in (_portfolio, _policies) else "CSV (also .csv.gz) or Parquet"
    parser.add_argument("file", type=Path, help=kinds)
    parser.set_defaults(import_handler=handler)
    return parser


def _add_columns(parser: argparse.ArgumentParser, names: tuple[str, ...], *, defaults: bool = False) -> None:
    parser.add_argument(
        "--column",
        action=_Assignments,
        names=names,
        default={},
        metavar="NAME=COLUMN",
        help="a column of the file that has another name (--column id=ticker); may be repeated",
    )
    if defaults:
        parser.add_argument(
            "--default",
            action=_Assignments,
            names=names,
            default={},
            metavar="NAME=VALUE",
            help="a value for empty cells or a missing column (--default country=US); may be repeated",
        )


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", default="", metavar="TEXT", help="where the data come from (the file's name)")


def _add_benchmark(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(subparsers, "benchmark", _BENCHMARK_HELP, _benchmark)
    _add_columns(parser, ("instrument_id", "weight"))
    parser.add_argument("--id", type=_identifier, required=True, help="of the benchmark")
    parser.add_argument("--name", default="", help="of the benchmark (its id)")
    parser.add_argument("--index", type=_identifier, metavar="ID", help="instrument whose prices are the index levels")
    parser.add_argument("--normalize", action="store_true", help="divide the weights by their sum")
    _add_source(parser)


class _Assignments(argparse.Action):
    """Gathers NAME=VALUE options into a dictionary."""

    def __init__(self, option_strings: list[str], dest: str, *, names: tuple[str, ...], **options: object) -> None:
        super().__init__(option_strings, dest, **options)  # type: ignore[arg-type]
        self.names = names

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        name, separator, value = str(values).partition("=")
        if not separator or not value or name not in self.names:
            parser.error(f"{option_string} needs NAME=VALUE with a NAME of {', '.join(self.names)}; got {values!r}")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), name: value})


def _identifier(text: str) -> str:
    if not text or len(text) > MAX_ID:
        raise argparse.ArgumentTypeError(f"an id has 1 to {MAX_ID} characters")
    return text


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day (YYYY-MM-DD)") from None


async def _prices(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
    options = PriceOptions(
        columns=arguments.column,
        source=arguments.source,
        create_instruments=arguments.create_instruments,
        defaults=arguments.default,
    )
    return await import_prices(database, arguments.file, options, progress)


async def _instruments(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
    options = TableOptions(arguments.column, arguments.default)
    return await import_instruments(database, arguments.file, options, progress)


async def _portfolio(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
    return await import_portfolio(database, arguments.file, progress)


async def _policies(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
    return await import_policies(database, arguments.file, progress)


async def _holdings(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
    table = TableOptions(arguments.column)
    options = HoldingsOptions(portfolio_id=arguments.portfolio, create=arguments.create, table=table)
    return await import_holdings(database, arguments.file, options, progress)


async def _benchmark(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
    options = BenchmarkOptions(
        id=arguments.id,
        name=arguments.name,
        index_instrument_id=arguments.index,
        source=arguments.source,
        normalize=arguments.normalize,
        table=TableOptions(arguments.column),
    )
    return await import_benchmark(database, arguments.file, options, progress)


async def _factors(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
    options = FactorOptions(arguments.column, arguments.source, FactorUnit(arguments.unit))
    return await import_factors(database, arguments.file, options, progress)


async def _exposures(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
    options = ExposureOptions(arguments.as_of, arguments.column, arguments.source)
    return await import_exposures(database, arguments.file, options, progress)


async def _tax_rules(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
    options = TableOptions(arguments.column, arguments.default)
    return await import_tax_rules(database, arguments.file, options, progress)
