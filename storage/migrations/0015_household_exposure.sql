-- What the trades of a plan meet in the wash-sale window of its household, and which state of the household the last
-- look has seen.

ALTER TABLE rebalance_workflows ADD COLUMN exposure JSONB;
ALTER TABLE rebalance_workflows ADD COLUMN seen_household TEXT;

-- The accounts that count together with a portfolio, itself among them, each with the time of its last change.
CREATE FUNCTION household_state(asked VARCHAR) RETURNS TEXT STABLE LANGUAGE SQL AS $$
    SELECT string_agg(members.id || ' ' || members.updated_at, ',' ORDER BY members.id)
    FROM portfolios AS members
    WHERE members.id = asked OR members.account ->> 'household_id' = (
        SELECT NULLIF(own.account ->> 'household_id', '') FROM portfolios AS own WHERE own.id = asked
    );
$$;
