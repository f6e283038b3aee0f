"""From drifted holdings to trades: drift, tax lots, taxes, costs and the mixed-integer trade plan.

All money, shares and weights are Decimals, in and out; binary floating point stays inside the solver.
"""
