"""Tax of trades in memory: parts of a household against the whole, what the search is told, which lots are chosen."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.household import (
    Account,
    Household,
    HouseholdLot,
    IdenticalInstruments,
    RealizedLoss,
    SettledSale,
    WashPolicies,
)
from kernel.rebalancing.lots import GainRates, LotMethod, TaxLot, Term
from kernel.rebalancing.tax import NetGains, TaxRules
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale, record_purchase, record_sale
from server.compute.lot_choice import choose_lots, compare_methods, named_lots
from server.compute.tax_context import TaxContext, Traded
from server.compute.taxed_trades import Picks, TaxedTrades, settle_trades
from server.compute.taxes import trade_tax
from server.rebalance_specs import TaxChoice

DAY = date(2026, 3, 20)
RULES = TaxRuleSet("US", date(1989, 1, 1), 12, 30, Decimal(3000), Decimal(1500))
TERMS = TaxRules(GainRates(Decimal("0.408"), Decimal("0.238")), Decimal(3000))
NAMES = ("AAPL", "KO", "MSFT", "XOM")
ZERO = Decimal(0)
PLAIN = TaxChoice()


def days(count: int) -> date:
    return DAY - timedelta(days=count)


def held(lot_id: str, quantity: int, cost: object, day: date, name: str = "AAPL", account: str = "a") -> HouseholdLot:
    return HouseholdLot(account, name, TaxLot(lot_id, Decimal(quantity), Decimal(str(cost)), day))


def loss(quantity: int, amount: int, day: date, name: str = "AAPL", account: str = "a") -> RealizedLoss:
    return RealizedLoss(
        account, f"t-{name}-{day}", name, "gone", Decimal(quantity), Decimal(amount), day, date(2025, 1, 2)
    )


def context(*lots: HouseholdLot, losses: tuple[RealizedLoss, ...] = (), **changes: object) -> TaxContext:
    household = Household(
        (Account("a"), Account("ira", retirement=True)),
        tuple(sorted(lots, key=lambda each: each.acquired_on)),
        losses,
        identical=IdenticalInstruments.of_pairs([("AAPL", "KO")]),
    )
    plain = TaxContext("a", household, RULES, WashPolicies(), TERMS, NetGains(), LotMethod.FIFO, DAY)
    return replace(plain, **changes)  # type: ignore[arg-type]


def random_context(chance: random.Random) -> TaxContext:
    lots = [
        held(
            f"L{k}",
            chance.randint(1, 9),
            chance.randint(50, 150),
            days(chance.choice((1, 5, 20, 30, 31, 200, 800))),
            chance.choice(NAMES),
            chance.choice(("a", "a", "a", "ira")),
        )
        for k in range(chance.randint(3, 12))
    ]
    losses = [
        loss(chance.randint(1, 5), chance.randint(1, 99), days(chance.randint(0, 32)), name)
        for name in NAMES
        if chance.random() < 0.4
    ]
    return context(*lots, losses=tuple(losses), policies=WashPolicies(count_sold_replacements=chance.random() < 0.3))


def random_trades(chance: random.Random, account: TaxContext) -> tuple[list[Traded], list[Traded]]:
    sells, buys = [], []
    prices = {one_name(name): Decimal(chance.randint(600, 1400)) / 10 for name in NAMES}
    for name in NAMES:
        price = prices[one_name(name)]
        owned = int(sum((lot.quantity for lot in account.lots.get(name, ())), ZERO))
        if owned and chance.random() < 0.6:
            sells.append(Traded(name, Decimal(chance.randint(1, owned)), price))
        elif chance.random() < 0.6:
            buys.append(Traded(name, Decimal(chance.randint(1, 9)), price))
    return sells, buys


def renamed(account: TaxContext) -> Household:
    """The household with AAPL and KO, which are identical, as one instrument."""
    whole = account.household

    def all_of(parts: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(replace(part, instrument_id=one_name(part.instrument_id)) for part in parts)

    return replace(whole, lots=all_of(whole.lots), losses=all_of(whole.losses), sold=all_of(whole.sold))


def one_name(name: str) -> str:
    return "AAPL" if name == "KO" else name


def gains_in_whole(account: TaxContext, picks: Picks, sells: list[Traded], buys: list[Traded]) -> tuple[Decimal, ...]:
    """Gains by term, what is disallowed and what stays open, of the engine with one sale of all that is identical."""
    whole, lines = renamed(account), []
    for name in ("AAPL", "MSFT", "XOM"):
        of_name = [sell for sell in sells if one_name(sell.instrument_id) == name]
        if of_name:
            lots = tuple(part for sell in of_name for part in picks[sell.instrument_id])
            sale = AccountSale("a", f"s-{name}", name, lots, of_name[0].price, DAY)
            whole, settled = record_sale(whole, sale, account.rules, account.policies)
            lines += settled
    terms = {(line.sale_id, line.lot_id): line.term for line in lines}
    terms |= {(each.sale_id, each.lot_id): each.term for each in account.household.losses}
    gains = {Term.SHORT: ZERO, Term.LONG: ZERO}
    for line in lines:
        gains[line.term] += line.recognised
    disallowed = sum((line.disallowed for line in lines), ZERO)
    for buy in buys:
        name = buy.instrument_id
        bought = AccountPurchase("a", f"b-{name}", one_name(name), buy.quantity, buy.price, DAY)
        whole, matches = record_purchase(whole, bought, account.rules, account.policies)
        for match in matches:
            gains[terms[match.sale_id, match.sold_lot_id]] += match.disallowed
            disallowed += match.disallowed
    open_losses = sum((each.loss for each in whole.losses), ZERO)
    return gains[Term.SHORT], gains[Term.LONG], disallowed, open_losses


@pytest.mark.parametrize("seed", range(200))
def test_parts_of_a_household_give_what_the_whole_gives(seed: int) -> None:
    chance = random.Random(seed)
    account = random_context(chance)
    sells, buys = random_trades(chance, account)
    picks = choose_lots(account, TaxChoice(lot_method=chance.choice((LotMethod.FIFO, LotMethod.HIFO))), sells, buys)
    found = settle_trades(account, LotMethod.FIFO, picks, sells, buys)
    tax = found.tax
    open_losses = sum((each.loss for each in found.losses), ZERO)
    numbers = (tax.gains.short_term, tax.gains.long_term, tax.disallowed, open_losses)
    assert numbers == gains_in_whole(account, picks, sells, buys)
    assert {sale.lot_id: sale.quantity for sale in found.sales} == {
        lot_id: quantity for parts in picks.values() for lot_id, quantity in parts
    }


def tax_of(found: TaxedTrades) -> Decimal:
    return found.tax.additional_tax


@pytest.mark.parametrize("seed", range(60))
def test_least_tax_among_the_orders(seed: int) -> None:
    """Never more than one order for all sales, nor than any combination of orders of two sales."""
    chance = random.Random(seed)
    account = replace(
        random_context(chance),
        year_to_date=NetGains(Decimal(chance.randint(-300, 300)), Decimal(chance.randint(0, 300))),
    )
    sells, buys = random_trades(chance, account)
    least = choose_lots(account, TaxChoice(lot_method=LotMethod.LEAST_TAX), sells, buys)
    best = tax_of(settle_trades(account, LotMethod.LEAST_TAX, least, sells, buys))
    orders = (LotMethod.FIFO, LotMethod.LIFO, LotMethod.HIFO, LotMethod.AVOID_SHORT_TERM)
    every = [choose_lots(account, TaxChoice(lot_method=order), sells, buys) for order in orders]
    assert best <= min(tax_of(settle_trades(account, LotMethod.FIFO, picks, sells, buys)) for picks in every)
    if len(sells) == 1:
        name = sells[0].instrument_id
        combined = [{name: picks[name]} for picks, _ in product(every, repeat=2)]
        assert best <= min(tax_of(settle_trades(account, LotMethod.FIFO, picks, sells, buys)) for picks in combined)


def test_the_same_trades_under_fifo_and_hifo() -> None:
    account = context(held("old", 10, 40, days(900)), held("new", 10, 130, days(100)))
    fifo, hifo = compare_methods(account, [Traded("AAPL", Decimal(10), Decimal(100))], [])
    assert (tax_of(fifo), tax_of(hifo)) == (600 * Decimal("0.238"), -300 * Decimal("0.408"))


def test_a_purchase_takes_an_open_loss_back_with_its_term() -> None:
    account = context(losses=(replace(loss(10, 300, days(5)), term=Term.LONG),))
    found = settle_trades(account, LotMethod.FIFO, {}, [], [Traded("KO", Decimal(4), Decimal(50))])
    (line,) = found.earlier
    assert isinstance(line, SettledSale)
    assert (line.quantity, line.disallowed, line.recognised) == (0, 120, 120)
    assert found.tax.gains == NetGains(ZERO, Decimal(120))
    assert [each.loss for each in found.losses] == [180]


# --- what the search is told


def test_the_search_knows_lots_rates_and_the_window() -> None:
    account = context(
        held("old", 10, 40, days(900)), held("new", 3, 90, days(4)), held("theirs", 2, 90, days(4), account="ira")
    )
    told = trade_tax(account, TaxChoice(considered=True, weight=Decimal(2), harvest_losses=True), ["AAPL", "XOM"])
    assert told is not None
    assert {name: [lot.lot_id for lot in lots] for name, lots in told.lots.items()} == {"AAPL": ["old", "new"]}
    assert (told.rules, told.sold_on, told.method, told.weight) == (TERMS, DAY, LotMethod.LEAST_TAX, 2)
    assert told.long_term_months == 12
    assert told.harvest_losses
    assert not told.price_wash_sales
    met = told.wash["AAPL"]
    assert (met.replacements, met.retirement, met.own) == (5, 2, (("new", Decimal(3)),))
    assert "XOM" not in told.wash


def test_tax_that_is_not_considered_is_only_reported() -> None:
    told = trade_tax(context(held("old", 10, 40, days(900)), method=LotMethod.HIFO), PLAIN, ["AAPL"])
    assert told is not None
    assert (told.weight, told.method) == (0, LotMethod.HIFO)


def test_without_rates_no_wash_sale_is_avoided() -> None:
    no_tax = TaxRules(GainRates(ZERO, ZERO), Decimal(3000))
    told = trade_tax(context(held("old", 10, 40, days(900)), terms=no_tax), PLAIN, ["AAPL"])
    assert told is not None
    assert told.price_wash_sales


def test_a_retirement_account_minds_the_losses_of_others_only() -> None:
    lots = (held("x", 10, 140, days(9), account="ira"), held("y", 10, 140, days(9)))
    account = context(*lots, portfolio_id="ira", retirement=True)
    choice = TaxChoice(considered=True, harvest_losses=True, avoid_short_term_gains=True)
    assert trade_tax(account, choice, ["AAPL", "KO"]) is None
    with_loss = replace(account, household=replace(account.household, losses=(loss(5, 50, days(3)),)))
    told = trade_tax(with_loss, choice, ["AAPL", "KO"])
    assert told is not None
    assert (told.weight, told.harvest_losses, told.avoid_short_term_gains) == (0, False, False)
    assert set(told.wash) == {"AAPL", "KO"}
    assert all(met.open_losses and not met.replacements and not met.identical for met in told.wash.values())


def test_lots_by_name() -> None:
    account = context(held("x", 10, 1, days(9)), held("y", 4, 1, days(9), "KO"))
    assert named_lots(account, {"y": None, "x": Decimal(3)}) == {"KO": {"y": 4}, "AAPL": {"x": 3}}
    for wrong in ({"z": None}, {"x": Decimal(11)}):
        with pytest.raises(ProblemError) as caught:
            named_lots(account, wrong)
        assert caught.value.field == f"specific_lots[{next(iter(wrong))}]"
