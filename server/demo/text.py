"""Numbers, tables and headings for a terminal, at most 100 columns wide."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TextIO

WIDTH = 100
_GAP = "  "
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where the demo writes.

    Attributes:
        stream: The stream.
        styled: Whether headings are set in bold.
    """

    stream: TextIO
    styled: bool = False

    @classmethod
    def on(cls, stream: TextIO) -> Terminal:
        """A terminal with bold headings, or a file without; NO_COLOR turns them off."""
        return cls(stream, styled=stream.isatty() and "NO_COLOR" not in os.environ)

    def heading(self, text: str) -> None:
        """Writes the title of a section."""
        line = f"{_BOLD}{text}{_PLAIN}" if self.styled else text
        self.show(["", line, "=" * len(text)])

    def show(self, lines: Iterable[str]) -> None:
        """Writes lines, at once."""
        self.stream.writelines(f"{line}\n" for line in lines)
        self.stream.flush()


def percent(fraction: float, digits: int = 2) -> str:
    """0.1285 as `12.85%`."""
    return f"{fraction:z.{digits}%}"


def short_percent(fraction: float) -> str:
    """A stated limit or level without idle digits: 0.15 as `15%`, 0.975 as `97.5%`."""
    return f"{round(100 * fraction, 4):g}%"


def points(fraction: float) -> str:
    """A difference of fractions in percentage points, with its sign: 0.0856 as `+8.56`."""
    return f"{100 * fraction:+z.2f}"


def money(amount: str | float) -> str:
    """An amount to the cent: `95,964.30`; empty where there is none."""
    return f"{float(amount):z,.2f}" if amount != "" else ""


def shares(quantity: str | float) -> str:
    """A number of shares, whole or not: `1,364`, `0.25`."""
    return f"{float(quantity):,.12g}"


def words(enum_name: str, prefix: str) -> str:
    """The name of an enum's value as words: `LOT_METHOD_LEAST_TAX` as `least tax`."""
    return enum_name.removeprefix(prefix).replace("_", " ").lower()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligned columns under their titles.

    Args:
        columns: Titles, each after its alignment `<` or `>`. Without any title there is no line of titles.
        rows: Cells, as many per row as there are columns. The last one is wrapped where the width ends.
    """
    titles = tuple(column[1:] for column in columns)
    lines = [tuple(row) for row in rows]
    shown = [titles, *lines] if any(titles) else lines
    widths = [max((len(row[place]) for row in shown), default=0) for place in range(len(columns))]
    widths[-1] = min(widths[-1], WIDTH - sum(widths[:-1]) - len(_GAP) * (len(columns) - 1))
    formats = [f"{column[0]}{width}" for column, width in zip(columns, widths, strict=True)]
    underline = [tuple("-" * width for width in widths)] if any(titles) else []
    body = [*shown[:1], *underline, *shown[1:]] if underline else shown
    return [line for row in body for line in _row(row, formats, widths[-1])]


def paragraph(text: str, indent: str = "") -> list[str]:
    """Running text, wrapped; lines after the first are indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _row(cells: Sequence[str], formats: Sequence[str], last_width: int) -> list[str]:
    last = textwrap.wrap(cells[-1], last_width, break_on_hyphens=False) or [""]
    first_lines = zip_longest([[*cells[:-1]]], last, fillvalue=None)
    blank = [""] * (len(cells) - 1)
    return [
        _GAP.join(f"{cell:{form}}" for cell, form in zip([*(start or blank), end or ""], formats, strict=True)).rstrip()
        for start, end in first_lines
    ]
