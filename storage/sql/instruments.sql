-- name: put
INSERT INTO instruments (
    id, name, asset_class, sector, country, currency, lot_size, quality_score, average_daily_volume, market_cap,
    status, source, required_option_level
) VALUES (
    %(id)s, %(name)s, %(asset_class)s, %(sector)s, %(country)s, %(currency)s, %(lot_size)s, %(quality_score)s,
    %(average_daily_volume)s, %(market_cap)s, %(status)s, %(source)s,
    %(required_option_level)s
)
ON CONFLICT (id) DO UPDATE SET
    name = EXCLUDED.name, asset_class = EXCLUDED.asset_class, sector = EXCLUDED.sector, country = EXCLUDED.country,
    currency = EXCLUDED.currency, lot_size = EXCLUDED.lot_size, quality_score = EXCLUDED.quality_score,
    average_daily_volume = EXCLUDED.average_daily_volume, market_cap = EXCLUDED.market_cap,
    status = EXCLUDED.status, source = EXCLUDED.source,
    required_option_level = EXCLUDED.required_option_level;

-- name: find
SELECT id, name, asset_class, sector, country, currency, lot_size, quality_score, average_daily_volume, market_cap,
    status, source, required_option_level
FROM instruments WHERE id = ANY(%(ids)s);

-- name: page
SELECT id, name, asset_class, sector, country, currency, lot_size, quality_score, average_daily_volume, market_cap,
    status, source, required_option_level
FROM instruments
WHERE id > %(after)s
    AND (%(asset_class)s::text IS NULL OR asset_class = %(asset_class)s)
    AND (%(sector)s::text IS NULL OR sector = %(sector)s)
ORDER BY id LIMIT %(limit)s;

-- name: missing
SELECT wanted.id FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS wanted(id, place)
WHERE NOT EXISTS (SELECT FROM instruments WHERE instruments.id = wanted.id)
ORDER BY wanted.place;

-- name: numbers
SELECT instruments.number FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS wanted(id, place)
JOIN instruments ON instruments.id = wanted.id
ORDER BY wanted.place;
