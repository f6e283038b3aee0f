"""Robust optimization: sets of means, covariances and distributions, and the problem in which the worst is assumed."""
