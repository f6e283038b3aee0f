"""Random ledgers of a household with a retirement account, as neutral events and for the engine."""

import datetime as dt
from decimal import Decimal

from kernel.rebalancing.household import (
    Account,
    HoldingPeriod,
    Household,
    IdenticalInstruments,
    SamePurchase,
    WashPolicies,
)
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_ledger import settle_ledger
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale, record_purchase, record_sale
from tests.unit.kernel.rebalancing import share_by_share

ACCOUNTS = ("own", "spouse", "ira")


def random_reading(generator, choice):
    literal, copy_date, count_sold = choice
    pairs = [pair for pair in (("X", "Y"), ("Y", "Z")) if generator.random() < 0.5]
    return share_by_share.Reading(
        window=generator.choice((30, 30, 30, 10)),
        months=generator.choice((12, 12, 6, 1)),
        literal=literal,
        copy_date=copy_date,
        count_sold=count_sold,
        retirement=frozenset({"ira"}),
        identical=frozenset(map(frozenset, pairs)),
    )


def random_events(generator):
    """Purchases of few shares and sales of what is held, often on the same day and within each other's window."""
    day, events, held = dt.date(2023, 10, 1), [], {}
    for number in range(generator.randint(4, 28)):
        day += dt.timedelta(days=generator.choice((0, 0, 1, 2, 4, 10, 15, 30, 31, 120)))
        places = [place for place, left in held.items() if left]
        if places and generator.random() < 0.55:
            events.append(random_sale(generator, day, f"s{number}", held, generator.choice(places)))
            continue
        account, instrument = generator.choice(ACCOUNTS), generator.choice("XXXYZ")
        shares = generator.randint(1, 6)
        held[account, instrument, f"p{number}"] = shares
        events.append(("buy", day, account, instrument, f"p{number}", shares, 100 * generator.randint(5, 15)))
    return events


def random_sale(generator, day, name, held, place):
    account, instrument, _ = place
    purchases = [key for key, left in held.items() if left and key[:2] == place[:2]]
    generator.shuffle(purchases)
    parts = []
    for key in purchases[: generator.choice((1, 1, 2, 3))]:
        quantity = generator.randint(1, held[key])
        held[key] -= quantity
        parts.append((key[2], quantity, generator.random() < 0.5))
    return ("sell", day, account, instrument, name, parts, 100 * generator.randint(3, 15) + generator.randint(0, 99))


class Engine:
    """Feeds the events to the engine one by one, because parts of lots get their ids on the way."""

    def __init__(self, reading):
        accounts = tuple(Account(name, name in reading.retirement) for name in ACCOUNTS)
        pairs = [tuple(sorted(pair)) for pair in reading.identical]
        self.start = Household(accounts, identical=IdenticalInstruments.of_pairs(pairs))
        self.rules = TaxRuleSet("T", dt.date(2000, 1, 1), reading.months, reading.window, Decimal(0), Decimal(0))
        self.policies = WashPolicies(
            SamePurchase.LITERAL if reading.literal else SamePurchase.EXEMPT,
            HoldingPeriod.COPY_DATE if reading.copy_date else HoldingPeriod.ADD_DAYS,
            reading.count_sold,
        )

    def run(self, events):
        household, recorded = self.start, []
        for event in events:
            if event[0] == "buy":
                _, day, account, instrument, name, shares, cents = event
                step = AccountPurchase(account, name, instrument, Decimal(shares), money(cents), day)
                household, _ = record_purchase(household, step, self.rules, self.policies)
            else:
                step = self.sale(event, household)
                household, _ = record_sale(household, step, self.rules, self.policies)
            recorded.append(step)
        report = settle_ledger(recorded, [self.rules], self.policies, start=self.start)
        assert report.household == household
        return report

    @staticmethod
    def sale(event, household):
        _, day, account, instrument, name, parts, cents = event
        lots = []
        for purchase, quantity, from_the_back in parts:
            pieces = [lot for lot in household.lots_of(account, instrument) if root(lot.lot_id) == purchase]
            wanted = Decimal(quantity)
            for lot in pieces[::-1] if from_the_back else pieces:
                taken = min(wanted, lot.quantity)
                if taken:
                    lots.append((lot.lot_id, taken))
                wanted -= taken
            assert not wanted
        return AccountSale(account, name, instrument, tuple(lots), money(cents), day)


def money(cents):
    return Decimal(cents) / 100


def root(lot_id):
    return lot_id.partition("~")[0]
