-- name: insert
INSERT INTO rebalance_requests (
    id, portfolio_id, target_type, constraints, status, created_at, updated_at, request_id, specification,
    pricing_pack_id, job_id
) VALUES (
    %(id)s, %(portfolio_id)s, %(target_type)s, %(constraints)s, %(status)s, %(created_at)s, %(updated_at)s,
    %(request_id)s, %(specification)s, %(pricing_pack_id)s, %(job_id)s
)
ON CONFLICT (portfolio_id, request_id) DO NOTHING;

-- name: find_id
SELECT id FROM rebalance_requests WHERE portfolio_id = %(portfolio_id)s AND request_id = %(request_id)s;

-- name: find
SELECT requests.*, results.* FROM rebalance_requests AS requests
LEFT JOIN rebalance_results AS results ON results.rebalance_id = requests.id
WHERE requests.id = %(id)s;

-- name: page
SELECT requests.*, results.* FROM rebalance_requests AS requests
LEFT JOIN rebalance_results AS results ON results.rebalance_id = requests.id
WHERE requests.portfolio_id = %(portfolio_id)s AND (
    %(before_moment)s::timestamptz IS NULL
    OR (requests.created_at, requests.id) < (%(before_moment)s::timestamptz, %(before_id)s)
)
ORDER BY requests.created_at DESC, requests.id DESC LIMIT %(limit)s;

-- name: finish
UPDATE rebalance_requests SET status = %(status)s, updated_at = NOW()
WHERE id = %(id)s AND status IN ('pending', 'running');

-- name: insert_result
INSERT INTO rebalance_results (
    rebalance_id, current_allocation, target_allocation, trades, metrics, completed_at, details, solve_seconds
) VALUES (
    %(rebalance_id)s, %(current_allocation)s, %(target_allocation)s, %(trades)s, %(metrics)s, %(completed_at)s,
    %(details)s, %(solve_seconds)s
);

-- name: publish
INSERT INTO rebalance_plans (
    rebalance_id, portfolio_id, target_type, current_allocation, target_allocation, trades, metrics, created_at
)
SELECT requests.id, requests.portfolio_id, requests.target_type, results.current_allocation, results.target_allocation,
    results.trades, results.metrics, requests.created_at
FROM rebalance_requests AS requests
JOIN rebalance_results AS results ON results.rebalance_id = requests.id
WHERE requests.id = %(id)s AND requests.status = 'completed';
