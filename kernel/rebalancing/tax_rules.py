"""Rules and rates of taxation as data with dates: which of them hold on a day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol, TypeVar

from kernel.errors import ProblemError
from kernel.rebalancing.lots import GainRates
from kernel.rebalancing.money import require_amount


@dataclass(frozen=True, slots=True)
class TaxRuleSet:
    """The rules of one jurisdiction from a day on, until the next set begins.

    Attributes:
        jurisdiction: Name of the rules, e.g. ``US``.
        valid_from: First day on which they hold.
        long_term_months: A gain is long-term when the lot was held for more than this number of months, >= 0.
        wash_sale_days: Days before and after a sale at a loss within which a purchase disallows it, both ends
            included, >= 0.
        loss_limit: Net loss of a year that reduces other income, money.
        separate_loss_limit: The same for those who file separately, money.
        source: Where the rules come from.
    """

    jurisdiction: str
    valid_from: date
    long_term_months: int
    wash_sale_days: int
    loss_limit: Decimal
    separate_loss_limit: Decimal
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("long_term_months", "wash_sale_days"):
            if getattr(self, name) < 0:
                raise ProblemError(f"tax_rules.{name}", f"must be zero or more, got {getattr(self, name)}")
        for name in ("loss_limit", "separate_loss_limit"):
            require_amount(f"tax_rules.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True)
class DatedRates:
    """Tax rates from a day on, until the next ones begin.

    Attributes:
        from_date: First day on which they hold.
        rates: On short-term and long-term gains.
    """

    from_date: date
    rates: GainRates

    @property
    def valid_from(self) -> date:
        """First day on which they hold."""
        return self.from_date


class _Dated(Protocol):
    @property
    def valid_from(self) -> date: ...


_D = TypeVar("_D", bound=_Dated)


def rules_on(rule_sets: Iterable[TaxRuleSet], day: date) -> TaxRuleSet:
    """The rules that hold on a day: those that began last.

    Args:
        rule_sets: The sets of one jurisdiction, in any order.
        day: The day.

    Returns:
        The set.

    Raises:
        ProblemError: None holds yet, two begin on the same day, or there is more than one jurisdiction.
    """
    known = tuple(rule_sets)
    jurisdictions = sorted({rules.jurisdiction for rules in known})
    if len(jurisdictions) > 1:
        raise ProblemError("tax_rules.jurisdiction", f"must be one, got {', '.join(jurisdictions)}")
    return _latest("tax_rules", known, day)


def rates_on(dated_rates: Iterable[DatedRates], day: date) -> GainRates:
    """The rates that hold on a day: those that began last.

    Args:
        dated_rates: In any order.
        day: The day.

    Returns:
        The rates.

    Raises:
        ProblemError: None hold yet, or two begin on the same day.
    """
    return _latest("dated_rates", tuple(dated_rates), day).rates


def _latest(field: str, entries: Sequence[_D], day: date) -> _D:
    starts = [entry.valid_from for entry in entries]
    for start in starts:
        if starts.count(start) > 1:
            raise ProblemError(field, f"two begin on {start.isoformat()}")
    begun = [entry for entry in entries if entry.valid_from <= day]
    if not begun:
        first = f"the first begins on {min(starts).isoformat()}" if starts else "there are none"
        raise ProblemError(field, f"none holds on {day.isoformat()}: {first}")
    return max(begun, key=lambda entry: entry.valid_from)
