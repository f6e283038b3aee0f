-- name: insert
INSERT INTO optimization_requests (
    id, portfolio_id, optimization_type, objective, risk_measure, constraints, preferences, status, created_at,
    updated_at, request_id, specification, pricing_pack_id, job_id
) VALUES (
    %(id)s, %(portfolio_id)s, %(optimization_type)s, %(objective)s, %(risk_measure)s, %(constraints)s,
    %(preferences)s, %(status)s, %(created_at)s, %(updated_at)s, %(request_id)s, %(specification)s,
    %(pricing_pack_id)s, %(job_id)s
)
ON CONFLICT (portfolio_id, request_id) DO NOTHING;

-- name: insert_summary
INSERT INTO portfolio_optimizations (
    optimization_id, portfolio_id, optimization_type, objective, risk_measure, status, created_at
) VALUES (
    %(id)s, %(portfolio_id)s, %(optimization_type)s, %(objective)s, %(risk_measure)s, %(status)s, %(created_at)s
);

-- name: find_id
SELECT id FROM optimization_requests WHERE portfolio_id = %(portfolio_id)s AND request_id = %(request_id)s;

-- name: find
SELECT requests.*, results.* FROM optimization_requests AS requests
LEFT JOIN optimization_results AS results ON results.optimization_id = requests.id
WHERE requests.id = %(id)s;

-- name: page
SELECT requests.*, results.* FROM optimization_requests AS requests
LEFT JOIN optimization_results AS results ON results.optimization_id = requests.id
WHERE requests.portfolio_id = %(portfolio_id)s AND (
    %(before_moment)s::timestamptz IS NULL
    OR (requests.created_at, requests.id) < (%(before_moment)s::timestamptz, %(before_id)s)
)
ORDER BY requests.created_at DESC, requests.id DESC LIMIT %(limit)s;

-- name: summaries
SELECT * FROM portfolio_optimizations
WHERE (%(portfolio_id)s::text IS NULL OR portfolio_id = %(portfolio_id)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (
        %(before_moment)s::timestamptz IS NULL
        OR (created_at, optimization_id) < (%(before_moment)s::timestamptz, %(before_id)s)
    )
ORDER BY created_at DESC, optimization_id DESC LIMIT %(limit)s;

-- name: latest
SELECT requests.*, results.* FROM optimization_requests AS requests
JOIN optimization_results AS results ON results.optimization_id = requests.id
WHERE requests.portfolio_id = %(portfolio_id)s AND requests.status = 'completed'
ORDER BY results.completed_at DESC, requests.id DESC LIMIT 1;

-- name: queue_estimate
SELECT
    (SELECT COUNT(*) FROM optimization_requests WHERE status IN ('pending', 'running')) AS open_requests,
    COALESCE(
        (SELECT AVG(solve_seconds) FROM (
            SELECT solve_seconds FROM optimization_results WHERE solve_seconds IS NOT NULL
            ORDER BY completed_at DESC LIMIT 50
        ) AS recent),
        0.5
    )::double precision AS mean_solve_seconds;

-- name: set_job
UPDATE optimization_requests SET job_id = %(job_id)s WHERE id = %(id)s;

-- name: start
UPDATE optimization_requests SET status = 'running', updated_at = NOW()
WHERE id = %(id)s AND status IN ('pending', 'running');

-- name: cancel
WITH previous AS MATERIALIZED (
    SELECT id, status FROM optimization_requests WHERE id = %(id)s FOR UPDATE
), changed AS (
    UPDATE optimization_requests SET status = 'cancelled', updated_at = NOW() FROM previous
    WHERE optimization_requests.id = previous.id AND previous.status IN ('pending', 'running')
)
SELECT status FROM previous;

-- name: finish
UPDATE optimization_requests SET status = %(status)s, updated_at = NOW()
WHERE id = %(id)s AND status IN ('pending', 'running');

-- name: insert_result
INSERT INTO optimization_results (
    optimization_id, metrics, current_allocation, target_allocation, trades, efficient_frontier, completed_at,
    details, solve_seconds
) VALUES (
    %(optimization_id)s, %(metrics)s, %(current_allocation)s, %(target_allocation)s, %(trades)s,
    %(efficient_frontier)s, %(completed_at)s, %(details)s, %(solve_seconds)s
);

-- name: publish_summary
UPDATE portfolio_optimizations SET
    status = requests.status, metrics = results.metrics, current_allocation = results.current_allocation,
    target_allocation = results.target_allocation, trades = results.trades, completed_at = results.completed_at
FROM optimization_requests AS requests
LEFT JOIN optimization_results AS results ON results.optimization_id = requests.id
WHERE requests.id = %(id)s AND portfolio_optimizations.optimization_id = requests.id;

-- name: publish_partition
SELECT ensure_history_partition(completed_at) FROM optimization_results WHERE optimization_id = %(id)s;

-- name: publish_history
INSERT INTO portfolio_optimization_history (
    portfolio_id, completed_at, optimization_id, optimization_type, objective, risk_measure, status, pricing_pack_id,
    metrics, current_allocation, target_allocation
)
SELECT requests.portfolio_id, results.completed_at, requests.id, requests.optimization_type, requests.objective,
    requests.risk_measure, requests.status, requests.pricing_pack_id, results.metrics, results.current_allocation,
    results.target_allocation
FROM optimization_requests AS requests
JOIN optimization_results AS results ON results.optimization_id = requests.id
WHERE requests.id = %(id)s;

-- name: history
SELECT * FROM portfolio_optimization_history
WHERE portfolio_id = %(portfolio_id)s AND completed_at >= %(first)s AND completed_at < %(end)s
ORDER BY completed_at, optimization_id;
