"""Each check of prices on a small table, and what is left usable."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kernel.errors import ProblemError
from kernel.estimation.data_checks import CheckSettings, Code, Finding, Severity, check_prices, usable

LIMITS = CheckSettings(min_observations=5)


def days(T, start="2024-01-01"):
    return np.datetime64(start, "D") + np.arange(T)


def moving(T, level=100.0):
    """Prices that never repeat and never move by more than 2%."""
    return level * (1 + 0.01 * np.sin(np.arange(T)))


def check(*columns, limits=LIMITS, ids=None, dates=None):
    closes = np.column_stack(columns)
    names = ids or tuple("ABCDEFG"[: closes.shape[1]])
    return check_prices(names, days(len(closes)) if dates is None else dates, closes, limits)


def only(findings):
    (finding,) = findings
    return finding


def test_sound_prices_leave_nothing_to_say():
    findings = check(moving(30), moving(30, 5.0))
    assert findings == ()
    assert usable(("A", "B"), findings) == ("A", "B")


def test_holes():
    prices = moving(30)
    prices[[3, 4, 9]] = np.nan
    assert only(check(prices)) == Finding(
        Code.MISSING,
        "A",
        dt.date(2024, 1, 4),
        "A lacks 3 prices inside its history: 2024-01-04, 2024-01-05, 2024-01-10",
    )


def test_long_lists_of_days_are_cut():
    prices = moving(30)
    prices[2:20:2] = np.nan
    assert only(check(prices)).message.endswith("2024-01-11 and 4 more")


def test_late_start_and_early_end_are_not_holes():
    late, ended = moving(30), moving(30)
    late[:4], ended[28:] = np.nan, np.nan
    assert check(late, ended) == (
        Finding(
            Code.LATE_START,
            "A",
            dt.date(2024, 1, 5),
            "A has no price before 2024-01-05; the table starts on 2024-01-01, 4 rows earlier",
        ),
        Finding(
            Code.ENDED_EARLY,
            "B",
            dt.date(2024, 1, 28),
            "B has no price after 2024-01-28; the table ends on 2024-01-30, 2 rows later",
        ),
    )


def test_too_short():
    prices = np.full(30, np.nan)
    short, empty = prices.copy(), prices
    short[:3] = moving(3)
    findings = [f for f in check(short, empty) if f.code is Code.TOO_SHORT]
    assert [f.message for f in findings] == [
        "A has 3 prices; at least 5 are needed",
        "B has 0 prices; at least 5 are needed",
    ]


def test_no_price_at_all_is_too_short_under_any_limit():
    finding = only(check(np.full(3, np.nan), limits=CheckSettings(min_observations=0)))
    assert finding.message == "A has 0 prices; at least 1 are needed"


@pytest.mark.parametrize(("bad", "text"), [(0.0, "0"), (-1.5, "-1.5"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_prices_that_are_no_prices(bad, text):
    prices = moving(30)
    prices[7] = bad
    finding = only(check(prices))
    assert finding.code is Code.NON_POSITIVE
    assert finding.message == f"A has 1 price not above 0 and finite: {text} on 2024-01-08"


def test_constant_is_not_also_stale():
    finding = only(check(np.full(30, 12.5)))
    assert finding.code is Code.CONSTANT
    assert finding.message == "A has the price 12.5 on all its days from 2024-01-01"


@pytest.mark.parametrize(("unchanged", "found"), [(9, False), (10, True), (15, True)])
def test_stale_from_the_limit_on(unchanged, found):
    prices = moving(40)
    prices[5 : 5 + unchanged + 1] = 77.0
    findings = check(prices)
    assert bool(findings) is found
    if found:
        expected = f"A stays at 77 for {unchanged} days from 2024-01-07; the limit is 10"
        assert only(findings) == Finding(Code.STALE, "A", dt.date(2024, 1, 7), expected)


def test_longest_stale_run_is_told():
    prices = moving(60)
    prices[5:17], prices[30:45] = 101.0, 102.0
    assert "102 for 14 days" in only(check(prices)).message


@pytest.mark.parametrize(("move", "found"), [(0.39, False), (0.41, True), (-0.39, False), (-0.41, True)])
def test_jump_beyond_the_limit(move, found):
    prices = moving(30)
    prices[12:] *= (1 + move) * prices[11] / prices[12]
    findings = check(prices)
    assert bool(findings) is found
    if found:
        message = f"A has 1 jump beyond the limit of 40%: {move:+.1%} on 2024-01-13"
        assert only(findings) == Finding(Code.JUMP, "A", dt.date(2024, 1, 13), message)


def test_jump_across_a_hole_is_seen():
    prices = moving(30)
    prices[12:] *= 2
    prices[10:12] = np.nan
    assert {f.code for f in check(prices)} == {Code.MISSING, Code.JUMP}


@pytest.mark.parametrize("factor", [0.5, 2.0, 0.1, 1.45, 1 / 1.45])
@pytest.mark.parametrize("length", [1, 5])
def test_wrong_split_is_told_from_a_jump(factor, length):
    prices = moving(30)
    prices[12 : 12 + length] *= factor
    finding = only(check(prices))
    assert finding.code is Code.WRONG_SPLIT
    assert finding.date == dt.date(2024, 1, 13)
    assert "on 2024-01-13 is undone by" in finding.message
    assert f"on 2024-01-{13 + length:02d}" in finding.message


def test_split_undone_too_late_is_two_jumps():
    prices = moving(30)
    prices[12:18] *= 0.5
    finding = only(check(prices))
    assert finding.code is Code.JUMP
    assert "2 jumps" in finding.message


def test_partial_recovery_is_no_split():
    prices = moving(30)
    prices[12:14] *= 0.5
    prices[14:] *= 0.8
    assert only(check(prices)).code is Code.JUMP


def test_jump_beside_a_split_is_still_told():
    prices = moving(60)
    prices[12:14] *= 0.5
    prices[40:] *= 3
    split, jump = check(prices)
    assert (split.code, jump.code) == (Code.WRONG_SPLIT, Code.JUMP)
    assert "2024-02-10" in jump.message


def test_repeated_dates_concern_the_table():
    dates = days(30)
    dates[7] = dates[6]
    findings = check(moving(30), dates=dates)
    message = "the date of the row before is repeated in 1 row: 2024-01-07; priced twice: A"
    assert only(findings) == Finding(Code.DUPLICATE_DATE, None, dt.date(2024, 1, 7), message)
    assert usable(("A",), findings) == ()


def test_repeated_dates_name_the_assets_priced_twice():
    dates, hole = days(30), moving(30)
    dates[7], hole[6] = dates[6], np.nan
    message = check(moving(30), hole, moving(30), dates=dates)[0].message
    assert message.endswith("2024-01-07; priced twice: A, C")
    assert check(hole, dates=dates)[0].message.endswith("2024-01-07; no asset is priced twice")


def test_long_lists_of_assets_are_cut():
    dates, columns = days(30), [moving(30)] * 25
    dates[7] = dates[6]
    message = check(*columns, dates=dates, ids=tuple(f"A{i}" for i in range(25)))[0].message
    assert message.endswith("A18, A19 and 5 more")


def test_repeated_instruments():
    findings = check(moving(30), moving(30), moving(30), ids=("A", "B", "A"))
    assert only(findings).message == "A is in 2 columns: 1, 3"
    assert usable(("A", "B", "A"), findings) == ("B",)


@pytest.mark.parametrize(("age", "found"), [(5, False), (6, True)])
def test_age_of_the_table(age, found):
    as_of = dt.date(2024, 1, 30) + dt.timedelta(days=age)
    findings = check(moving(30), limits=CheckSettings(min_observations=5, max_age_days=5, as_of=as_of))
    assert bool(findings) is found
    if found:
        message = "the last prices are of 2024-01-30, 6 days before 2024-02-05; the limit is 5"
        assert only(findings) == Finding(Code.OUTDATED, None, dt.date(2024, 1, 30), message)
        assert usable(("A",), findings) == ("A",)


def test_age_needs_a_limit_and_a_day():
    assert check(moving(30), limits=CheckSettings(min_observations=5, max_age_days=5)) == ()
    assert check(moving(30), limits=CheckSettings(min_observations=5, as_of=dt.date(2030, 1, 1))) == ()


def test_findings_follow_the_assets():
    a, b, c = moving(30), moving(30), moving(30)
    a[15:] *= 2
    b[:2] = np.nan
    c[4], c[20:] = np.nan, c[20:] * 2
    assert [(f.instrument_id, f.code) for f in check(a, b, c)] == [
        ("A", Code.JUMP),
        ("B", Code.LATE_START),
        ("C", Code.MISSING),
        ("C", Code.JUMP),
    ]


@pytest.mark.parametrize("code", list(Code))
def test_errors_are_what_breaks_a_history(code):
    warnings = {Code.OUTDATED, Code.STALE, Code.WRONG_SPLIT, Code.JUMP, Code.LEFT_OUT}
    expected = Severity.WARNING if code in warnings else Severity.ERROR
    assert Finding(code, "A", None, "").severity is expected


@pytest.mark.parametrize(
    ("dates", "closes", "field"),
    [
        (days(3)[::-1], np.ones((3, 1)), "dates[1]"),
        (np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"), np.ones((2, 1)), "dates[1]"),
        (days(3), np.ones((2, 1)), "closes"),
        (days(3), np.ones((3, 2)), "closes"),
        (days(3), np.ones(3), "closes"),
    ],
)
def test_tables_that_do_not_fit_are_refused(dates, closes, field):
    with pytest.raises(ProblemError) as error:
        check_prices(("A",), dates, closes, LIMITS)
    assert error.value.field == field


@pytest.mark.parametrize("T", [0, 1, 2])
def test_tiny_tables(T):
    assert check_prices((), days(T), np.ones((T, 0)), LIMITS) == ()
    assert Code.TOO_SHORT in {f.code for f in check_prices(("A",), days(T), np.ones((T, 1)), LIMITS)}


PRICES = st.sampled_from([np.nan, np.inf, -1.0, 0.0, 1e-308, 1e308, 1.0, 1.4, 2.0, 100.0])


@settings(max_examples=150, deadline=None)
@given(npst.arrays(np.float64, st.tuples(st.integers(0, 14), st.integers(0, 3)), elements=PRICES))
def test_any_table_is_answered_with_one_finding_per_asset_and_code(closes):
    names = tuple("ABC"[: closes.shape[1]])
    findings = check_prices(names, days(len(closes)), closes, CheckSettings(min_observations=1, max_stale_days=2))
    keys = [(f.instrument_id, f.code) for f in findings]
    assert len(keys) == len(set(keys))
    assert all(f.instrument_id is not None and f.message.startswith(f.instrument_id) for f in findings)
    sound = {n for n, column in zip(names, closes.T, strict=True) if (np.isfinite(column) & (column > 0)).all()}
    assert set(usable(names, findings)) <= sound
