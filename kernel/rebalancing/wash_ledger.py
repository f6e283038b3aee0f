"""A whole history of purchases and sales, settled from its beginning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from kernel.errors import ProblemError
from kernel.rebalancing.household import Account, Household, HouseholdLot, SettledSale, WashMatch, WashPolicies
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.tax import NetGains, recognised_gains
from kernel.rebalancing.tax_rules import TaxRuleSet, rules_on
from kernel.rebalancing.wash_parts import with_matches
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale, record_purchase, record_sale


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What a history comes to.

    Attributes:
        sales: The parts of all sales in the order of the sales, with the matches of purchases after them, too.
        household: What is held at the end, with the losses that are still open.
        gains_by_year: What counts for tax in each calendar year of a sale, by term.
    """

    sales: tuple[SettledSale, ...]
    household: Household
    gains_by_year: Mapping[int, NetGains]

    @property
    def lots(self) -> tuple[HouseholdLot, ...]:
        """What is held at the end."""
        return self.household.lots

    @property
    def disallowed(self) -> Decimal:
        """Losses that may not be used, money."""
        return sum((sale.disallowed for sale in self.sales), ZERO)

    @property
    def lost(self) -> Decimal:
        """Part of them that no basis takes over, money."""
        return sum((sale.lost for sale in self.sales), ZERO)


def settle_ledger(
    events: Iterable[AccountPurchase | AccountSale],
    rule_sets: Iterable[TaxRuleSet],
    policies: WashPolicies,
    *,
    start: Household | None = None,
) -> LedgerReport:
    """Records every event in the order of the days; events of the same day stay in the order given.

    Args:
        events: Purchases and sales; a sale's id is unique in its account.
        rule_sets: Rules with dates; each event is recorded by those that hold on its day.
        policies: How the wash-sale rule is read.
        start: State before; None for nothing held and taxable accounts only.

    Returns:
        Sales, holdings and gains.

    Raises:
        ProblemError: As record_sale and record_purchase; or a sale's id comes twice, or no rules hold on a day.
    """
    ordered = sorted(events, key=_day)
    known_rules = tuple(rule_sets)
    household = _taxable(ordered) if start is None else start
    sales: list[SettledSale] = []
    seen: set[tuple[str, str]] = set()
    for event in ordered:
        rules = rules_on(known_rules, _day(event))
        if isinstance(event, AccountPurchase):
            household, matches = record_purchase(household, event, rules, policies)
            _disallow(sales, matches)
            continue
        if (event.account_id, event.sale_id) in seen:
            raise ProblemError(f"sales[{event.sale_id}]", f"is given twice in account {event.account_id}")
        seen.add((event.account_id, event.sale_id))
        household, settled = record_sale(household, event, rules, policies)
        sales += settled
    return LedgerReport(tuple(sales), household, _gains_by_year(sales))


def _day(event: AccountPurchase | AccountSale) -> date:
    return event.acquired_on if isinstance(event, AccountPurchase) else event.sold_on


def _taxable(events: Iterable[AccountPurchase | AccountSale]) -> Household:
    return Household(accounts=tuple(Account(name) for name in sorted({event.account_id for event in events})))


def _disallow(sales: list[SettledSale], matches: Iterable[WashMatch]) -> None:
    """Losses of before the history are not among its sales."""
    for match in matches:
        key = (match.sale_account_id, match.sale_id, match.sold_lot_id)
        for at, sale in enumerate(sales):
            if (sale.account_id, sale.sale_id, sale.lot_id) == key and sale.quantity:
                sales[at] = with_matches(sale, (match,))


def _gains_by_year(sales: Iterable[SettledSale]) -> dict[int, NetGains]:
    years: dict[int, list[SettledSale]] = {}
    for sale in sales:
        years.setdefault(sale.sold_on.year, []).append(sale)
    return {year: recognised_gains(parts) for year, parts in sorted(years.items())}
