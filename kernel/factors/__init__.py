"""Factor exposures of return series and what the factors contributed to them."""
