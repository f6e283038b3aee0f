-- name: insert
INSERT INTO rebalance_batches (
    id, request_id, content_hash, template, summary_only, pricing_pack_id, actor, status, portfolio_count, chunk_count,
    created_at
) VALUES (
    %(id)s, %(request_id)s, %(content_hash)s, %(template)s, %(summary_only)s, %(pricing_pack_id)s, %(actor)s,
    %(status)s, %(portfolio_count)s, %(chunk_count)s, %(created_at)s
)
ON CONFLICT (request_id) DO NOTHING;

-- name: insert_chunks
INSERT INTO rebalance_batch_chunks (batch_id, number, first_position, portfolio_ids)
SELECT %(id)s, (place - 1) / %(size)s, MIN(place) - 1, array_agg(portfolio_id ORDER BY place)
FROM unnest(%(portfolio_ids)s::text[]) WITH ORDINALITY AS named(portfolio_id, place)
GROUP BY (place - 1) / %(size)s;

-- name: find
SELECT * FROM rebalance_batches WHERE id = %(id)s;

-- name: find_by_request_id
SELECT * FROM rebalance_batches WHERE request_id = %(request_id)s;

-- name: start
UPDATE rebalance_batches SET status = 'running' WHERE id = %(id)s AND status = 'pending';

-- name: cancel
WITH previous AS MATERIALIZED (
    SELECT id, status FROM rebalance_batches WHERE id = %(id)s FOR UPDATE
), changed AS (
    UPDATE rebalance_batches SET status = 'cancelled' FROM previous
    WHERE rebalance_batches.id = previous.id AND previous.status IN ('pending', 'running')
)
SELECT status FROM previous;

-- name: fail
UPDATE rebalance_batches SET status = 'failed' WHERE id = %(id)s AND status IN ('pending', 'running');

-- name: find_chunk
SELECT * FROM rebalance_batch_chunks WHERE batch_id = %(batch_id)s AND number = %(number)s;

-- name: lock_chunk
SELECT * FROM rebalance_batch_chunks WHERE batch_id = %(batch_id)s AND number = %(number)s FOR UPDATE;

-- name: positions
SELECT position FROM rebalance_batch_items
WHERE batch_id = %(batch_id)s AND position >= %(first)s AND position < %(end)s;

-- name: insert_items
INSERT INTO rebalance_batch_items (batch_id, position, portfolio_id, rebalance_id, error, content)
SELECT %(batch_id)s, * FROM unnest(
    %(positions)s::integer[], %(portfolio_ids)s::text[], %(rebalance_ids)s::text[], %(errors)s::text[],
    %(contents)s::jsonb[]
);

-- name: end_chunk
UPDATE rebalance_batch_chunks AS chunks SET done = TRUE
WHERE batch_id = %(batch_id)s AND number = %(number)s AND NOT done AND cardinality(portfolio_ids) = (
    SELECT COUNT(*) FROM rebalance_batch_items AS items
    WHERE items.batch_id = chunks.batch_id AND items.position >= chunks.first_position
        AND items.position < chunks.first_position + cardinality(chunks.portfolio_ids)
);

-- name: advance
UPDATE rebalance_batches SET
    status = CASE WHEN done_count + %(done)s = portfolio_count THEN 'completed' ELSE 'running' END,
    done_count = done_count + %(done)s,
    failed_count = failed_count + %(failed)s,
    done_chunk_count = done_chunk_count + %(chunks)s,
    processor_seconds = processor_seconds + %(processor_seconds)s,
    completed_at = CASE WHEN done_count + %(done)s = portfolio_count THEN %(moment)s::timestamptz END
WHERE id = %(batch_id)s AND status IN ('pending', 'running')
RETURNING status;

-- name: pack
-- Of the packs with prices of the whole target those that leave out least of what is held, of these the newest.
WITH held AS MATERIALIZED (
    SELECT DISTINCT instrument_id FROM holdings WHERE portfolio_id = ANY(%(portfolio_ids)s::text[]) AND quantity <> 0
)
SELECT packs.id FROM pricing_packs AS packs WHERE packs.instrument_ids @> %(wanted)s::text[]
ORDER BY (
    SELECT COUNT(*) FROM unnest(packs.instrument_ids) AS priced(name) JOIN held ON held.instrument_id = priced.name
) DESC, packs.as_of DESC, packs.created_at DESC, packs.number DESC LIMIT 1;

-- name: items
SELECT position, portfolio_id, rebalance_id, error, content FROM rebalance_batch_items
WHERE batch_id = %(batch_id)s AND position > %(after)s AND (NOT %(only_failed)s OR error <> '')
ORDER BY position LIMIT %(limit)s;
