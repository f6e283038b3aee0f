-- name: append
INSERT INTO events (id, portfolio_id, type, payload, created_at)
VALUES (%(id)s, %(portfolio_id)s, %(type)s, %(payload)s, %(created_at)s)
RETURNING sequence, id, portfolio_id, type, payload, created_at;

-- name: after
SELECT sequence, id, portfolio_id, type, payload, created_at FROM events
WHERE sequence > %(after)s AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s))
ORDER BY sequence LIMIT %(limit)s;

-- name: after_in_portfolio
SELECT sequence, id, portfolio_id, type, payload, created_at FROM events
WHERE portfolio_id = %(portfolio_id)s AND sequence > %(after)s
    AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s))
ORDER BY sequence LIMIT %(limit)s;

-- name: last_sequence
SELECT COALESCE(MAX(sequence), 0) FROM events;
