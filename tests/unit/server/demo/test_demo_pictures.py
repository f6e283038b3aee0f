"""What the pictures of the factor analysis show: parts that add up, and text that stays on the page."""

import numpy as np
import pytest

from server.demo import exposure_picture, risk_picture
from server.demo.exposure_picture import draw_exposures
from server.demo.ink import BLUE, GREEN, GREY, INK
from server.demo.risk_picture import draw_risk
from tests.unit.server.demo import answers

agg = pytest.importorskip("matplotlib.backends.backend_agg", reason="pictures need matplotlib")

LONG_NAMES = ("Communication Services", "Consumer Discretionary", "Information Technology", "low_volatility")


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws a picture and gives its figure."""
    figures = []
    for module in (exposure_picture, risk_picture):
        monkeypatch.setattr(module, "save", lambda figure, path: figures.append(figure) or path)

    def draw(picture, answer):
        picture(answer, tmp_path / "picture.png")
        return figures[-1]

    return draw


def many_factors(count=20):
    answer = answers.factors()
    rng = np.random.default_rng(0)
    del answer.exposures[:]
    for risk in (answer.risk, answer.active_risk):
        del risk.factors[:]
        values = 0.01 * rng.standard_normal(count)
        for place, value in enumerate(values.tolist()):
            risk.factors.add(factor=f"{LONG_NAMES[place % 4]} {place}", factor_volatility=0.1, contribution=value)
        risk.specific_contribution = risk.volatility - float(values.sum())
    for part in answer.risk.factors:
        answer.exposures.append(answers.exposure(part.factor, *rng.standard_normal(2).tolist()))
    return answer


def bars(axes):
    """Start, length and colour of the bars, from the top."""
    return [(patch.get_x(), patch.get_width(), patch.get_facecolor()[:3]) for patch in axes.patches]


def colour(name):
    return tuple(int(name[place : place + 2], 16) / 255 for place in (1, 3, 5))


@pytest.mark.parametrize("answer", [answers.factors(), answers.factors_alone(), many_factors()])
@pytest.mark.parametrize("picture", [draw_exposures, draw_risk])
def test_all_text_is_on_the_page(drawn, picture, answer):
    figure = drawn(picture, answer)
    canvas = agg.FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.get_size_inches() * figure.dpi
    texts = [*figure.texts, *(text for axes in figure.axes for text in _texts(axes))]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    assert len(boxes) > 5
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)


def _texts(axes):
    legend = axes.get_legend()
    return [*axes.texts, *axes.get_yticklabels(), *(legend.get_texts() if legend else [])]


def test_parts_of_the_risk_start_where_the_one_before_ended(drawn):
    figure = drawn(draw_risk, answers.factors())
    total, active = map(bars, figure.axes)
    assert [bar[:2] for bar in total] == [
        pytest.approx(pair) for pair in [(0.0, 0.12), (0.12, -0.02), (0.10, 0.10), (0.0, 0.20)]
    ]
    assert [bar[:2] for bar in active] == [
        pytest.approx(pair) for pair in [(0.0, 0.008), (0.008, 0.012), (0.02, 0.03), (0.0, 0.05)]
    ]
    assert [bar[2] for bar in total] == [pytest.approx(colour(name)) for name in (BLUE, GREEN, GREY, INK)]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["market", "value", "specific", "sum"]
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "+12.00  (60%)",
        "-2.00  (-10%)",
        "+10.00  (50%)",
        "20.00%",
    ]


def test_the_smallest_of_many_parts_are_summed(drawn):
    answer = many_factors()
    figure = drawn(draw_risk, answer)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(labels) == 15
    assert labels[-3:] == ["all other factors", "specific", "sum"]
    for axes, risk in zip(figure.axes, (answer.risk, answer.active_risk), strict=True):
        start, length, _ = bars(axes)[-2]
        assert start + length == pytest.approx(risk.volatility)


def test_exposures_have_error_bars_of_two_standard_errors(drawn):
    levels, active = drawn(draw_exposures, answers.factors()).axes
    assert [tuple(line.get_xdata()) for line in levels.lines if line.get_marker() in ("o", "D")][:4] == [
        (1.0,),
        (0.8,),
        (0.4,),
        (0.1,),
    ]
    spans = [container[2][0].get_segments()[0][:, 0].tolist() for container in levels.containers]
    assert spans == [pytest.approx(pair) for pair in [[0.96, 1.04], [0.78, 0.82], [0.36, 0.44], [0.08, 0.12]]]
    assert [bar[:2] for bar in bars(active)][:2] == [pytest.approx((0.0, 0.2)), pytest.approx((0.0, 0.3))]
    assert [text.get_text() for text in active.texts] == ["+0.20", "+0.30"]


def test_an_active_exposure_near_zero_is_pale(drawn):
    answer = answers.factors()
    answer.exposures[0].active_exposure = 0.05
    _, active = drawn(draw_exposures, answer).axes
    assert [patch.get_alpha() for patch in active.patches][:2] == [0.4, 1.0]


def test_a_portfolio_of_cash_has_a_picture(drawn):
    answer = answers.factors_alone()
    answer.risk.Clear()
    answer.risk.factors.add(factor="market", factor_volatility=0.16)
    for one in answer.exposures:
        one.exposure = one.active_exposure = 0.0
    assert [text.get_text() for text in drawn(draw_risk, answer).axes[0].texts] == ["0.00%"] * 3
    assert drawn(draw_exposures, answer).axes


def test_without_a_benchmark_there_is_one_panel(drawn):
    assert len(drawn(draw_exposures, answers.factors_alone()).axes) == 1
    assert len(drawn(draw_risk, answers.factors_alone()).axes) == 1
