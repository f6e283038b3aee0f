-- name: insert
INSERT INTO efficient_frontier_requests (
    id, portfolio_id, risk_measure, points, min_return, max_risk, constraints, status, created_at, updated_at,
    request_id, specification, pricing_pack_id, job_id
) VALUES (
    %(id)s, %(portfolio_id)s, %(risk_measure)s, %(points)s, %(min_return)s, %(max_risk)s, %(constraints)s, %(status)s,
    %(created_at)s, %(updated_at)s, %(request_id)s, %(specification)s, %(pricing_pack_id)s, %(job_id)s
)
ON CONFLICT (portfolio_id, request_id) DO NOTHING;

-- name: find_id
SELECT id FROM efficient_frontier_requests WHERE portfolio_id = %(portfolio_id)s AND request_id = %(request_id)s;

-- name: find
SELECT requests.*, results.* FROM efficient_frontier_requests AS requests
LEFT JOIN efficient_frontier_results AS results ON results.frontier_id = requests.id
WHERE requests.id = %(id)s;

-- name: page
SELECT requests.*, results.* FROM efficient_frontier_requests AS requests
LEFT JOIN efficient_frontier_results AS results ON results.frontier_id = requests.id
WHERE requests.portfolio_id = %(portfolio_id)s AND (
    %(before_moment)s::timestamptz IS NULL
    OR (requests.created_at, requests.id) < (%(before_moment)s::timestamptz, %(before_id)s)
)
ORDER BY requests.created_at DESC, requests.id DESC LIMIT %(limit)s;

-- name: finish
UPDATE efficient_frontier_requests SET status = %(status)s, updated_at = NOW()
WHERE id = %(id)s AND status IN ('pending', 'running');

-- name: insert_result
INSERT INTO efficient_frontier_results (
    frontier_id, frontier_points, current_portfolio, optimal_portfolio, min_risk_portfolio, max_return_portfolio,
    completed_at, details, solve_seconds
) VALUES (
    %(frontier_id)s, %(frontier_points)s, %(current_portfolio)s, %(optimal_portfolio)s, %(min_risk_portfolio)s,
    %(max_return_portfolio)s, %(completed_at)s, %(details)s, %(solve_seconds)s
);

-- name: publish
INSERT INTO efficient_frontiers (
    frontier_id, portfolio_id, risk_measure, frontier_points, current_portfolio, optimal_portfolio,
    min_risk_portfolio, max_return_portfolio, created_at
)
SELECT requests.id, requests.portfolio_id, requests.risk_measure, results.frontier_points, results.current_portfolio,
    results.optimal_portfolio, results.min_risk_portfolio, results.max_return_portfolio, requests.created_at
FROM efficient_frontier_requests AS requests
JOIN efficient_frontier_results AS results ON results.frontier_id = requests.id
WHERE requests.id = %(id)s AND requests.status = 'completed';
