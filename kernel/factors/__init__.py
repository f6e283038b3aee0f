"""Factor models: how they are estimated, and what they say of the return and the risk of a portfolio.

Symbols: ``R`` (T, n) simple returns per period, ``F`` (T, k) factor returns, ``B`` (n, k) exposures, ``Phi`` (k, k)
annual covariance of the factors, ``u`` (T, n) residuals, ``w`` (n,) weights, ``x`` = B'w exposures of a portfolio.

r_t = alpha + B f_t + u_t and Sigma = B Phi B' + diag(specific), whatever the kind of model: a time-series model is
given F and finds B, a cross-sectional one is given B and finds F, a statistical one finds both.
"""
