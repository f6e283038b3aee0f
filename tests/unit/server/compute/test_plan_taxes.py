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
from kernel.rebalancing.tax_years import TaxYear
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
    plain = TaxContext("a", household, RULES, WashPolicies(), TERMS, TaxYear(DAY.year), LotMethod.FIFO, DAY)
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
        figures=TaxYear(DAY.year, NetGains(Decimal(chance.randint(-300, 300)), Decimal(chance.randint(0, 300)))),
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


def test_the_least_tax_splits_a_sale_where_netting_turns() -> None:
    """The year has 1000 of short-term losses and 2000 of long-term gains: 238.00.

    150 shares of s add 442.00: 500 at 40.8 % and 2000 at 23.8 %. 150 of l add 535.50: 3250 at 23.8 %. 100 of s use the
    losses up, and 50 of l add 750 to the long-term gains: 2750 at 23.8 %, which is 416.50 more.
    """
    account = context(
        held("s", 150, 90, days(200)),
        held("l", 150, 85, days(2000)),
        figures=TaxYear(DAY.year, NetGains(Decimal(-1000), Decimal(2000))),
    )
    sell = Traded("AAPL", Decimal(150), Decimal(100))
    picked = choose_lots(account, TaxChoice(lot_method=LotMethod.LEAST_TAX), [sell], [])
    assert {name: set(parts) for name, parts in picked.items()} == {"AAPL": {("s", Decimal(100)), ("l", Decimal(50))}}
    assert tax_of(settle_trades(account, LotMethod.LEAST_TAX, picked, [sell], [])) == Decimal("416.50")


@pytest.mark.parametrize("seed", range(40))
def test_the_least_tax_of_one_sale_is_that_of_all_its_splits(seed: int) -> None:
    chance = random.Random(seed)
    lots = [
        held(f"L{k}", chance.randint(1, 7), chance.randint(20, 180), days(chance.choice((5, 20, 31, 200, 500, 800))))
        for k in range(chance.randint(2, 4))
    ]
    figures = TaxYear(DAY.year, NetGains(Decimal(chance.randint(-900, 900)), Decimal(chance.randint(-900, 900))))
    limit = Decimal(chance.choice((0, 100, 300, 3000)))
    account = context(*lots, figures=figures, terms=replace(TERMS, loss_limit=limit))
    sell = Traded("AAPL", Decimal(chance.randint(1, sum(int(lot.quantity) for lot in lots))), Decimal(100))

    def tax(picks: Picks) -> Decimal:
        return tax_of(settle_trades(account, LotMethod.LEAST_TAX, picks, [sell], []))

    splits = (
        tuple((lot.lot_id, Decimal(part)) for lot, part in zip(lots, parts, strict=True) if part)
        for parts in product(*(range(int(lot.quantity) + 1) for lot in lots))
        if sum(parts) == sell.quantity
    )
    least = choose_lots(account, TaxChoice(lot_method=LotMethod.LEAST_TAX), [sell], [])
    assert tax(least) == min(tax({"AAPL": split}) for split in splits)


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


def sold_from(account: TaxContext, *picks: tuple[str, int], price: int = 90, cost: object = 0) -> TaxedTrades:
    parts = tuple((lot_id, Decimal(quantity)) for lot_id, quantity in picks)
    quantity = sum((part for _, part in parts), ZERO)
    sell = Traded("AAPL", quantity, Decimal(price), Decimal(str(cost)))
    return settle_trades(account, LotMethod.SPECIFIC, {"AAPL": parts}, [sell], [])


def as_replacement(lot: HouseholdLot) -> HouseholdLot:
    return replace(lot, lot=replace(lot.lot, replaced_loss=True))


@pytest.mark.parametrize("lot_id", ["A", "A~1", "A~2"])
def test_a_sale_names_the_part_of_a_purchase_that_it_takes(lot_id: str) -> None:
    """An earlier wash sale split A~1 and A~2 off A: all three have the day of one purchase."""
    parts = [as_replacement(held(name, 40, cost, days(300))) for name, cost in (("A~1", 120), ("A~2", 80))]
    account = context(*parts, held("A", 40, 100, days(300)))
    (sale,) = sold_from(account, (lot_id, 40)).sales
    assert (sale.lot_id, sale.gain) == (lot_id, {"A": -400, "A~1": -1200, "A~2": 400}[lot_id])


