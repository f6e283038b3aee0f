-- name: delete
DELETE FROM identical_instruments WHERE %(id)s IN (first_id, second_id);

-- name: insert
INSERT INTO identical_instruments (first_id, second_id)
SELECT LEAST(%(id)s::text COLLATE "C", other COLLATE "C"), GREATEST(%(id)s::text COLLATE "C", other COLLATE "C")
FROM unnest(%(others)s::text[]) AS others(other);

-- name: lock
-- In one order, so that two callers wait for each other and never both.
SELECT id FROM instruments WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE;

-- name: find
SELECT first_id, second_id FROM identical_instruments
WHERE first_id = ANY(%(ids)s) OR second_id = ANY(%(ids)s)
ORDER BY first_id, second_id;
