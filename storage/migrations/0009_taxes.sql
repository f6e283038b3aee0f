-- Tax rules with dates, substantially identical instruments, transactions, and what wash sales do to lots.

CREATE TABLE tax_rules (
    jurisdiction VARCHAR(36) NOT NULL,
    -- Sales from this day on follow the rules, until the next day in the table.
    valid_from DATE NOT NULL,
    long_term_months INTEGER NOT NULL,
    wash_sale_days INTEGER NOT NULL,
    yearly_loss_limit NUMERIC NOT NULL,
    separate_loss_limit NUMERIC NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (jurisdiction, valid_from),
    CONSTRAINT tax_rules_long_term_months_range CHECK (long_term_months BETWEEN 0 AND 1200),
    CONSTRAINT tax_rules_wash_sale_days_range CHECK (wash_sale_days BETWEEN 0 AND 366),
    CONSTRAINT tax_rules_yearly_loss_limit_positive CHECK (yearly_loss_limit >= 0 AND yearly_loss_limit < 'Infinity'),
    CONSTRAINT tax_rules_separate_loss_limit_positive
        CHECK (separate_loss_limit >= 0 AND separate_loss_limit < 'Infinity')
);

-- Earlier sales are left out: until 1988 some lots were long-term after six months, by the day of their purchase.
INSERT INTO tax_rules (
    jurisdiction, valid_from, long_term_months, wash_sale_days, yearly_loss_limit, separate_loss_limit, source
) VALUES (
    'US', '1989-01-01', 12, 30, 3000, 1500,
    '26 USC 1091(a) (window), 1211(b) (limits, since 1978), 1222 (more than one year, for all lots sold from 1989 on)'
);

-- Both directions of a pair are one row.
CREATE TABLE identical_instruments (
    first_id VARCHAR(36) NOT NULL REFERENCES instruments(id),
    second_id VARCHAR(36) NOT NULL REFERENCES instruments(id),
    PRIMARY KEY (first_id, second_id),
    CONSTRAINT identical_instruments_ordered CHECK (first_id COLLATE "C" < second_id COLLATE "C")
);

CREATE INDEX identical_instruments_second_idx ON identical_instruments(second_id);

CREATE TABLE portfolio_transactions (
    portfolio_id VARCHAR(36) NOT NULL REFERENCES portfolios(id),
    id VARCHAR(36) NOT NULL,
    -- Order of recording, which tells transactions of one day apart.
    sequence BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
    instrument_id VARCHAR(36) NOT NULL REFERENCES instruments(id),
    action VARCHAR(4) NOT NULL,
    quantity NUMERIC NOT NULL,
    price NUMERIC NOT NULL,
    cost NUMERIC NOT NULL,
    traded_on DATE NOT NULL,
    lot_id VARCHAR(36),
    acquired_on DATE,
    held_since DATE,
    gain NUMERIC,
    rebalance_id VARCHAR(36) REFERENCES rebalance_requests(id),
    PRIMARY KEY (portfolio_id, id),
    CONSTRAINT portfolio_transactions_action_known CHECK (action IN ('buy', 'sell')),
    CONSTRAINT portfolio_transactions_quantity_positive CHECK (quantity > 0 AND quantity < 'Infinity'),
    CONSTRAINT portfolio_transactions_price_positive CHECK (price > 0 AND price < 'Infinity'),
    CONSTRAINT portfolio_transactions_cost_positive CHECK (cost >= 0 AND cost < 'Infinity'),
    CONSTRAINT portfolio_transactions_gain_finite CHECK (gain > '-Infinity' AND gain < 'Infinity')
);

CREATE INDEX portfolio_transactions_day_idx ON portfolio_transactions(portfolio_id, traded_on, sequence);

-- Shares sold at a loss, and the shares that replaced them when an execution was settled.
CREATE TABLE wash_matches (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    sale_id VARCHAR(36) NOT NULL,
    replacement_portfolio_id VARCHAR(36) NOT NULL REFERENCES portfolios(id),
    replacement_lot_id VARCHAR(36) NOT NULL,
    quantity NUMERIC NOT NULL,
    CONSTRAINT wash_matches_sale_fk FOREIGN KEY (portfolio_id, sale_id)
        REFERENCES portfolio_transactions(portfolio_id, id),
    CONSTRAINT wash_matches_quantity_positive CHECK (quantity > 0 AND quantity < 'Infinity')
);

CREATE INDEX wash_matches_sale_idx ON wash_matches(portfolio_id, sale_id);

CREATE TRIGGER portfolio_transactions_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON portfolio_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER wash_matches_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON wash_matches
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE tax_lots
    ADD COLUMN held_since DATE,
    ADD COLUMN replaced_loss BOOLEAN NOT NULL DEFAULT FALSE;

-- The accounts of a household, for wash sales.
CREATE INDEX portfolios_household_idx ON portfolios((account ->> 'household_id'));