def test_lots_with_long_ids_that_begin_alike() -> None:
    """Ids of 36 characters: sales name them, and shares of one replace those of the other."""
    one, other = "0-000123456-AAPL-20260310-fill-000-a", "0-000123456-AAPL-20260310-fill-000-b"
    account = context(held(one, 40, 120, days(10)), held(other, 60, 100, days(10)))
    (sale,) = sold_from(account, (one, 40)).sales
    assert (sale.lot_id, sale.disallowed) == (one, 1200)
    assert [match.lot_id for match in sale.matches] == [other]
    (whole,) = sold_from(account, (other, 60)).sales
    assert (whole.lot_id, whole.disallowed, whole.matches[0].lot_id) == (other, 400, one)


def test_costs_lower_what_a_sale_brings() -> None:
    """50 * 90 - 7.01 = 4492.99 by 20 and 30 shares: 1797.20 and 2695.79; a sale cannot bring less than nothing."""
    account = context(held("x", 20, 40, days(900)), held("y", 30, 100, days(100)))
    found = sold_from(account, ("x", 20), ("y", 30), cost="7.01")
    assert [sale.proceeds for sale in found.sales] == [Decimal("1797.20"), Decimal("2695.79")]
    assert found.tax.gains == NetGains(Decimal("-304.21"), Decimal("997.20"))
    assert [sale.proceeds for sale in sold_from(account, ("x", 20), cost=1801).sales] == [0]


def test_costs_decide_which_lots_are_the_least_tax() -> None:
    """Before costs x has the smaller gain times rate; after them both have losses, and y's saves more."""
    gains = TaxYear(DAY.year, NetGains(Decimal(1000), Decimal(1000)))
    account = context(held("x", 10, 99, days(900)), held("y", 10, 98, days(100)), figures=gains)
    sell = Traded("AAPL", Decimal(10), Decimal(100), Decimal(100))
    picked = choose_lots(account, TaxChoice(lot_method=LotMethod.LEAST_TAX), [sell], [])
    assert picked == {"AAPL": (("y", Decimal(10)),)}


def test_a_loss_of_another_account_is_no_tax_of_this_one() -> None:
    open_loss = loss(10, 300, days(5), account="b")
    account = context(household=Household((Account("a"), Account("b")), losses=(open_loss,)))
    found = settle_trades(account, LotMethod.FIFO, {}, [], [Traded("AAPL", Decimal(4), Decimal(50))])
    assert [(line.account_id, line.disallowed) for line in found.earlier] == [("b", 120)]
    assert (found.tax.additional_tax, found.tax.gains, found.tax.disallowed) == (0, NetGains(), 120)


@pytest.mark.parametrize(("carried", "tax"), [(0, 0), (-50, 0), (-3000, 0), (-9000, 0), (-3050, 20)])
def test_a_loss_of_last_year_that_a_purchase_takes_back_uses_the_loss_carried(carried: int, tax: int) -> None:
    """In January, a loss of 120 of December is taken back: what was carried shrinks, and this year realises nothing.

    The limit of 3000 is then used all the same, unless less than that is carried: of 3050 carried 2930 are left, so 70
    less reduce other income, at 40.8 % or 28.56.
    """
    old = replace(loss(10, 300, days(100)), sold_on=date(2025, 12, 20))
    account = context(
        losses=(old,), sold_on=date(2026, 1, 5), figures=TaxYear(2026, NetGains(), NetGains(ZERO, Decimal(carried)))
    )
    found = settle_trades(account, LotMethod.FIFO, {}, [], [Traded("AAPL", Decimal(4), Decimal(50))])
    left = min(carried + 120, 0)
    bills = [min(-carried, 3000) * Decimal("0.408"), min(-left, 3000) * Decimal("0.408")]
    assert found.tax.gains == NetGains()
    assert found.tax.disallowed == 120
    assert found.tax.additional_tax == (bills[0] - bills[1]).quantize(Decimal("0.01"))


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
