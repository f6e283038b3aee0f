-- name: insert
INSERT INTO factor_analysis_requests (
    id, portfolio_id, factors, status, created_at, updated_at, request_id, specification, pricing_pack_id, job_id
) VALUES (
    %(id)s, %(portfolio_id)s, %(factors)s, %(status)s, %(created_at)s, %(updated_at)s, %(request_id)s,
    %(specification)s, %(pricing_pack_id)s, %(job_id)s
)
ON CONFLICT (portfolio_id, request_id) DO NOTHING;

-- name: find_id
SELECT id FROM factor_analysis_requests WHERE portfolio_id = %(portfolio_id)s AND request_id = %(request_id)s;

-- name: find
SELECT requests.*, results.* FROM factor_analysis_requests AS requests
LEFT JOIN factor_analysis_results AS results ON results.analysis_id = requests.id
WHERE requests.id = %(id)s;

-- name: page
SELECT requests.*, results.* FROM factor_analysis_requests AS requests
LEFT JOIN factor_analysis_results AS results ON results.analysis_id = requests.id
WHERE requests.portfolio_id = %(portfolio_id)s AND (
    %(before_moment)s::timestamptz IS NULL
    OR (requests.created_at, requests.id) < (%(before_moment)s::timestamptz, %(before_id)s)
)
ORDER BY requests.created_at DESC, requests.id DESC LIMIT %(limit)s;

-- name: page_without_instruments
SELECT requests.*, results.analysis_id, results.as_of, results.exposures, results.attribution, results.completed_at,
    results.details - 'instruments' #- '{risk,instruments}' #- '{active_risk,instruments}' AS details,
    results.solve_seconds
FROM factor_analysis_requests AS requests
LEFT JOIN factor_analysis_results AS results ON results.analysis_id = requests.id
WHERE requests.portfolio_id = %(portfolio_id)s AND (
    %(before_moment)s::timestamptz IS NULL
    OR (requests.created_at, requests.id) < (%(before_moment)s::timestamptz, %(before_id)s)
)
ORDER BY requests.created_at DESC, requests.id DESC LIMIT %(limit)s;

-- name: latest
SELECT requests.*, results.*
FROM factor_exposures AS published
JOIN factor_analysis_requests AS requests ON requests.id = published.analysis_id
JOIN factor_analysis_results AS results ON results.analysis_id = published.analysis_id
WHERE published.portfolio_id = %(portfolio_id)s
ORDER BY published.created_at DESC, published.analysis_id DESC LIMIT 1;

-- name: finish
UPDATE factor_analysis_requests SET status = %(status)s, updated_at = NOW()
WHERE id = %(id)s AND status IN ('pending', 'running');

-- name: insert_result
INSERT INTO factor_analysis_results (
    analysis_id, as_of, exposures, attribution, completed_at, details, solve_seconds
) VALUES (
    %(analysis_id)s, %(as_of)s, %(exposures)s, %(attribution)s, %(completed_at)s, %(details)s, %(solve_seconds)s
);

-- name: publish
INSERT INTO factor_exposures (analysis_id, portfolio_id, as_of, exposures, attribution, created_at)
SELECT requests.id, requests.portfolio_id, results.as_of, results.exposures, results.attribution, requests.created_at
FROM factor_analysis_requests AS requests
JOIN factor_analysis_results AS results ON results.analysis_id = requests.id
WHERE requests.id = %(id)s AND requests.status = 'completed';
