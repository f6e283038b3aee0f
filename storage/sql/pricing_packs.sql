-- name: insert
INSERT INTO pricing_packs (id, source, first_date, as_of, instrument_ids, observations, days)
VALUES (%(id)s, %(source)s, %(first_date)s, %(as_of)s, %(instrument_ids)s, %(observations)s, %(days)s)
ON CONFLICT (id) DO NOTHING
RETURNING number;

-- name: copy_in
COPY prices (pack_number, instrument_number, day, close) FROM STDIN (FORMAT BINARY);

-- name: find
SELECT id, source, first_date, as_of, instrument_ids, observations, days, created_at FROM pricing_packs WHERE id = %(id)s;

-- name: latest
SELECT id, source, first_date, as_of, instrument_ids, observations, days, created_at FROM pricing_packs
WHERE instrument_ids @> %(instrument_ids)s::text[]
ORDER BY as_of DESC, created_at DESC, number DESC LIMIT 1;

-- name: page
SELECT id, source, first_date, as_of, instrument_ids, observations, days, created_at FROM pricing_packs
WHERE id > %(after)s ORDER BY id LIMIT %(limit)s;

-- name: newest
SELECT id, source, first_date, as_of, instrument_ids, observations, days, created_at FROM pricing_packs
WHERE (%(instrument_id)s::text IS NULL OR instrument_ids @> ARRAY[%(instrument_id)s::text])
    AND (
        %(before_moment)s::timestamptz IS NULL
        OR (created_at, id) < (%(before_moment)s::timestamptz, %(before_id)s)
    )
ORDER BY created_at DESC, id DESC LIMIT %(limit)s;

-- name: is_new
SELECT filled_by = pg_current_xact_id() FROM pricing_packs WHERE id = %(id)s;

-- name: read
-- Days and closes of an instrument come as the bytes of two big-endian arrays, each read along the primary key.
SELECT instruments.id AS name, series.days, series.values
FROM instruments
CROSS JOIN LATERAL (
    SELECT string_agg(date_send(day), '') AS days, string_agg(float8send(close), '') AS values
    FROM (
        SELECT day, close FROM prices
        WHERE pack_number = (SELECT number FROM pricing_packs WHERE id = %(id)s)
            AND instrument_number = instruments.number
            AND day >= %(first)s AND day <= %(last)s
        ORDER BY day
    ) AS ordered
) AS series
WHERE instruments.id = ANY(%(names)s) AND series.days IS NOT NULL;

-- name: last_closes
-- One step down the primary key per instrument, however long the history.
SELECT instruments.id AS name, latest.close
FROM instruments
CROSS JOIN LATERAL (
    SELECT close FROM prices
    WHERE pack_number = (SELECT number FROM pricing_packs WHERE id = %(id)s) AND instrument_number = instruments.number
    ORDER BY day DESC LIMIT 1
) AS latest
WHERE instruments.id = ANY(%(names)s);
