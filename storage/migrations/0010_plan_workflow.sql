-- The way of rebalance plans from proposal to execution.

SELECT 1;
