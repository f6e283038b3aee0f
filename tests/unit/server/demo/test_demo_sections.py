"""What each section of the demo says about an answer."""

import pytest

from server.demo.factors import factor_lines
from server.demo.frontier import frontier_lines
from server.demo.optimization import optimization_lines
from server.demo.rebalance import plan_lines
from server.demo.text import WIDTH
from tests.unit.server.demo import answers

SECTIONS = {
    "optimization": optimization_lines(answers.optimization()),
    "frontier": frontier_lines(answers.frontier(), answers.frontier().optimal_portfolio),
    "plan": plan_lines(answers.plan(), answers.plan(tax="700.00")),
    "factors": factor_lines(answers.factors()),
    "factors alone": factor_lines(answers.factors_alone()),
}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_line_fits(section):
    assert max(map(len, SECTIONS[section])) <= WIDTH


def test_weights_are_listed_by_target_with_their_change():
    rows = [line.split() for line in optimization_lines(answers.optimization())[2:6]]
    assert rows == [
        ["BBB", "25.00%", "85.00%", "+60.00", "88.0%"],
        ["AAA", "50.00%", "15.00%", "-35.00", "0.0%"],
        ["CCC", "20.00%", "0.00%", "-20.00", "0.0%"],
        ["CASH", "5.00%", "0.00%", "-5.00", "0.0%"],
    ]


def test_limits_are_priced_in_words_dearest_first():
    lines = optimization_lines(answers.optimization())
    start = lines.index("Limits that hold the answer back:")
    assert lines[start + 1 : start + 4] == [
        "  one point less of min_weights[AAA] (15% to 14%) is worth +0.0031 of Sharpe",
        "  one more point of max_turnover (30% to 31%) is worth +0.0008 of Sharpe",
        "",
    ]


def test_an_answer_that_no_limit_holds_back_says_so():
    answer = answers.optimization()
    del answer.constraints[:]
    assert "No limit holds the answer back." in optimization_lines(answer)


def test_the_tail_is_named_by_its_confidence_level():
    text = "\n".join(optimization_lines(answers.optimization()))
    assert "Value at risk 97.5%" in text
    assert "exceeded on 2.5% of days" in text


def test_the_origin_and_what_was_noticed_about_the_data_are_told():
    text = "\n".join(optimization_lines(answers.optimization()))
    assert "From 2,012 daily returns, 2015-01-02 to 2022-12-28" in text
    assert "! CCC jumps by 60% on 2020-03-16" in text


def test_a_benchmark_is_compared_with_only_where_there_is_one():
    answer = answers.optimization()
    assert not [line for line in optimization_lines(answer) if line.startswith("Tracking error")]
    answer.metrics.tracking_error = 0.1
    assert [line for line in optimization_lines(answer) if line.startswith("Tracking error")]


def test_points_of_the_frontier_are_numbered_by_risk():
    lines = frontier_lines(answers.frontier(), answers.frontier().optimal_portfolio)
    assert lines[3].split() == ["2", "15.00%", "12.00%", "1.083", "2", "BBB", "50.0%"]


def test_cash_is_no_name():
    lines = frontier_lines(answers.frontier(), answers.frontier().optimal_portfolio)
    (current,) = [line.split() for line in lines if line.startswith("current")]
    assert current == ["current", "12.00%", "15.00%", "0.667", "3", "AAA", "50.0%"]


def test_a_frontier_without_excess_return_has_no_optimal_portfolio():
    answer = answers.frontier()
    answer.ClearField("optimal_portfolio")
    lines = frontier_lines(answer, answers.frontier().optimal_portfolio)
    assert not [line for line in lines if line.startswith("highest Sharpe ratio")]


def test_trades_come_in_the_order_of_execution_with_their_sum():
    lines = plan_lines(answers.plan(), answers.plan())
    assert lines[3].split()[:6] == ["sell", "CCC", "1,500", "20.50", "30,750.00", "51.13"]
    assert lines[4].startswith("buy")
    assert lines[5].split() == ["61,500.00", "102.26"]


def test_costs_and_tax_are_weighed_against_the_improvement():
    text = "\n".join(plan_lines(answers.plan(), answers.plan(tax="700.00")))
    assert "Tax lots sold (FIFO):" in text
    assert "it would be 700.00 (500.00 saved)" in text
    assert "Costs and tax are 0.87% of the portfolio: what the higher expected return earns in 3 months." in text


def test_a_plan_that_expects_no_higher_return_claims_no_payback():
    plan = answers.plan()
    plan.metrics.expected_improvement.ClearField("return")
    assert "Costs and tax are" not in "\n".join(plan_lines(plan, plan))


