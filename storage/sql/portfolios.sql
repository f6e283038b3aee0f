-- name: put
INSERT INTO portfolios (
    id, name, base_currency, cash, benchmark_id, short_term_tax_rate, long_term_tax_rate, lot_method, account,
    preferences, updated_at
) VALUES (
    %(id)s, %(name)s, %(base_currency)s, %(cash)s, %(benchmark_id)s, %(short_term_tax_rate)s, %(long_term_tax_rate)s,
    %(lot_method)s, %(account)s, %(preferences)s, %(updated_at)s
)
ON CONFLICT (id) DO UPDATE SET
    name = EXCLUDED.name, base_currency = EXCLUDED.base_currency, cash = EXCLUDED.cash,
    benchmark_id = EXCLUDED.benchmark_id, short_term_tax_rate = EXCLUDED.short_term_tax_rate,
    long_term_tax_rate = EXCLUDED.long_term_tax_rate, lot_method = EXCLUDED.lot_method, account = EXCLUDED.account,
    preferences = EXCLUDED.preferences, updated_at = EXCLUDED.updated_at;

-- name: set_preferences
UPDATE portfolios SET preferences = %(preferences)s, updated_at = %(updated_at)s WHERE id = %(id)s;

-- name: lock
-- Rows that refer to the portfolio can be added meanwhile: their check of the reference does not wait.
SELECT id FROM portfolios WHERE id = %(id)s FOR NO KEY UPDATE;

-- name: delete_lots
DELETE FROM tax_lots WHERE portfolio_id = %(id)s;

-- name: delete_holdings
DELETE FROM holdings WHERE portfolio_id = %(id)s;

-- name: insert_holdings
INSERT INTO holdings (portfolio_id, instrument_id, quantity)
SELECT %(id)s, * FROM unnest(%(instrument_ids)s::text[], %(quantities)s::numeric[]);

-- name: insert_lots
INSERT INTO tax_lots (
    portfolio_id, id, instrument_id, quantity, acquired_on, cost_per_share, held_since, replaced_loss
)
SELECT %(id)s, * FROM unnest(
    %(lot_ids)s::text[], %(instrument_ids)s::text[], %(quantities)s::numeric[], %(acquired_on)s::date[],
    %(costs)s::numeric[], %(held_since)s::date[], %(replaced)s::boolean[]
);

-- name: find
-- One statement sees one state: a portfolio is never read half replaced.
SELECT portfolios.*, held.*, bought.*
FROM portfolios
CROSS JOIN LATERAL (
    SELECT array_agg(instrument_id ORDER BY instrument_id) AS holding_ids,
        array_agg(quantity ORDER BY instrument_id) AS holding_quantities
    FROM holdings WHERE portfolio_id = portfolios.id
) AS held
CROSS JOIN LATERAL (
    SELECT array_agg(tax_lots.id ORDER BY tax_lots.id) AS lot_ids,
        array_agg(instrument_id ORDER BY tax_lots.id) AS lot_instrument_ids,
        array_agg(quantity ORDER BY tax_lots.id) AS lot_quantities,
        array_agg(acquired_on ORDER BY tax_lots.id) AS lot_dates,
        array_agg(cost_per_share ORDER BY tax_lots.id) AS lot_costs,
        array_agg(held_since ORDER BY tax_lots.id) AS lot_held_since,
        array_agg(replaced_loss ORDER BY tax_lots.id) AS lot_replaced
    FROM tax_lots WHERE portfolio_id = portfolios.id
) AS bought
WHERE portfolios.id = ANY(%(ids)s);

-- name: household
SELECT id FROM portfolios
WHERE id = %(id)s OR account ->> 'household_id' = (
    SELECT NULLIF(asked.account ->> 'household_id', '') FROM portfolios AS asked WHERE asked.id = %(id)s
)
ORDER BY id;

-- name: lock_household
SELECT id FROM portfolios
WHERE id = %(id)s OR account ->> 'household_id' = (
    SELECT NULLIF(asked.account ->> 'household_id', '') FROM portfolios AS asked WHERE asked.id = %(id)s
)
ORDER BY id FOR NO KEY UPDATE;

-- name: page
SELECT portfolios.*, held.*, bought.*
FROM portfolios
CROSS JOIN LATERAL (
    SELECT array_agg(instrument_id ORDER BY instrument_id) AS holding_ids,
        array_agg(quantity ORDER BY instrument_id) AS holding_quantities
    FROM holdings WHERE portfolio_id = portfolios.id
) AS held
CROSS JOIN LATERAL (
    SELECT array_agg(tax_lots.id ORDER BY tax_lots.id) AS lot_ids,
        array_agg(instrument_id ORDER BY tax_lots.id) AS lot_instrument_ids,
        array_agg(quantity ORDER BY tax_lots.id) AS lot_quantities,
        array_agg(acquired_on ORDER BY tax_lots.id) AS lot_dates,
        array_agg(cost_per_share ORDER BY tax_lots.id) AS lot_costs,
        array_agg(held_since ORDER BY tax_lots.id) AS lot_held_since,
        array_agg(replaced_loss ORDER BY tax_lots.id) AS lot_replaced
    FROM tax_lots WHERE portfolio_id = portfolios.id
) AS bought
WHERE portfolios.id > %(after)s ORDER BY portfolios.id LIMIT %(limit)s;
