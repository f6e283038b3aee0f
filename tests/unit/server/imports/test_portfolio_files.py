"""Portfolios from JSON files."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from server.imports.portfolios import EXAMPLE, parse_portfolio
from server.imports.problems import ImportRefusedError
from storage.records import Holding, TaxLot

KNOWN = frozenset({"AAPL", "KO"})


def json_file(directory: Path, content: object) -> Path:
    path = directory / "portfolio.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_the_documented_example(tmp_path: Path) -> None:
    portfolio = parse_portfolio(json_file(tmp_path, EXAMPLE), KNOWN)
    assert (portfolio.id, portfolio.name, portfolio.cash) == ("family", "Family account", Decimal("10500.25"))
    assert (portfolio.short_term_tax_rate, portfolio.long_term_tax_rate) == (Decimal("0.408"), Decimal("0.238"))
    assert portfolio.benchmark_id == "sample-sp500"
    assert portfolio.holdings == (Holding("KO", Decimal(120)),)
    assert portfolio.lots == (
        TaxLot(
            id="1",
            instrument_id="KO",
            quantity=Decimal(120),
            acquired_on=date(2021, 6, 14),
            cost_per_share=Decimal("52.33"),
        ),
    )


def test_numbers_are_exact_and_preferences_stay_json(tmp_path: Path) -> None:
    text = '{"id": "p", "cash": 0.1000000000000000055, "preferences": {"limit": 0.5, "names": ["a"]}, "account": null}'
    portfolio = parse_portfolio(json_file(tmp_path, text), KNOWN)
    assert portfolio.cash == Decimal("0.1000000000000000055")
    assert portfolio.preferences == {"limit": 0.5, "names": ["a"]}
    assert portfolio.account == {}


def test_lots_that_a_wash_sale_changed(tmp_path: Path) -> None:
    lot = {"instrument_id": "KO", "quantity": 3, "acquired_on": "2022-05-02", "held_since": "2021-07-01"}
    lots = [{**lot, "id": "a", "replaced_loss": True}, {**lot, "id": "b", "replaced_loss": False}]
    portfolio = parse_portfolio(json_file(tmp_path, {"id": "p", "lots": lots}), KNOWN)
    assert [(found.held_since, found.replaced_loss) for found in portfolio.lots] == [
        (date(2021, 7, 1), True),
        (date(2021, 7, 1), False),
    ]


def test_lots_alone_make_the_holding(tmp_path: Path) -> None:
    lots = [{"instrument_id": "KO", "quantity": 3}, {"instrument_id": "KO", "quantity": "4.5"}]
    portfolio = parse_portfolio(json_file(tmp_path, {"id": "p", "lots": lots}), KNOWN)
    assert portfolio.holdings == (Holding("KO", Decimal("7.5")),)
    assert [lot.id for lot in portfolio.lots] == ["lot-1", "lot-2"]


def test_all_faults_are_named_by_their_path(tmp_path: Path) -> None:
    content = {
        "name": ["x"],
        "cash": "much",
        "color": "red",
        "long_term_tax_rate": 1.5,
        "short_term_tax_rate": -1,
        "base_currency": "DOLLAR",
        "account": [],
        "holdings": [{"instrument_id": "KO", "quantity": 5}, {"instrument_id": "CASH", "quantity": 5}, {"shares": 1}],
        "lots": [{"id": "a", "instrument_id": "KO", "quantity": 4, "acquired_on": "soon"}],
    }
    with pytest.raises(ImportRefusedError) as refused:
        parse_portfolio(json_file(tmp_path, content), KNOWN)
    assert sorted((problem.column or "", problem.value or "") for problem in refused.value.problems) == [
        ("", ""),
        ("", "color"),
        ("account", ""),
        ("base_currency", "DOLLAR"),
        ("cash", "much"),
        ("holdings[1].instrument_id", "CASH"),
        ("holdings[2]", "shares"),
        ("holdings[2].instrument_id", ""),
        ("holdings[2].quantity", ""),
        ("id", ""),
        ("long_term_tax_rate", "1.5"),
        ("lots[0].acquired_on", "soon"),
        ("name", ""),
        ("short_term_tax_rate", "-1"),
    ]
    assert "the lots of KO add up to 4, held are 5" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "does not hold one JSON object"),
        ('{"id": "p", "cash": NaN}', "NaN is no number of JSON"),
        ('{"id": "p", "lots": {"a": 1}}', "column lots: is not a list of objects"),
    ],
)
def test_files_that_are_no_portfolio(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ImportRefusedError, match=reason):
        parse_portfolio(json_file(tmp_path, text), KNOWN)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="cannot be read"):
        parse_portfolio(tmp_path / "portfolio.json", KNOWN)
