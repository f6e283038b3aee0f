"""What all pictures have in common: size, colours, title, source, and the file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server.demo.client import DemoError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY, INK = "#1f5fa8", "#d9822b", "#2e8b57", "#b5342c", "#8a8f98", "#23272e"
PALE = "#e6e8eb"
LEFT = 0.075
WIDTH_INCHES = 11.0
_USUAL_HEIGHT_INCHES, _DOTS_PER_INCH = 7.0, 160
# Distances of the lines of text from the nearer edge of the picture, in inches.
_TITLE, _SUBTITLE, _SOURCE = 0.385, 0.665, 0.175


@dataclass(frozen=True, slots=True)
class Words:
    """The text around a picture: what it shows, what to know about it, and where the numbers come from."""

    title: str
    subtitle: str
    source: str


def empty_figure(words: Words, height_inches: float = _USUAL_HEIGHT_INCHES) -> Figure:
    """A figure with its text, outside any window: as a PNG the library draws it with Agg.

    Raises:
        DemoError: The drawing library is not installed.
    """
    # The library tells about its font cache the first time; nobody asked.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        # Only the pictures need the library, and everything else works without it.
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise DemoError(
            "no picture was drawn: matplotlib is not installed; it comes with the extra `demo` "
            "(pip install 'portfolio-optimization[demo]')"
        ) from None
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=_DOTS_PER_INCH)
    figure.text(LEFT, 1.0 - _TITLE / height_inches, words.title, fontsize=17, weight="bold", color=INK)
    figure.text(LEFT, 1.0 - _SUBTITLE / height_inches, words.subtitle, fontsize=10.5, color=INK)
    figure.text(LEFT, _SOURCE / height_inches, words.source, fontsize=8.5, color=GREY)
    return figure


def little_ink(axes: Axes) -> None:
    """Axes that stay behind what is drawn on them."""
    axes.grid(color=PALE, linewidth=0.8)
    axes.tick_params(colors=INK, length=0, pad=6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)


def save(figure: Figure, path: Path) -> Path:
    """Writes the picture, PNG; its folder is made where it is missing.

    Raises:
        DemoError: The folder can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png")
    except OSError as error:
        raise DemoError(f"the picture can't be written: {error}") from None
    return path
