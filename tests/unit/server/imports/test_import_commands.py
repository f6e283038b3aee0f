"""The arguments of `import`, the progress line and the report."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import cast

import pytest

from kernel.estimation.data_checks import Code, Finding
from server.imports.commands import add_import_commands, run_import
from server.imports.problems import refusal
from server.imports.progress import Progress, ProgressCallback, terminal_progress
from server.imports.report import FINDINGS_SHOWN, ImportReport
from storage.database import Database
from storage.errors import Conflict

NO_DATABASE = cast("Database", None)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_import_commands(parser.add_subparsers(required=True))
    return parser


def test_names_and_defaults_of_columns(parser: argparse.ArgumentParser) -> None:
    columns = ["--column", "id=ticker", "--column", "date=Day", "--default", "country=US"]
    arguments = parser.parse_args(["prices", "p.csv", *columns, "--create-instruments", "u.csv"])
    assert arguments.file == Path("p.csv")
    assert arguments.column == {"id": "ticker", "date": "Day"}
    assert arguments.default == {"country": "US"}
    assert arguments.create_instruments == Path("u.csv")
    assert parser.parse_args(["prices", "p.csv"]).column == {}


@pytest.mark.parametrize("assignment", ["id", "id=", "color=red"])
def test_a_column_that_is_none(
    parser: argparse.ArgumentParser, assignment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["instruments", "u.csv", "--column", assignment])
    assert "needs NAME=VALUE with a NAME of id, name, asset_class" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["holdings", "h.csv"],
        ["holdings", "h.csv", "--portfolio", "p" * 37],
        ["benchmark", "b.csv"],
        ["factors", "f.csv", "--unit", "bps"],
        ["factor-exposures", "e.csv"],
        ["factor-exposures", "e.csv", "--as-of", "2022-02-30"],
    ],
)
def test_arguments_that_are_missing_or_wrong(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)


@pytest.mark.parametrize(
    "noun", ["prices", "instruments", "portfolio", "holdings", "benchmark", "factors", "factor-exposures"]
)
def test_every_command_explains_its_file(
    parser: argparse.ArgumentParser, noun: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        parser.parse_args([noun, "--help"])
    assert {"portfolio": '"lots": [', "factors": "factor, return"}.get(noun, "olumns") in capsys.readouterr().out


@pytest.mark.parametrize("error", [refusal("p.csv", "has no rows"), Conflict("p.csv: has no rows")])
async def test_a_refusal_is_told_and_fails(error: Exception) -> None:
    async def refuse(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
        raise error

    output, errors = io.StringIO(), io.StringIO()
    assert await run_import(NO_DATABASE, argparse.Namespace(import_handler=refuse), output, errors) == 1
    assert output.getvalue() == ""
    assert "p.csv: has no rows" in errors.getvalue()


async def test_a_report_is_printed() -> None:
    async def load(database: Database, arguments: argparse.Namespace, progress: ProgressCallback) -> ImportReport:
        progress(Progress("p.csv", 1500, 1.0))
        finding = Finding(Code.JUMP, "KO", None, "KO jumps")
        return ImportReport(
            noun="pricing pack", file="p.csv", rows=1500, identifier="pp-1", counts={"days": 1500}, findings=(finding,)
        )

    output, errors = io.StringIO(), Terminal()
    assert await run_import(NO_DATABASE, argparse.Namespace(import_handler=load), output, errors) == 0
    assert output.getvalue() == "pricing pack pp-1: stored; p.csv, 1,500 rows, 1,500 days\n  warning: KO jumps\n"
    assert errors.getvalue() == "\rp.csv: 1,500 rows read, 100%\n"


def test_progress_is_for_terminals_only() -> None:
    stream, terminal = io.StringIO(), Terminal()
    for target in (stream, terminal):
        terminal_progress(target)(Progress("p.csv", 10, 0.5))
    assert stream.getvalue() == ""
    assert terminal.getvalue() == "\rp.csv: 10 rows read,  50%"


def test_a_long_report_is_cut_and_says_so() -> None:
    findings = (Finding(Code.JUMP, "KO", None, "KO jumps"),) * (FINDINGS_SHOWN + 3)
    report = ImportReport(noun="x", file="f", rows=1, identifier="i", created=False, findings=findings)
    assert report.lines()[0] == "x i: was stored before, nothing written; f, 1 rows"
    assert report.lines()[-1] == "  ... and 3 more findings"
