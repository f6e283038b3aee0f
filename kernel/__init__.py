"""Portfolio mathematics: a pure numerical library.

Problem -> canonical form -> solver -> certificate. Nothing here knows of gRPC, SQL, files, environment or the clock:
what a computation needs of the outside (time, cancellation, seed) comes in as an argument.

Glossary (the literature's symbols, used everywhere in the kernel):

======  =============  ===================================================================================
symbol  shape          meaning
======  =============  ===================================================================================
R       (T, n)         simple returns per period
mu      (n,)           expected returns, annual unless said otherwise
Sigma   (n, n)         covariance of returns, annual unless said otherwise, symmetric positive semidefinite
w, w0   (n,)           weights, current weights: fractions of the portfolio's total value, cash included
B       (n, k)         factor exposures
P, q    (N, N), (N,)   quadratic and linear part of a program's objective, 1/2 x'Px + q'x
A, b    (m, N), (m,)   rows of a program, Ax + s = b with s in the cone K
x, s, z                a program's variables, row slacks and row multipliers (z in the dual cone K*)
kappa   ()             the homogenising variable of a ratio program, w = y / kappa
======  =============  ===================================================================================
"""

__version__ = "0.1.0"
