"""Estimates of expected returns and risk, and the checks of the prices they come from.

Symbols: ``R`` (T, n) simple returns per period, ``mu`` (n,) annual expected returns, ``Sigma`` (n, n) annual
covariance, ``P`` (k, n) view portfolios, ``Q`` (k,) their expected excess returns, ``pi`` (n,) equilibrium excess
returns, ``Omega`` (k, k) covariance of the views' errors, ``M`` (n, n) covariance of the posterior mean.
"""
