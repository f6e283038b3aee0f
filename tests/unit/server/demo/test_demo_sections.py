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
