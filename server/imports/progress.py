"""How far a load is: a callback for the caller, and one line on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is.

    Attributes:
        file: Name of the file.
        rows: Rows read so far.
        fraction: Share of the file that has been read, 0 to 1.
    """

    file: str
    rows: int
    fraction: float


ProgressCallback = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """Shows nothing."""


def terminal_progress(stream: TextIO) -> ProgressCallback:
    """A callback that keeps one line of a terminal up to date, and writes nothing elsewhere."""
    if not stream.isatty():
        return no_progress

    def show(progress: Progress) -> None:
        end = "\n" if progress.fraction >= 1.0 else ""
        stream.write(f"\r{progress.file}: {progress.rows:,} rows read, {progress.fraction:4.0%}{end}")
        stream.flush()

    return show
