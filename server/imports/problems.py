"""What is wrong with a file: every bad row with its place, and the refusal that carries them."""

from __future__ import annotations

from dataclasses import dataclass, field

SHOWN_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One fault of a file.

    Attributes:
        file: Name of the file.
        row: Row number. CSV: line of the file, the header being row 1. Parquet: record, counted from 1. None: the file.
        column: Name of the column in the file, None when the whole row is meant.
        value: What stands there, as text.
        reason: Why it cannot be taken.
    """

    file: str
    row: int | None
    column: str | None
    value: str | None
    reason: str

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file} row {self.row}"
        if self.column is not None:
            place += f", column {self.column}"
        return f"{place}: {self.reason}" if self.value is None else f"{place}: {self.value!r} {self.reason}"


class ImportRefusedError(Exception):
    """Nothing of the load is kept, because rows of it are bad.

    Attributes:
        problems: The first problems, at most ``SHOWN_PROBLEMS``.
        count: How many there are altogether.
    """

    def __init__(self, problems: tuple[RowProblem, ...], count: int) -> None:
        super().__init__(_summary(problems, count))
        self.problems = problems
        self.count = count


def _summary(problems: tuple[RowProblem, ...], count: int) -> str:
    noun = "problem" if count == 1 else "problems"
    lines = [f"nothing was imported: {count} {noun}"]
    lines += [f"  {problem}" for problem in problems]
    if count > len(problems):
        lines.append(f"  ... and {count - len(problems)} more")
    return "\n".join(lines)


@dataclass(slots=True)
class Problems:
    """Collects the faults of one file; only the first ``SHOWN_PROBLEMS`` are kept word for word."""

    file: str
    shown: list[RowProblem] = field(default_factory=list)
    count: int = 0

    def add(self, row: int | None, reason: str, *, column: str | None = None, value: str | None = None) -> None:
        """Notes one fault."""
        self.count += 1
        if len(self.shown) < SHOWN_PROBLEMS:
            self.shown.append(RowProblem(self.file, row, column, value, reason))

    def raise_if_any(self) -> None:
        """Refuses the load when anything was noted.

        Raises:
            ImportRefusedError: With every fault noted so far.
        """
        if self.count:
            raise ImportRefusedError(tuple(sorted(self.shown, key=lambda problem: problem.row or 0)), self.count)


def refusal(file: str, reason: str) -> ImportRefusedError:
    """A refusal for one fault of the file as a whole."""
    return ImportRefusedError((RowProblem(file, None, None, None, reason),), 1)
