"""Hierarchical portfolios: assets arranged in a tree by how alike they are, and weights handed down from its root.

    codependence -> distances -> joins -> leaves in order -> weights

Every step is a function of the distances in the order of the assets' names, after rounding that is far above the noise
of floating-point sums: the same assets in any order give the same tree and the same weights. Where distances tie, the
names decide.
"""
