"""What holds for every ledger: money adds up to the cent, shares add up, and what does not matter changes nothing."""

import datetime as dt
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kernel.rebalancing.household import Account, HoldingPeriod, Household, SamePurchase, WashPolicies
from kernel.rebalancing.money import to_cents
from kernel.rebalancing.wash_ledger import settle_ledger
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale, record_purchase, record_sale
from tests.unit.kernel.rebalancing.ledgers import RULES
from tests.unit.kernel.rebalancing.random_ledgers import Engine, random_events, random_reading, root

POLICIES = st.builds(WashPolicies, st.sampled_from(SamePurchase), st.sampled_from(HoldingPeriod), st.booleans())
STEPS = st.lists(
    st.tuples(
        st.integers(0, 20),  # days since the step before
        st.sampled_from(["own", "spouse", "ira"]),
        st.decimals("0.0001", "30", places=4),  # shares bought, or sold when that many are held
        st.decimals("0.01", "300", places=4),  # price
        st.booleans(),  # sell if something is held
    ),
    min_size=2,
    max_size=25,
)
START = Household((Account("own"), Account("spouse"), Account("ira", retirement=True)))


def record(steps, policies):
    """Events that sell from the first lots of an account, whatever parts they are in."""
    household, events, day = START, [], dt.date(2024, 1, 2)
    for number, (days, account, quantity, price, sells) in enumerate(steps):
        day += dt.timedelta(days=days)
        lots = household.lots_of(account, "XYZ")
        if sells and lots:
            parts, wanted = [], min(quantity, sum(lot.quantity for lot in lots))
            for lot in lots:
                if taken := min(lot.quantity, wanted):
                    parts.append((lot.lot_id, taken))
                    wanted -= taken
            event = AccountSale(account, f"s{number}", "XYZ", tuple(parts), price, day)
            household, _ = record_sale(household, event, RULES, policies)
        else:
            event = AccountPurchase(account, f"p{number}", "XYZ", quantity, price, day)
            household, _ = record_purchase(household, event, RULES, policies)
        events.append(event)
    return events, household


@given(STEPS, POLICIES)
def test_money_adds_up_to_the_cent(steps, policies):
    """Recognised gains = proceeds - purchases + basis held + losses lost, in taxable accounts."""
    events, _ = record(steps, policies)
    report = settle_ledger(events, [RULES], policies, start=START)
    taxable = {"own", "spouse"}
    paid = sum(
        to_cents(event.quantity * event.unit_cost)
        for event in events
        if isinstance(event, AccountPurchase) and event.account_id in taxable
    )
    received = sum(
        to_cents(event.quantity * event.price)
        for event in events
        if isinstance(event, AccountSale) and event.account_id in taxable
    )
    held = sum(held.lot.basis for held in report.lots if held.account_id in taxable)
    recognised = sum(sale.recognised for sale in report.sales)
    assert recognised == received - paid + held + report.lost
    assert recognised == sum(gains.total for gains in report.gains_by_year.values())


@given(STEPS, POLICIES)
def test_every_loss_is_recognised_carried_by_a_basis_lost_or_open(steps, policies):
    events, household = record(steps, policies)
    report = settle_ledger(events, [RULES], policies, start=START)
    assert report.household == household
    for sale in report.sales:
        assert 0 <= sale.lost <= sale.disallowed <= max(0, -sale.gain)
        assert sum(match.quantity for match in sale.matches) <= sale.quantity
        assert sum(match.disallowed for match in sale.matches) == sale.disallowed
    unmatched = sum(
        -sale.gain - sale.disallowed for sale in report.sales if sale.quantity and not sale.retirement and sale.gain < 0
    )
    assert sum(loss.loss for loss in household.losses) == unmatched


@given(STEPS, POLICIES)
def test_lots_are_never_negative_and_a_replay_gives_the_holdings(steps, policies):
    events, household = record(steps, policies)
    assert all(held.quantity > 0 for held in household.lots)
    shares = Counter()
    for event in events:
        shares[event.account_id] += event.quantity if isinstance(event, AccountPurchase) else -event.quantity
    for account, quantity in shares.items():
        assert sum(lot.quantity for lot in household.lots_of(account, "XYZ")) == quantity
    assert settle_ledger(events, [RULES], policies, start=START).household == household


def by_sale(report):
    """Sums by sale and term, and what is held by purchase; parts of one purchase count together."""
    sums = Counter()
    for sale in report.sales:
        key = (sale.account_id, sale.sale_id, sale.term)
        sums[key, "gain"] += sale.gain
        sums[key, "disallowed"] += sale.disallowed
        sums[key, "lost"] += sale.lost
    for held in report.lots:
        key = (held.account_id, held.instrument_id, held.acquired_on, held.held_from, held.lot.replaced_loss)
        sums[key, "quantity"] += held.quantity
        sums[key, "basis"] += held.lot.basis
    return {key: value for key, value in sums.items() if value}


def halves(events):
    """Every purchase of several shares as two, one after the other; sales take the first shares of the pair."""
    left, split = {}, []
    for event in events:
        if event[0] == "buy":
            *head, name, shares, cents = event
            first = (shares + 1) // 2
            left[event[2], name] = [[name, first], [f"{name}h", shares - first]]
            split += [(*head, part, quantity, cents) for part, quantity in left[event[2], name] if quantity]
            continue
        parts = []
        for name, quantity, _ in event[5]:
            wanted = quantity
            for pair in left[event[2], name]:
                taken = min(wanted, pair[1])
                pair[1] -= taken
                wanted -= taken
                if taken:
                    parts.append((pair[0], taken, False))
        split.append((*event[:5], parts, event[6]))
    return split


def from_the_front(events):
    return [
        event
        if event[0] == "buy"
        else (*event[:5], [(name, quantity, False) for name, quantity, _ in event[5]], event[6])
        for event in events
    ]


def test_a_purchase_in_two_parts_changes_nothing():
    """By the letter: otherwise the parts are purchases of their own and replace each other."""
    generator, matched = random.Random(3), 0
    for _ in range(300):
        reading = random_reading(generator, (True, generator.random() < 0.5, False))
        events = from_the_front(random_events(generator))
        whole, parts = Engine(reading).run(events), Engine(reading).run(halves(events))
        assert by_sale(whole) == by_sale(parts)
        matched += whole.disallowed > 0
    assert matched > 100


def test_unrelated_instruments_do_not_matter():
    generator, matched = random.Random(5), 0
    for _ in range(200):
        reading = random_reading(generator, tuple(generator.random() < 0.5 for _ in range(3)))
        group = {"Z"} if frozenset("YZ") not in reading.identical else {"X", "Y", "Z"}
        events = random_events(generator)
        alone = Engine(reading).run([event for event in events if event[3] in group])
        together = Engine(reading).run(events)
        first = Engine(reading).run(sorted(events, key=lambda event: (event[1], event[3] not in group)))
        mine = [sale for sale in together.sales if sale.instrument_id in group]
        assert mine == list(alone.sales)
        assert [held for held in first.lots if held.instrument_id in group] == list(alone.lots)
        assert [sale for sale in first.sales if sale.instrument_id in group] == mine
        matched += alone.disallowed > 0
    assert matched > 20


def test_parts_are_named_after_their_purchase():
    generator = random.Random(7)
    for _ in range(100):
        reading = random_reading(generator, (False, False, False))
        events = random_events(generator)
        bought = {event[4] for event in events if event[0] == "buy"}
        report = Engine(reading).run(events)
        assert {root(held.lot_id) for held in report.lots} <= bought
