-- name: insert
INSERT INTO rebalance_workflows (
    rebalance_id, portfolio_id, status, version, gross_amount, approval_limit, validity_hours, expires_at,
    max_price_move, max_weight_move, input_hash, input_parts, prices, position_before, exposure, last_transaction,
    position_after, seen_portfolio, seen_household, seen_packs, created_at
) VALUES (
    %(rebalance_id)s, %(portfolio_id)s, %(status)s, %(version)s, %(gross_amount)s, %(approval_limit)s,
    %(validity_hours)s, %(expires_at)s, %(max_price_move)s, %(max_weight_move)s, %(input_hash)s, %(input_parts)s,
    %(prices)s, %(position_before)s, %(exposure)s, %(last_transaction)s, %(position_after)s, %(seen_portfolio)s,
    %(seen_household)s, %(seen_packs)s, %(created_at)s
);

-- name: insert_transition
INSERT INTO plan_transitions (rebalance_id, number, action, status, at, actor, comment)
VALUES (%(rebalance_id)s, %(number)s, %(action)s, %(status)s, %(at)s, %(actor)s, %(comment)s);

-- name: insert_execution
INSERT INTO plan_executions (
    rebalance_id, execution_id, number, instrument_id, action, status, quantity, price, cost, executed_at, traded_on,
    comment, recorded_at, actor
) VALUES (
    %(rebalance_id)s, %(execution_id)s, %(number)s, %(instrument_id)s, %(action)s, %(status)s, %(quantity)s, %(price)s,
    %(cost)s, %(executed_at)s, %(traded_on)s, %(comment)s, %(recorded_at)s, %(actor)s
);

-- name: portfolio_of
SELECT portfolio_id FROM rebalance_workflows WHERE rebalance_id = %(rebalance_id)s;

-- name: lock
SELECT * FROM rebalance_workflows WHERE rebalance_id = %(rebalance_id)s FOR UPDATE;

-- name: read
-- Waits for a writer, so that state, transitions and executions are of one moment.
SELECT * FROM rebalance_workflows WHERE rebalance_id = %(rebalance_id)s FOR SHARE;

-- name: transitions
SELECT * FROM plan_transitions WHERE rebalance_id = %(rebalance_id)s ORDER BY number;

-- name: executions
SELECT * FROM plan_executions WHERE rebalance_id = %(rebalance_id)s ORDER BY number;

-- name: advance
UPDATE rebalance_workflows SET status = %(status)s, version = %(version)s, expires_at = %(expires_at)s
WHERE rebalance_id = %(rebalance_id)s;

-- name: set_position_after
UPDATE rebalance_workflows SET position_after = %(position_after)s, expires_at = NULL
WHERE rebalance_id = %(rebalance_id)s;

-- name: set_approval_limit
UPDATE rebalance_workflows SET approval_limit = %(approval_limit)s WHERE rebalance_id = %(rebalance_id)s;

-- name: set_seen
UPDATE rebalance_workflows
SET seen_portfolio = %(seen_portfolio)s, seen_packs = %(seen_packs)s, seen_household = household_state(portfolio_id)
WHERE rebalance_id = %(rebalance_id)s;

-- name: count_packs
SELECT COUNT(*) FROM pricing_packs;

-- name: last_transaction
-- Writers of a household come one after the other, so within it numbers become visible in their order.
SELECT COALESCE(MAX(sequence), 0) FROM portfolio_transactions WHERE portfolio_id = ANY(%(portfolio_ids)s);

-- name: first_later_trade
SELECT * FROM portfolio_transactions
WHERE portfolio_id = ANY(%(portfolio_ids)s) AND sequence > %(after)s AND traded_on >= %(since)s
    AND (
        (action = 'buy' AND instrument_id = ANY(%(bought)s))
        OR (action = 'sell' AND instrument_id = ANY(%(sold_at_loss)s) AND COALESCE(gain, -1) < 0)
    )
ORDER BY sequence LIMIT 1;

-- name: others_open
SELECT rebalance_id FROM rebalance_workflows
WHERE portfolio_id = %(portfolio_id)s AND rebalance_id <> %(rebalance_id)s
    AND status IN ('proposed', 'pending_approval', 'approved')
ORDER BY rebalance_id;

-- name: open_in_household
SELECT workflows.rebalance_id FROM rebalance_workflows AS workflows
JOIN portfolios AS others ON others.id = workflows.portfolio_id
JOIN portfolios AS own ON own.account ->> 'household_id' = others.account ->> 'household_id'
WHERE own.id = %(portfolio_id)s AND others.id <> own.id AND own.account ->> 'household_id' <> ''
    AND workflows.status IN ('proposed', 'pending_approval', 'approved') AND workflows.position_after IS NULL
ORDER BY workflows.rebalance_id;

-- name: other_approved
SELECT rebalance_id FROM rebalance_workflows
WHERE portfolio_id = %(portfolio_id)s AND rebalance_id <> %(rebalance_id)s AND status = 'approved';

-- name: stale
-- Packs are counted and portfolios compared, not dated: what was begun before a look may be committed after it.
SELECT workflows.rebalance_id FROM rebalance_workflows AS workflows
JOIN portfolios ON portfolios.id = workflows.portfolio_id
WHERE workflows.status IN ('proposed', 'pending_approval', 'approved') AND workflows.position_after IS NULL
    AND workflows.rebalance_id > %(after)s
    AND (%(rebalance_id)s::text IS NULL OR workflows.rebalance_id = %(rebalance_id)s)
    AND (
        workflows.expires_at <= %(now)s
        OR workflows.seen_portfolio IS DISTINCT FROM portfolios.updated_at
        OR workflows.seen_packs <> (SELECT COUNT(*) FROM pricing_packs)
        OR workflows.seen_household IS DISTINCT FROM household_state(workflows.portfolio_id)
    )
ORDER BY workflows.rebalance_id LIMIT %(limit)s;

-- name: page
SELECT workflows.rebalance_id, workflows.portfolio_id, plans.target_type, workflows.status, workflows.created_at,
    jsonb_array_length(plans.trades) AS trade_count, plans.metrics,
    workflows.status IN ('proposed', 'pending_approval', 'approved') AND workflows.position_after IS NULL
        AND (
            workflows.expires_at <= %(now)s
            OR workflows.seen_portfolio IS DISTINCT FROM portfolios.updated_at
            OR workflows.seen_packs <> (SELECT COUNT(*) FROM pricing_packs)
            OR workflows.seen_household IS DISTINCT FROM household_state(workflows.portfolio_id)
        ) AS stale
FROM rebalance_workflows AS workflows
JOIN rebalance_plans AS plans ON plans.rebalance_id = workflows.rebalance_id
JOIN portfolios ON portfolios.id = workflows.portfolio_id
WHERE (%(portfolio_id)s::text IS NULL OR workflows.portfolio_id = %(portfolio_id)s)
    AND (%(status)s::text IS NULL OR workflows.status = %(status)s)
    AND (
        %(before_moment)s::timestamptz IS NULL
        OR (workflows.created_at, workflows.rebalance_id) < (%(before_moment)s::timestamptz, %(before_id)s)
    )
ORDER BY workflows.created_at DESC, workflows.rebalance_id DESC LIMIT %(limit)s;
