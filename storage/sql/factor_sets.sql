-- name: insert
INSERT INTO factor_sets (id, source, first_date, as_of, factors, observations, days)
VALUES (%(id)s, %(source)s, %(first_date)s, %(as_of)s, %(factors)s, %(observations)s, %(days)s)
ON CONFLICT (id) DO NOTHING
RETURNING number;

-- name: copy_in
COPY factor_returns (set_number, factor_number, day, simple_return) FROM STDIN (FORMAT BINARY);

-- name: find
SELECT id, source, first_date, as_of, factors, observations, days, created_at FROM factor_sets WHERE id = %(id)s;

-- name: latest
SELECT id, source, first_date, as_of, factors, observations, days, created_at FROM factor_sets
WHERE factors @> %(factors)s::text[]
ORDER BY as_of DESC, created_at DESC, number DESC LIMIT 1;

-- name: page
SELECT id, source, first_date, as_of, factors, observations, days, created_at FROM factor_sets
WHERE id > %(after)s ORDER BY id LIMIT %(limit)s;

-- name: newest
SELECT id, source, first_date, as_of, factors, observations, days, created_at FROM factor_sets
WHERE (
    %(before_moment)s::timestamptz IS NULL
    OR (created_at, id) < (%(before_moment)s::timestamptz, %(before_id)s)
)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s;

-- name: is_new
SELECT filled_by = pg_current_xact_id() FROM factor_sets WHERE id = %(id)s;

-- name: read
-- Days and returns of a factor come as the bytes of two big-endian arrays, each read along the primary key.
SELECT factor.name, series.days, series.values
FROM factor_sets
CROSS JOIN LATERAL unnest(factors) WITH ORDINALITY AS factor(name, place)
CROSS JOIN LATERAL (
    SELECT string_agg(date_send(day), '') AS days, string_agg(float8send(simple_return), '') AS values
    FROM (
        SELECT day, simple_return FROM factor_returns
        WHERE set_number = factor_sets.number
            AND factor_number = factor.place - 1
            AND day >= %(first)s AND day <= %(last)s
        ORDER BY day
    ) AS ordered
) AS series
WHERE factor_sets.id = %(id)s AND factor.name = ANY(%(names)s) AND series.days IS NOT NULL;
