"""The sample data set: real prices, with instruments, a benchmark, factors and two portfolios made for them."""
