-- name: insert
-- Rows take their sequence numbers in the order given.
INSERT INTO portfolio_transactions (
    portfolio_id, id, instrument_id, action, quantity, price, cost, traded_on, lot_id, acquired_on, held_since, gain,
    rebalance_id
)
SELECT portfolio_id, id, instrument_id, action, quantity, price, cost, traded_on, lot_id, acquired_on, held_since,
    gain, rebalance_id
FROM unnest(
    %(portfolio_id)s::text[], %(id)s::text[], %(instrument_id)s::text[], %(action)s::text[], %(quantity)s::numeric[],
    %(price)s::numeric[], %(cost)s::numeric[], %(traded_on)s::date[], %(lot_id)s::text[], %(acquired_on)s::date[],
    %(held_since)s::date[], %(gain)s::numeric[], %(rebalance_id)s::text[]
) WITH ORDINALITY AS given(
    portfolio_id, id, instrument_id, action, quantity, price, cost, traded_on, lot_id, acquired_on, held_since, gain,
    rebalance_id, place
)
ORDER BY place
ON CONFLICT (portfolio_id, id) DO NOTHING;

-- name: find
SELECT stored.* FROM unnest(%(portfolio_id)s::text[], %(id)s::text[]) AS wanted(portfolio_id, id)
JOIN portfolio_transactions AS stored USING (portfolio_id, id);

-- name: page
SELECT * FROM portfolio_transactions
WHERE portfolio_id = %(portfolio_id)s
    AND traded_on >= COALESCE(%(from_date)s::date, '-infinity')
    AND (
        %(after_day)s::date IS NULL
        OR (traded_on, sequence) > (%(after_day)s::date, %(after_sequence)s::bigint)
    )
ORDER BY traded_on, sequence LIMIT %(limit)s;

-- name: between
SELECT * FROM portfolio_transactions
WHERE portfolio_id = ANY(%(portfolio_ids)s) AND traded_on BETWEEN %(first)s AND %(last)s
ORDER BY traded_on, sequence;

-- name: insert_matches
INSERT INTO wash_matches (portfolio_id, sale_id, replacement_portfolio_id, replacement_lot_id, quantity)
SELECT * FROM unnest(
    %(portfolio_id)s::text[], %(sale_id)s::text[], %(replacement_portfolio_id)s::text[],
    %(replacement_lot_id)s::text[], %(quantity)s::numeric[]
);

-- name: matches
SELECT matches.portfolio_id, matches.sale_id, matches.replacement_portfolio_id, matches.replacement_lot_id,
    matches.quantity
FROM wash_matches AS matches
JOIN portfolio_transactions AS sales ON (sales.portfolio_id, sales.id) = (matches.portfolio_id, matches.sale_id)
WHERE matches.portfolio_id = ANY(%(portfolio_ids)s) AND sales.traded_on BETWEEN %(first)s AND %(last)s
ORDER BY matches.number;
