"""What the tax of a portfolio's trades depends on beside the trades."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from kernel.rebalancing.household import Household, WashPolicies
from kernel.rebalancing.lots import LotMethod, TaxLot
from kernel.rebalancing.money import ZERO, to_cents
from kernel.rebalancing.tax import NetGains, TaxRules
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.tax_years import TaxYear
from server.rebalance_specs import TaxChoice


@dataclass(frozen=True, slots=True)
class TaxContext:
    """All that the tax of a portfolio's trades depends on beside the trades.

    Attributes:
        portfolio_id: Its account in the household.
        household: All accounts that count together for wash sales.
        rules: Rules that hold on the day.
        policies: Readings of the wash-sale rule.
        terms: Rates of the day, yearly loss limit, value of a carried loss; rates of zero in a retirement account.
        figures: What the year has realised and carried in; nothing in a retirement account.
        method: How lots are chosen unless a request says otherwise.
        sold_on: Day of the trades.
        retirement: Whether sales are not taxed.
    """

    portfolio_id: str
    household: Household
    rules: TaxRuleSet
    policies: WashPolicies
    terms: TaxRules
    figures: TaxYear
    method: LotMethod
    sold_on: date
    retirement: bool = False

    @property
    def year_to_date(self) -> NetGains:
        """Net gains realised this year, losses carried in included."""
        return self.figures.net

    @property
    def lots(self) -> dict[str, tuple[TaxLot, ...]]:
        """The account's lots by instrument, in the order of purchase."""
        found: dict[str, list[TaxLot]] = {}
        for held in self.household.lots:
            if held.account_id == self.portfolio_id:
                found.setdefault(held.instrument_id, []).append(held.lot)
        return {name: tuple(lots) for name, lots in found.items()}

    @property
    def is_taxed(self) -> bool:
        """Whether any rate is above zero."""
        rates = self.terms.rates
        return any((rates.short_term, rates.long_term, self.terms.income_rate, self.terms.carried_loss_value))

    def lot_method(self, choice: TaxChoice) -> LotMethod:
        """How lots are chosen: as a request says, for the least tax where tax counts, or as the portfolio has it."""
        return choice.lot_method or (LotMethod.LEAST_TAX if choice.considered else self.method)


@dataclass(frozen=True, slots=True)
class Traded:
    """Shares bought or sold on the day.

    Attributes:
        instrument_id: What is traded.
        quantity: Shares, > 0.
        price: Money per share, before costs.
        cost: Of the trade, money, >= 0: it lowers what a sale brings and raises what a purchase takes.
    """

    instrument_id: str
    quantity: Decimal
    price: Decimal
    cost: Decimal = ZERO

    @property
    def proceeds_per_share(self) -> Decimal:
        """What a share sold brings; a sale that brings less than it costs brings nothing, as in the books."""
        return max(to_cents(self.quantity * self.price) - self.cost, ZERO) / self.quantity

    @property
    def cost_per_share(self) -> Decimal:
        """What a share bought takes."""
        return (to_cents(self.quantity * self.price) + self.cost) / self.quantity
