"""Estimates of expected returns and risk, and the checks of the prices they come from.

Symbols: ``R`` (T, n) simple returns per period, ``X`` (T, n) the same less their means, ``mu`` (n,) annual expected
returns, ``Sigma`` (n, n) annual covariance, ``rho`` weight of a shrinkage target, ``B`` (n, k) exposures to factors,
``Phi`` (k, k) annual covariance of the factors, ``P`` (k, n) view portfolios, ``Q`` (k,) their expected excess returns,
``pi`` (n,) equilibrium excess returns, ``Omega`` (k, k) covariance of the views' errors, ``M`` (n, n) covariance of the
posterior mean.

Means are arithmetic; means and covariances are annualised alike, by ``periods_per_year``. Variances, by method:

=====================  ====================================  ==================
method                 divisor                               mean taken off
=====================  ====================================  ==================
sample                 T - 1                                 arithmetic
exponential weights    1 - sum of squared weights            weighted
Ledoit-Wolf, OAS       T, as published                       arithmetic
denoised               T - 1                                 arithmetic
factor model           T - 1 factors, T - k - 1 residuals    arithmetic
Gerber                 T - 1                                 arithmetic; none in the counts
=====================  ====================================  ==================
"""