def test_the_parts_of_the_return_are_added_up():
    text = "\n".join(factor_lines(answers.factors()))
    assert ["sum", "+12.50", "100.0%"] in [line.split() for line in text.splitlines()]
    assert "Mean return of the portfolio: 12.50% a year" in text


def test_active_exposures_have_their_own_t_value():
    row = next(line.split() for line in factor_lines(answers.factors()) if line.startswith("value "))
    assert row == ["value", "+0.400", "0.020", "+20.0", "+0.100", "+0.300", "+10.0"]


def rows_after(lines, title):
    """The cells of a table, from its title to the line after its sum."""
    start = next(place for place, line in enumerate(lines) if line.startswith(title))
    body = lines[start + 2 :]
    end = next((place for place, line in enumerate(body) if line.startswith("sum")), len(body) - 1)
    return [line.split() for line in body[: end + 1]]


def test_the_way_standard_errors_were_measured_is_told():
    assert factor_lines(answers.factors())[0].endswith("benchmark: sample-sp500; standard errors: Newey West")
    assert factor_lines(answers.factors_alone())[0].endswith("benchmark: none")


def test_parts_of_the_risk_stand_beside_those_of_the_tracking_error():
    assert rows_after(factor_lines(answers.factors()), "Part of the risk") == [
        ["market", "+1.000", "16.0%", "+0.75", "+12.00", "60.0%", "+0.200", "+0.80", "16.0%"],
        ["value", "+0.400", "10.0%", "-0.50", "-2.00", "-10.0%", "+0.300", "+1.20", "24.0%"],
        ["specific", "+10.00", "50.0%", "+3.00", "60.0%"],
        ["sum", "+20.00", "100.0%", "+5.00", "100.0%"],
    ]
    assert "Volatility by the model: 20.00% a year; tracking error: 5.00%." in factor_lines(answers.factors())


def test_instruments_with_most_of_the_risk_come_first():
    lines = factor_lines(answers.factors())
    assert rows_after(lines, "Most of the risk")[:3] == [
        ["AAA", "50.00%", "+5.00", "+6.00", "+11.00", "55.0%"],
        ["BBB", "25.00%", "+3.00", "+3.00", "+6.00", "30.0%"],
        ["CCC", "20.00%", "+2.00", "+1.00", "+3.00", "15.0%"],
    ]


def test_the_compounded_return_is_taken_apart_beside_the_benchmark():
    lines = factor_lines(answers.factors())
    assert rows_after(lines, "Part of the compounded return") == [
        ["market", "+1.000", "+80.00", "+75.00", "+6.00"],
        ["value", "+0.400", "+10.00", "+5.00", "+5.00"],
        ["cash", "+2.00", "+0.00", "+2.00"],
        ["specific", "+28.00", "+10.00", "+17.00"],
        ["sum", "+120.00", "+90.00", "+30.00"],
    ]
    assert any("2,012 days linked by Carino" in line for line in lines)


def test_the_active_return_is_taken_apart_by_sector():
    assert rows_after(factor_lines(answers.factors()), "Sector") == [
        ["Health", "35.0%", "60.0%", "90.0%", "80.0%", "-1.00", "+6.00", "+3.00", "+8.00"],
        ["Technology", "60.0%", "40.0%", "150.0%", "100.0%", "+5.00", "+10.00", "+5.00", "+20.00"],
        ["cash", "5.0%", "0.0%", "5.0%", "+2.00", "+0.00", "+0.00", "+2.00"],
        ["sum", "+6.00", "+16.00", "+8.00", "+30.00"],
    ]


def test_without_a_benchmark_nothing_is_compared():
    lines = factor_lines(answers.factors_alone())
    assert not [line for line in lines if line.startswith("Sector") or "tracking error" in line]
    assert rows_after(lines, "Part of the risk")[0] == ["market", "+1.000", "16.0%", "+0.75", "+12.00", "60.0%"]
    assert rows_after(lines, "Part of the compounded return")[-1] == ["sum", "+120.00"]


def test_factors_together_have_no_exposure():
    answer = answers.factors()
    for risk in (answer.risk, answer.active_risk):
        risk.factors[1].MergeFrom(type(risk.factors[1])(factor="other_factors"))
        for name in ("exposure", "factor_volatility", "correlation"):
            risk.factors[1].ClearField(name)
    row = rows_after(factor_lines(answer), "Part of the risk")[1]
    assert row == ["other_factors", "-2.00", "-10.0%", "+1.20", "24.0%"]
