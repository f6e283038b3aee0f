-- name: put
INSERT INTO benchmarks (id, name, index_instrument_id, source)
VALUES (%(id)s, %(name)s, %(index_instrument_id)s, %(source)s)
ON CONFLICT (id) DO UPDATE SET
    name = EXCLUDED.name, index_instrument_id = EXCLUDED.index_instrument_id, source = EXCLUDED.source;

-- name: delete_weights
DELETE FROM benchmark_weights WHERE benchmark_id = %(id)s;

-- name: insert_weights
INSERT INTO benchmark_weights (benchmark_id, instrument_id, weight)
SELECT %(id)s, * FROM unnest(%(instrument_ids)s::text[], %(weights)s::numeric[]);

-- name: page
SELECT id, name, index_instrument_id, source,
    ARRAY(SELECT instrument_id FROM benchmark_weights WHERE benchmark_id = id ORDER BY instrument_id) AS instrument_ids,
    ARRAY(SELECT weight FROM benchmark_weights WHERE benchmark_id = id ORDER BY instrument_id) AS weights
FROM benchmarks WHERE id > %(after)s ORDER BY id LIMIT %(limit)s;

-- name: find
SELECT id, name, index_instrument_id, source,
    ARRAY(SELECT instrument_id FROM benchmark_weights WHERE benchmark_id = id ORDER BY instrument_id) AS instrument_ids,
    ARRAY(SELECT weight FROM benchmark_weights WHERE benchmark_id = id ORDER BY instrument_id) AS weights
FROM benchmarks WHERE id = %(id)s;
