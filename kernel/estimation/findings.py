"""What the checks of prices can find, and the limits they go by."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """ERROR: the name has no sound full history and must stay out. WARNING: usable, but worth a look."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """What was found; in this order within one asset's findings.

    LEFT_OUT comes from models, not from the checks of prices: something that was not needed and is not used.
    """

    DUPLICATE_DATE = "duplicate_date"
    OUTDATED = "outdated"
    DUPLICATE_INSTRUMENT = "duplicate_instrument"
    TOO_SHORT = "too_short"
    LATE_START = "late_start"
    ENDED_EARLY = "ended_early"
    MISSING = "missing"
    NON_POSITIVE = "non_positive"
    CONSTANT = "constant"
    STALE = "stale"
    WRONG_SPLIT = "wrong_split"
    JUMP = "jump"
    LEFT_OUT = "left_out"


WARNINGS = frozenset({Code.OUTDATED, Code.STALE, Code.WRONG_SPLIT, Code.JUMP, Code.LEFT_OUT})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found about one asset, or about the table.

    Attributes:
        code: What it is.
        instrument_id: The asset; None when it concerns the whole table.
        date: The first day concerned, if it has one.
        message: One sentence that names the asset, the days, the numbers and the limit.
    """

    code: Code
    instrument_id: str | None
    date: dt.date | None
    message: str

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return Severity.WARNING if self.code in WARNINGS else Severity.ERROR


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """Limits of the checks.

    Attributes:
        max_jump: Largest absolute simple return from one known price to the next, a fraction > 0.
        max_stale_days: So many rows in a row without a change of price are stale, >= 1.
        min_observations: Fewest prices per asset, >= 0.
        max_age_days: Largest age of the last row at ``as_of`` in calendar days, >= 0; None for no such check.
        as_of: The day to measure the age at; None for no such check.
    """

    max_jump: float = 0.40
    max_stale_days: int = 10
    min_observations: int = 60
    max_age_days: int | None = None
    as_of: dt.date | None = None
