-- name: lock_name
-- Until commit, so that versions of a name follow each other without gaps or clashes.
SELECT pg_advisory_xact_lock(hashtextextended('factor_models.' || %(name)s, 0));

-- name: insert
INSERT INTO factor_models (
    id, name, version, kind, pricing_pack_id, specification, first_date, as_of, observations, factors, factor_kinds,
    definitions, instrument_ids, days, summary
)
SELECT
    %(id)s, %(name)s::text, COALESCE(MAX(version), 0) + 1, %(kind)s, %(pricing_pack_id)s, %(specification)s, %(first_date)s,
    %(as_of)s, %(observations)s, %(factors)s::text[], %(factor_kinds)s::text[], %(definitions)s::text[],
    %(instrument_ids)s::text[], %(days)s::date[], %(summary)s
FROM factor_models WHERE name = %(name)s::text
RETURNING number;

-- name: insert_numbers
INSERT INTO factor_model_numbers (model_number, part, shape, numbers)
VALUES (%(number)s, %(part)s, %(shape)s, %(numbers)s);

-- name: find
SELECT
    id, name, version, created_at, kind, pricing_pack_id, specification, first_date, as_of, observations, factors,
    factor_kinds, definitions, instrument_ids, summary
FROM factor_models WHERE id = %(id)s;

-- name: find_by_name
SELECT
    id, name, version, created_at, kind, pricing_pack_id, specification, first_date, as_of, observations, factors,
    factor_kinds, definitions, instrument_ids, summary
FROM factor_models WHERE name = %(name)s AND (%(version)s = 0 OR version = %(version)s)
ORDER BY version DESC LIMIT 1;

-- name: newest
-- Without what grows with the number of instruments and with the square of that of factors.
SELECT
    id, name, version, created_at, kind, pricing_pack_id, specification - 'instrument_ids' AS specification, first_date,
    as_of, observations, factors, factor_kinds, definitions, '{}'::text[] AS instrument_ids,
    summary - 'factor_covariance' - 'data_findings' AS summary
FROM factor_models
WHERE (%(name)s::text IS NULL OR name = %(name)s) AND (
    %(before_moment)s::timestamptz IS NULL
    OR (created_at, id) < (%(before_moment)s::timestamptz, %(before_id)s)
)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s;

-- name: days
SELECT days FROM factor_models WHERE id = %(id)s;

-- name: read_numbers
SELECT numbers.part, numbers.shape, numbers.numbers
FROM factor_model_numbers AS numbers
JOIN factor_models AS models ON models.number = numbers.model_number
WHERE models.id = %(id)s;
