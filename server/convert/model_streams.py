"""Streams of numbers in rows, whose first part is a header: what those of all kinds of model data share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from portfolio_optimization.v1 import model_data_pb2 as pb

from server.compute.inputs import Floats
from server.convert.faults import Bounds, Faults
from server.convert.text_values import read_day, read_words, refuse_repeats
from server.errors import Fault, InvalidRequest
from server.settings import Settings
from storage.records import ModelSet

MOST_VALUES = 25_000_000
# A stream with so many faults is not read on.
MOST_FAULTS = 20

Header = pb.ScenariosHeader | pb.CovarianceHeader | pb.FactorExposuresHeader
Part = pb.LoadScenariosRequest | pb.LoadCovarianceRequest | pb.LoadFactorExposuresRequest
RowT = TypeVar("RowT")
SetT = TypeVar("SetT", bound=ModelSet)


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What holds for all of a stream.

    Attributes:
        names: Of the numbers in a row: instruments, or factors.
        days: Length of a scenario in trading days, 0 for other kinds.
    """

    source: str
    as_of: date
    names: tuple[str, ...]
    days: int = 0


class ModelStream(ABC, Generic[RowT, SetT]):
    """Gathers the rows of a stream.

    Faults of rows are gathered too; a stream out of order, too large or with many faults is given up at once. Numbers
    are checked at the end, all at a time.

    Attributes:
        field: Name of a row's field in the part, as faults name it.
        instruments: Field with the instruments, as faults name it.
    """

    field: ClassVar[str]
    instruments: ClassVar[str] = "header.instrument_ids"

    def __init__(self, settings: Settings) -> None:
        self._most_names = settings.max_assets
        self._header: ModelHeader | None = None
        self._numbers = array("d")
        self._faults: list[Fault] = []

    @property
    def header(self) -> ModelHeader:
        """The header.

        Raises:
            InvalidRequest: None has come.
        """
        if self._header is None:
            raise InvalidRequest([Fault("header", "must be the first message")])
        return self._header

    def take(self, message: Part) -> None:
        """Take a part.

        Raises:
            InvalidRequest: It is out of order, one too many, or the last of many that are faulty.
        """
        part = message.WhichOneof("part")
        if part is None:
            raise InvalidRequest([Fault("part", f"must be a header or {self.field}")])
        if part == "header":
            if self._header is not None:
                raise InvalidRequest([Fault("header", "must be sent once")])
            self._header = self._read_header(message.header)
        else:
            self._take_row(getattr(message, part), self.header)

    @abstractmethod
    def end(self) -> SetT:
        """All that was gathered.

        Raises:
            InvalidRequest: With every fault.
        """

    @abstractmethod
    def _read_header(self, message: Header) -> ModelHeader: ...

    @abstractmethod
    def _take_row(self, row: RowT, header: ModelHeader) -> None: ...

    def _keep(self, numbers: Sequence[float]) -> None:
        """Take the numbers of a row."""
        if len(self._numbers) + len(numbers) > MOST_VALUES:
            raise InvalidRequest([Fault(self.field, f"has more than {MOST_VALUES} values in all")])
        self._numbers.extend(numbers)

    def _note(self, field: str, description: str) -> None:
        """Note a fault of a row."""
        self._faults.append(Fault(field, description))
        if len(self._faults) >= MOST_FAULTS:
            reason = "has more faults than can be listed; what follows was not looked at"
            raise InvalidRequest([*self._faults, Fault(self.field, reason)])

    def _table(self, width: int, needed: int = 1) -> Floats:
        """The numbers as rows.

        Raises:
            InvalidRequest: With the faults of rows that were noted, or because there are too few.
        """
        rows = len(self._numbers) // width
        if not self._faults and rows < needed:
            self._faults.append(Fault(self.field, f"must be at least {needed} in all, not {rows}"))
        if self._faults:
            raise InvalidRequest(self._faults)
        return np.frombuffer(self._numbers, dtype=np.float64).reshape(rows, width)


def read_names(
    field: str, names: Iterable[str], most: int, check: Callable[[str, str], str], faults: Faults
) -> tuple[str, ...]:
    """Ids of instruments, or names of factors, none twice; `check` notes what is wrong with one."""
    read = tuple(names)
    if not 1 <= len(read) <= most:
        faults.add(field, f"must be 1 to {most}, not {len(read)}")
        return read
    for k, name in enumerate(read):
        check(f"{field}[{k}]", name)
    refuse_repeats(field, read, faults)
    return read


def read_origin(at: str, message: Header | pb.LoadForecastRequest, faults: Faults) -> tuple[str, date]:
    """Where model data come from, and of which day they are; some day where it is missing, which is noted."""
    source = read_words(f"{at}source", message.source, faults)
    if not message.as_of:
        faults.add(f"{at}as_of", "is required")
    return source, read_day(f"{at}as_of", message.as_of, faults) or date.min


def read_length(field: str, days: int, longest: int, faults: Faults) -> int:
    """A number of trading days."""
    if not 1 <= days <= longest:
        faults.add(field, f"must be 1 to {longest}, not {days}")
    return days


def refuse_outside(values: Floats, bounds: Bounds, place: Callable[[int, int], str], faults: Faults) -> None:
    """Note the first of the numbers (m, k) that are outside of the bounds, and how many more are."""
    above = values > bounds.low if bounds.open_low else values >= bounds.low
    wrong: npt.NDArray[np.intp] = np.flatnonzero(~(above & (values <= bounds.high)))
    places = [divmod(int(k), values.shape[1]) for k in wrong[: MOST_FAULTS + 1]]
    for i, j in places[:MOST_FAULTS]:
        faults.add(place(i, j), f"must be {bounds}, not {values[i, j]:g}")
    for i, j in places[MOST_FAULTS:]:
        faults.add(place(i, j), f"is the first of {wrong.size - MOST_FAULTS} more that are wrong")
