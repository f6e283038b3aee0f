-- Webhooks, and what became of telling receivers about events.

SELECT 1;
