"""Numbers and tables as a person reads them."""

import io

import pytest

from server.demo.text import WIDTH, Terminal, money, paragraph, percent, points, shares, short_percent, table, words


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(0.12849), "12.85%"),
        (percent(-1e-17), "0.00%"),
        (short_percent(0.3), "30%"),
        (short_percent(0.975), "97.5%"),
        (short_percent(1 - 0.95), "5%"),
        (points(0.0856), "+8.56"),
        (points(-1e-12), "+0.00"),
        (points(-0.0524), "-5.24"),
        (money("95964.3"), "95,964.30"),
        (money(-0.001), "0.00"),
        (money(""), ""),
        (shares("7E+2"), "700"),
        (shares(1234567.25), "1,234,567.25"),
        (words("LOT_METHOD_LEAST_TAX", "LOT_METHOD_"), "least tax"),
    ],
)
def test_numbers_are_readable(text, expected):
    assert text == expected


def test_columns_are_aligned_under_their_titles():
    assert table(("<Name", ">Weight"), [("AAA", "5.00%"), ("LONGER", "12.00%")]) == [
        "Name    Weight",
        "------  ------",
        "AAA      5.00%",
        "LONGER  12.00%",
    ]


def test_a_table_without_titles_has_rows_only():
    assert table(("<", ">"), [("a", "1"), ("bb", "22")]) == ["a    1", "bb  22"]


def test_a_table_without_rows_has_titles_only():
    assert table(("<Name", ">Weight"), []) == ["Name  Weight", "----  ------"]


def test_the_last_column_is_wrapped_within_the_width():
    lines = table(("<Name", "<Reason"), [("AAA", "a word " * 30), ("BBB", "")])
    assert max(map(len, lines)) <= WIDTH
    assert [line[:3] for line in lines] == ["Nam", "---", "AAA", "   ", "   ", "BBB"]


def test_a_paragraph_keeps_to_the_width():
    lines = paragraph("! " + "word " * 50, indent="  ")
    assert max(map(len, lines)) <= WIDTH
    assert all(line.startswith("  ") for line in lines[1:])


def test_headings_are_bold_on_a_terminal_only(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen, file = Screen(), io.StringIO()
    Terminal.on(screen).heading("Title")
    Terminal.on(file).heading("Title")
    assert "\x1b[1mTitle\x1b[0m" in screen.getvalue()
    assert file.getvalue() == "\nTitle\n=====\n"


def test_no_color_is_heeded(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    Terminal.on(screen).heading("Title")
    assert "\x1b" not in screen.getvalue()
