"""Collects everything that is wrong with a request, so that the caller learns of it at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from server.errors import Fault, InvalidRequest
from server.settings import Settings
from server.vocabulary import Vocabulary

LONGEST_ID = 36
_LONGEST_NAME = 200
_LONGEST_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a number may be. Open ends exclude their limit."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def hold(self, value: float) -> bool:
        """Whether `value` is finite and inside."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "finite"
        low = f"{'above' if self.open_low else 'at least'} {self.low:g}"
        high = f"{'below' if self.open_high else 'at most'} {self.high:g}"
        if self.low == -math.inf or self.high == math.inf:
            return high if self.low == -math.inf else low
        return f"{low} and {high}"


FRACTION = Bounds(0.0, 1.0)
POSITIVE = Bounds(0.0, open_low=True)
FINITE = Bounds()


MessageT = TypeVar("MessageT")
SpecT = TypeVar("SpecT")


class Faults:
    """The faults of one request."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, field: str, description: str) -> None:
        """Note a fault."""
        self._faults.append(Fault(field, description))

    def include(self, field: str, part: Faults) -> None:
        """Note the faults of a message within this one, under its field."""
        self._faults += [Fault(f"{field}.{fault.field}", fault.description) for fault in part._faults]

    def check(self) -> None:
        """Raise what was noted.

        Raises:
            InvalidRequest: With every fault.
        """
        if self._faults:
            raise InvalidRequest(self._faults)

    def number(self, field: str, value: float, bounds: Bounds) -> float:
        """`value`, noted when outside of `bounds`."""
        if not bounds.hold(value):
            self.add(field, f"must be {bounds}, not {value:g}")
        return value

    def limit(self, field: str, value: float, bounds: Bounds = FRACTION) -> float | None:
        """A limit whose 0 means "not set"."""
        return None if value == 0 else self.number(field, value, bounds)

    def numbers(self, field: str, values: Mapping[str, float], bounds: Bounds) -> dict[str, float]:
        """A map from names to numbers."""
        for name in values:
            self.name(f"{field}[{name}]", name)
        return {name: self.number(f"{field}[{name}]", value, bounds) for name, value in values.items()}

    def word(self, field: str, value: str, vocabulary: Vocabulary) -> str:
        """A word of a vocabulary."""
        if value not in vocabulary.served:
            found = f"not {value!r}" if value else "and is missing"
            self.add(field, f"must be one of {vocabulary.accepted}, {found}")
        return value

    def identifier(self, field: str, value: str, *, required: bool = True) -> str:
        """An id that storage can keep."""
        if not value:
            if required:
                self.add(field, "is required")
            return value
        return self._text(field, value, LONGEST_ID)

    def name(self, field: str, value: str) -> str:
        """A name that is not empty and can be kept."""
        if not value:
            self.add(field, "has an empty name")
        return self._text(field, value, _LONGEST_NAME)

    def distinct(self, field: str, names: Iterable[str]) -> None:
        """Names that must not repeat."""
        if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
            self.add(field, f"repeats {', '.join(repeated)}")

    def text(self, field: str, value: str) -> str:
        """Free text that can be kept; it may be empty."""
        return self._text(field, value, _LONGEST_TEXT)

    def _text(self, field: str, value: str, longest: int) -> str:
        if len(value) > longest:
            self.add(field, f"must have at most {longest} characters, not {len(value)}")
        if not value.isprintable():
            self.add(field, "must not have control characters")
        return value


def checked(read: Callable[[MessageT, Settings, Faults], SpecT], message: MessageT, settings: Settings) -> SpecT:
    """What `read` makes of a message.

    Raises:
        InvalidRequest: With every fault that it noted.
    """
    faults = Faults()
    spec = read(message, settings, faults)
    faults.check()
    return spec
