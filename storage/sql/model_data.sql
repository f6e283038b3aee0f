-- name: insert
INSERT INTO model_data (id, source, as_of, instrument_ids, labels, days)
VALUES (%(id)s, %(source)s, %(as_of)s, %(instrument_ids)s, %(labels)s, %(days)s)
ON CONFLICT (id) DO NOTHING
RETURNING number;

-- name: copy_in
COPY model_columns (set_number, place, numbers) FROM STDIN (FORMAT BINARY);

-- name: find
SELECT number, as_of, instrument_ids, labels, days FROM model_data WHERE id = %(id)s;

-- name: read
SELECT numbers FROM model_columns WHERE set_number = %(number)s ORDER BY place;
