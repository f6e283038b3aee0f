"""The way of rebalance plans: made, kept, proposed, approved, executed, lapsed."""
