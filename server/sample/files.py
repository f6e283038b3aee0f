"""The sample's price files, found inside the installed skfolio distribution without importing it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from server.imports.progress import no_progress
from server.imports.series import PRICES, Series, SeriesFile, read_series

STOCKS_FILE = "sp500_dataset.csv.gz"
INDEX_FILE = "sp500_index.csv.gz"
FACTORS_FILE = "factors_dataset.csv.gz"


class SampleUnavailableError(Exception):
    """The files of the sample data set are not installed."""


def read_levels(name: str) -> Series:
    """Daily closing prices or levels of one of the files.

    Args:
        name: STOCKS_FILE, INDEX_FILE or FACTORS_FILE.

    Raises:
        SampleUnavailableError: The extra `sample` is not installed.
        ImportRefusedError: The file is damaged.
    """
    return read_series(SeriesFile(_data_directory() / name, PRICES, {}, None, no_progress))


def _data_directory() -> Path:
    # A top-level package is located, not executed: it would import libraries that the files do not need.
    spec = find_spec("skfolio")
    for location in (spec.submodule_search_locations or []) if spec else []:
        directory = Path(location) / "datasets" / "data"
        if (directory / STOCKS_FILE).is_file():
            return directory
    raise SampleUnavailableError(
        "the sample data set is not installed: its prices are files of the package skfolio, "
        "which comes with the extra `sample` (pip install 'portfolio-optimization[sample]')"
    )
