-- name: claim
-- Of each receiver the first in each portfolio: what comes later waits until that is delivered or abandoned. Events are
-- numbered in the order of their commits, so what is first stays so until it ends.
WITH firsts AS (
    SELECT receiver, MIN(sequence) AS sequence FROM deliveries WHERE status = 'pending'
    GROUP BY receiver, portfolio_id
), ranked AS (
    SELECT id, row_number() OVER (PARTITION BY receiver ORDER BY sequence) AS place
    FROM firsts JOIN deliveries USING (receiver, sequence)
    WHERE next_attempt_at <= NOW() AND receiver <> ALL(%(busy)s::text[])
), due AS (
    SELECT deliveries.id FROM deliveries JOIN ranked ON ranked.id = deliveries.id AND place <= %(each)s
    WHERE status = 'pending' AND next_attempt_at <= NOW()
    ORDER BY place, sequence LIMIT %(limit)s FOR UPDATE OF deliveries SKIP LOCKED
), claimed AS (
    UPDATE deliveries SET
        attempts = attempts + 1,
        next_attempt_at = clock_timestamp()
            + CASE channel WHEN 'webhook' THEN %(webhook_lease)s::interval ELSE %(email_lease)s::interval END
    FROM due WHERE deliveries.id = due.id
    RETURNING deliveries.id, sequence, webhook_id, channel, receiver, address, attempts
)
SELECT claimed.id, claimed.webhook_id, channel, receiver, address, attempts, signing_key,
    portfolios.name AS portfolio_name, base_currency AS currency, events.id AS event_id, events.sequence,
    events.portfolio_id, events.type, events.payload, events.created_at
FROM claimed
JOIN events ON events.sequence = claimed.sequence
JOIN portfolios ON portfolios.id = events.portfolio_id
LEFT JOIN webhook_keys ON webhook_keys.webhook_id = claimed.webhook_id
ORDER BY claimed.sequence, claimed.id;

-- name: seconds_until_due
WITH firsts AS (
    SELECT receiver, MIN(sequence) AS sequence FROM deliveries WHERE status = 'pending'
    GROUP BY receiver, portfolio_id
)
SELECT EXTRACT(EPOCH FROM MIN(next_attempt_at) - NOW())::float8
FROM firsts JOIN deliveries USING (receiver, sequence)
WHERE receiver <> ALL(%(busy)s::text[]);

-- name: deliver
-- Also when the lease has run out: what was delivered is delivered, whatever others have made of it meanwhile.
UPDATE deliveries SET status = 'delivered', delivered_at = clock_timestamp(), next_attempt_at = NULL, last_error = ''
WHERE id = %(id)s AND status <> 'delivered';

-- name: fail
-- Only the newest attempt decides what comes next.
UPDATE deliveries SET
    last_error = %(error)s,
    status = ended.status,
    next_attempt_at = CASE ended.status WHEN 'pending' THEN clock_timestamp() + %(wait)s::interval END
FROM (
    SELECT id, CASE
        WHEN %(final)s OR attempts >= %(most_attempts)s OR created_at + %(longest)s::interval <= clock_timestamp()
        THEN 'abandoned' ELSE 'pending'
    END AS status
    FROM deliveries WHERE id = %(id)s AND status = 'pending' AND attempts = %(attempt)s FOR UPDATE
) AS ended
WHERE deliveries.id = ended.id
RETURNING deliveries.status;

-- name: page
SELECT deliveries.id, events.id::text AS event_id, events.type AS event_type, deliveries.sequence,
    deliveries.portfolio_id, channel, address, status, attempts, deliveries.created_at, next_attempt_at, delivered_at,
    last_error
FROM deliveries JOIN events ON events.sequence = deliveries.sequence
WHERE (%(portfolio_id)s::text IS NULL OR deliveries.portfolio_id = %(portfolio_id)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (
        %(before_moment)s::timestamptz IS NULL
        OR (deliveries.created_at, deliveries.id) < (%(before_moment)s::timestamptz, %(before_id)s)
    )
ORDER BY deliveries.created_at DESC, deliveries.id DESC LIMIT %(limit)s;
