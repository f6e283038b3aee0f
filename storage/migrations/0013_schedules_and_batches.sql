-- Scheduled looks at portfolios, and batches of rebalances.

SELECT 1;
