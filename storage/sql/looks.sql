-- name: groups
SELECT DISTINCT exchange, schedule FROM portfolio_schedules ORDER BY exchange, schedule;

-- name: find_schedule
SELECT portfolio_id, schedule, exchange, since FROM portfolio_schedules WHERE portfolio_id = %(portfolio_id)s;

-- name: waiting
-- Whoever comes at the same time takes the others.
SELECT portfolio_id, since, NULLIF(last_session, '0001-01-01') AS last_session FROM portfolio_schedules
WHERE exchange = %(exchange)s AND schedule = %(schedule)s AND last_session < %(session)s AND since < %(opened_at)s
ORDER BY portfolio_id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;

-- name: set_last_session
UPDATE portfolio_schedules SET last_session = GREATEST(last_session, %(session)s)
WHERE portfolio_id = ANY(%(portfolio_ids)s);

-- name: insert_pending
INSERT INTO scheduled_looks (portfolio_id, session, status, created_at)
SELECT portfolio_id, %(session)s, 'pending', %(moment)s FROM unnest(%(portfolio_ids)s::text[]) AS portfolio_id
ON CONFLICT (portfolio_id, session) DO NOTHING
RETURNING portfolio_id;

-- name: insert_skipped
INSERT INTO scheduled_looks (portfolio_id, session, status, note, created_at, ended_at)
SELECT portfolio_id, session, 'skipped', %(note)s, %(moment)s, %(moment)s
FROM unnest(%(portfolio_ids)s::text[], %(sessions)s::date[]) AS missed(portfolio_id, session)
ON CONFLICT (portfolio_id, session) DO NOTHING;

-- name: find
SELECT portfolio_id, session, status, reached, note, rebalance_id, created_at, ended_at FROM scheduled_looks
WHERE portfolio_id = %(portfolio_id)s AND session = %(session)s;

-- name: of_portfolio
SELECT portfolio_id, session, status, reached, note, rebalance_id, created_at, ended_at FROM scheduled_looks
WHERE portfolio_id = %(portfolio_id)s ORDER BY session;

-- name: set_reached
UPDATE scheduled_looks SET reached = %(reached)s
WHERE portfolio_id = %(portfolio_id)s AND session = %(session)s AND status = 'pending' AND reached IS NULL;

-- name: finish
UPDATE scheduled_looks
SET status = %(status)s, note = %(note)s, rebalance_id = %(rebalance_id)s, ended_at = %(ended_at)s
WHERE portfolio_id = %(portfolio_id)s AND session = %(session)s AND status = 'pending';

-- name: sessions
SELECT MAX(session) AS begun, MAX(session) FILTER (WHERE status IN ('done', 'failed')) AS looked_at,
    COALESCE((array_agg(note ORDER BY session DESC) FILTER (WHERE status IN ('done', 'failed')))[1], '') AS note
FROM scheduled_looks WHERE portfolio_id = %(portfolio_id)s;

-- name: unmeasured
-- New prices, or a portfolio that is not the one that was measured. Without preferences there is no target.
SELECT portfolios.id AS portfolio_id, portfolios.updated_at AS portfolio_updated_at, known.packs
FROM portfolios
CROSS JOIN (SELECT COUNT(*)::integer AS packs FROM pricing_packs) AS known
LEFT JOIN drift_states AS states ON states.portfolio_id = portfolios.id
WHERE portfolios.preferences ? 'rebalancing' AND portfolios.id > %(after)s AND (
    states.portfolio_id IS NULL OR states.packs <> known.packs
    OR states.portfolio_updated_at <> portfolios.updated_at
)
ORDER BY portfolios.id LIMIT %(limit)s;

-- name: place
SELECT portfolios.id AS portfolio_id, portfolios.updated_at AS portfolio_updated_at,
    (SELECT COUNT(*)::integer FROM pricing_packs) AS packs
FROM portfolios WHERE portfolios.id = %(portfolio_id)s;

-- name: open_state
INSERT INTO drift_states (portfolio_id, packs, portfolio_updated_at, measured_at, reached)
VALUES (%(portfolio_id)s, -1, '-infinity', NOW(), FALSE)
ON CONFLICT (portfolio_id) DO NOTHING;

-- name: lock_state
SELECT portfolio_id, reached, told_pack_id, packs FROM drift_states WHERE portfolio_id = %(portfolio_id)s FOR UPDATE;

-- name: put_state
UPDATE drift_states SET
    packs = %(packs)s, portfolio_updated_at = %(portfolio_updated_at)s, measured_at = %(moment)s,
    reached = %(reached)s, told_pack_id = %(told_pack_id)s, note = %(note)s
WHERE portfolio_id = %(portfolio_id)s;
