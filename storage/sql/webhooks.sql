-- name: count
SELECT COUNT(*) FROM webhooks WHERE deleted_at IS NULL;

-- name: insert
INSERT INTO webhooks (id, url, portfolio_id, types, created_at)
VALUES (%(id)s, %(url)s, %(portfolio_id)s, %(types)s::text[], %(created_at)s)
ON CONFLICT (url, (COALESCE(portfolio_id, '')), types) WHERE deleted_at IS NULL DO NOTHING;

-- name: find_same
SELECT id FROM webhooks
WHERE deleted_at IS NULL AND url = %(url)s AND types = %(types)s::text[]
    AND COALESCE(portfolio_id, '') = COALESCE(%(portfolio_id)s, '');

-- name: insert_key
INSERT INTO webhook_keys (webhook_id, signing_key) VALUES (%(id)s, %(signing_key)s);

-- name: page
SELECT id, url, portfolio_id, types, created_at, COALESCE(
    (SELECT MAX(sequence) FROM deliveries WHERE webhook_id = webhooks.id AND status = 'delivered'), 0
) AS delivered_sequence
FROM webhooks
WHERE deleted_at IS NULL AND (
    %(after_moment)s::timestamptz IS NULL OR (created_at, id) > (%(after_moment)s::timestamptz, %(after_id)s)
)
ORDER BY created_at, id LIMIT %(limit)s;

-- name: lock
SELECT id FROM webhooks WHERE id = %(id)s AND deleted_at IS NULL FOR UPDATE;

-- name: abandon_deliveries
UPDATE deliveries SET status = 'abandoned', next_attempt_at = NULL, last_error = 'the webhook was deleted'
WHERE receiver = %(id)s AND status = 'pending';

-- name: delete_key
DELETE FROM webhook_keys WHERE webhook_id = %(id)s;

-- name: delete
UPDATE webhooks SET deleted_at = NOW() WHERE id = %(id)s;
