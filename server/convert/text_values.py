"""Values that the contract carries as text: exact decimals, days, codes and names."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from server.convert.faults import FINITE, POSITIVE, Bounds, Faults
from server.listing import listed

_SHOWN = 40
# ASCII digits only: the type's own parser takes other scripts, underscores, exponents and "nan" too.
_DECIMAL = re.compile(r"[+-]?([0-9]+)(?:\.([0-9]+))?")


@dataclass(frozen=True, slots=True)
class Exact:
    """What a decimal number may be: its range, and how many digits it may have on each side of the point."""

    bounds: Bounds
    whole: int
    decimals: int

    def fits(self, text: str) -> bool:
        """Whether `text` is a decimal number of so many digits."""
        match = _DECIMAL.fullmatch(text)
        return match is not None and len(match[1]) <= self.whole and len(match[2] or "") <= self.decimals


MONEY = Exact(FINITE, 18, 20)
MONEY_NOT_NEGATIVE = Exact(Bounds(0.0), 18, 20)
MONEY_ABOVE_ZERO = Exact(POSITIVE, 18, 20)
# So few digits that sums of lots and values at a price stay exact.
SHARES = Exact(FINITE, 12, 12)
SHARES_ABOVE_ZERO = Exact(POSITIVE, 12, 12)


def read_decimal(field: str, text: str, exact: Exact, faults: Faults) -> Decimal | None:
    """The number that a text is; None where it is empty, or not such a number, which is noted."""
    if not text:
        return None
    if not exact.fits(text):
        digits = f"at most {exact.whole} digits before the point and {exact.decimals} behind it"
        faults.add(field, f"must be a decimal number such as 1234.50, with {digits}, not {text[:_SHOWN]!r}")
        return None
    if not exact.bounds.hold(float(text)):
        faults.add(field, f"must be {exact.bounds}, not {text}")
        return None
    return Decimal(text)


def write_decimal(value: Decimal | None) -> str:
    """A decimal number without exponent; empty where there is none."""
    return "" if value is None else f"{value:f}"


def shortest_decimal(value: float) -> Decimal:
    """The shortest decimal that is this number; zero for what is no number, where a fault was noted."""
    return Decimal(repr(value)) if math.isfinite(value) else Decimal(0)


def read_day(field: str, text: str, faults: Faults) -> date | None:
    """A day as YYYY-MM-DD; None where the text is empty, or no day, which is noted."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # Weeks and days without dashes are ISO 8601 too, but not what the contract says.
    if day is None or day.isoformat() != text:
        faults.add(field, f"must be a day such as 2022-12-28, not {text[:_SHOWN]!r}")
        return None
    return day


def write_day(day: date | None) -> str:
    """A day as YYYY-MM-DD; empty where there is none."""
    return "" if day is None else day.isoformat()


def read_code(field: str, text: str, letters: int, faults: Faults) -> str:
    """A code of so many capital letters, such as a currency; empty where it is absent."""
    if text and not re.fullmatch(f"[A-Z]{{{letters}}}", text):
        faults.add(field, f"must be {letters} capital letters, not {text[:_SHOWN]!r}")
    return text


def read_words(field: str, text: str, faults: Faults, *, required: bool = False) -> str:
    """Words for people, of a length that can be shown; empty where they are absent."""
    if text:
        return faults.name(field, text)
    if required:
        faults.add(field, "is required")
    return text


def refuse_repeats(field: str, names: Iterable[str], faults: Faults) -> None:
    """Note the names that appear more than once."""
    if repeated := sorted(name for name, count in Counter(names).items() if name and count > 1):
        faults.add(field, f"repeats {listed(repeated)}")
