-- name: insert
INSERT INTO validation_requests (
    id, portfolio_id, status, created_at, updated_at, request_id, specification, pricing_pack_id, job_id, windows_done,
    windows
) VALUES (
    %(id)s, %(portfolio_id)s, %(status)s, %(created_at)s, %(updated_at)s, %(request_id)s, %(specification)s,
    %(pricing_pack_id)s, %(job_id)s, %(windows_done)s, %(windows)s
)
ON CONFLICT (portfolio_id, request_id) DO NOTHING;

-- name: find_id
SELECT id FROM validation_requests WHERE portfolio_id = %(portfolio_id)s AND request_id = %(request_id)s;

-- name: find
SELECT requests.*, results.* FROM validation_requests AS requests
LEFT JOIN validation_results AS results ON results.validation_id = requests.id
WHERE requests.id = %(id)s;

-- name: find_request
SELECT * FROM validation_requests WHERE id = %(id)s;

-- name: page
SELECT requests.*, results.* FROM validation_requests AS requests
LEFT JOIN validation_results AS results ON results.validation_id = requests.id
WHERE requests.portfolio_id = %(portfolio_id)s AND (
    %(before_moment)s::timestamptz IS NULL
    OR (requests.created_at, requests.id) < (%(before_moment)s::timestamptz, %(before_id)s)
)
ORDER BY requests.created_at DESC, requests.id DESC LIMIT %(limit)s;

-- name: set_job
UPDATE validation_requests SET job_id = %(job_id)s WHERE id = %(id)s;

-- name: start
UPDATE validation_requests SET status = 'running', windows_done = 0, updated_at = NOW()
WHERE id = %(id)s AND status IN ('pending', 'running');

-- name: progress
UPDATE validation_requests SET windows_done = %(windows_done)s, windows = %(windows)s, updated_at = NOW()
WHERE id = %(id)s AND status = 'running';

-- name: cancel
WITH previous AS MATERIALIZED (
    SELECT id, status FROM validation_requests WHERE id = %(id)s FOR UPDATE
), changed AS (
    UPDATE validation_requests SET status = 'cancelled', updated_at = NOW() FROM previous
    WHERE validation_requests.id = previous.id AND previous.status IN ('pending', 'running')
)
SELECT status FROM previous;

-- name: finish
UPDATE validation_requests SET status = %(status)s, updated_at = NOW()
WHERE id = %(id)s AND status IN ('pending', 'running');

-- name: insert_result
INSERT INTO validation_results (validation_id, report, details, solve_seconds, completed_at)
VALUES (%(validation_id)s, %(report)s, %(details)s, %(solve_seconds)s, %(completed_at)s);
