-- What optimizations refer to: instruments, portfolios, benchmarks, pricing packs and factor sets.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is immutable: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TABLE instruments (
    id VARCHAR(36) PRIMARY KEY,
    -- The fixed-width name of the instrument in the price tables.
    number INTEGER GENERATED ALWAYS AS IDENTITY UNIQUE,
    name TEXT NOT NULL,
    asset_class TEXT NOT NULL,
    sector TEXT NOT NULL,
    country TEXT NOT NULL,
    currency TEXT NOT NULL,
    lot_size NUMERIC NOT NULL,
    quality_score NUMERIC,
    average_daily_volume NUMERIC,
    market_cap NUMERIC,
    status VARCHAR(20) NOT NULL,
    source TEXT NOT NULL,
    -- NUMERIC orders NaN above infinity: "below infinity" refuses both.
    CONSTRAINT instruments_lot_size_positive CHECK (lot_size > 0 AND lot_size < 'Infinity'),
    CONSTRAINT instruments_quality_score_finite CHECK (quality_score > '-Infinity' AND quality_score < 'Infinity'),
    CONSTRAINT instruments_average_daily_volume_positive
        CHECK (average_daily_volume >= 0 AND average_daily_volume < 'Infinity'),
    CONSTRAINT instruments_market_cap_positive CHECK (market_cap >= 0 AND market_cap < 'Infinity'),
    CONSTRAINT instruments_status_known CHECK (status IN ('active', 'halted', 'delisted'))
);

CREATE TABLE benchmarks (
    id VARCHAR(36) PRIMARY KEY,
    name TEXT NOT NULL,
    index_instrument_id VARCHAR(36) REFERENCES instruments(id),
    source TEXT NOT NULL
);

CREATE TABLE benchmark_weights (
    benchmark_id VARCHAR(36) NOT NULL REFERENCES benchmarks(id),
    instrument_id VARCHAR(36) NOT NULL REFERENCES instruments(id),
    weight NUMERIC NOT NULL,
    PRIMARY KEY (benchmark_id, instrument_id),
    CONSTRAINT benchmark_weights_weight_finite CHECK (weight > '-Infinity' AND weight < 'Infinity')
);

CREATE TABLE portfolios (
    id VARCHAR(36) PRIMARY KEY,
    name TEXT NOT NULL,
    base_currency TEXT NOT NULL,
    cash NUMERIC NOT NULL,
    benchmark_id VARCHAR(36) REFERENCES benchmarks(id),
    short_term_tax_rate NUMERIC NOT NULL,
    long_term_tax_rate NUMERIC NOT NULL,
    lot_method TEXT NOT NULL,
    account JSONB NOT NULL,
    preferences JSONB NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT portfolios_cash_finite CHECK (cash > '-Infinity' AND cash < 'Infinity'),
    CONSTRAINT portfolios_short_term_tax_rate_fraction CHECK (short_term_tax_rate BETWEEN 0 AND 1),
    CONSTRAINT portfolios_long_term_tax_rate_fraction CHECK (long_term_tax_rate BETWEEN 0 AND 1)
);

CREATE TABLE holdings (
    portfolio_id VARCHAR(36) NOT NULL REFERENCES portfolios(id),
    instrument_id VARCHAR(36) NOT NULL REFERENCES instruments(id),
    quantity NUMERIC NOT NULL,
    PRIMARY KEY (portfolio_id, instrument_id),
    CONSTRAINT holdings_quantity_finite CHECK (quantity > '-Infinity' AND quantity < 'Infinity')
);

CREATE TABLE tax_lots (
    portfolio_id VARCHAR(36) NOT NULL,
    id VARCHAR(36) NOT NULL,
    instrument_id VARCHAR(36) NOT NULL,
    quantity NUMERIC NOT NULL,
    acquired_on DATE,
    cost_per_share NUMERIC,
    PRIMARY KEY (portfolio_id, id),
    CONSTRAINT tax_lots_holding_fk FOREIGN KEY (portfolio_id, instrument_id)
        REFERENCES holdings(portfolio_id, instrument_id),
    CONSTRAINT tax_lots_quantity_finite CHECK (quantity > '-Infinity' AND quantity < 'Infinity'),
    CONSTRAINT tax_lots_cost_per_share_positive CHECK (cost_per_share >= 0 AND cost_per_share < 'Infinity')
);

CREATE INDEX tax_lots_holding_idx ON tax_lots(portfolio_id, instrument_id);

-- Pricing packs and factor sets are filled by the transaction that creates them and never change afterwards.

CREATE TABLE pricing_packs (
    id VARCHAR(36) PRIMARY KEY,
    number INTEGER GENERATED ALWAYS AS IDENTITY UNIQUE,
    source TEXT NOT NULL,
    first_date DATE NOT NULL,
    as_of DATE NOT NULL,
    instrument_ids TEXT[] NOT NULL,
    observations INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    filled_by XID8 NOT NULL DEFAULT pg_current_xact_id()
);

CREATE INDEX pricing_packs_created_idx ON pricing_packs(created_at);

-- Rows of one width, for binary COPY. What a foreign key would check row by row, prices_sealed checks once per load.
CREATE TABLE prices (
    pack_number INTEGER NOT NULL,
    instrument_number INTEGER NOT NULL,
    day DATE NOT NULL,
    close DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (pack_number, instrument_number, day),
    CONSTRAINT prices_close_finite CHECK (close > '-Infinity' AND close < 'Infinity')
);

CREATE TABLE factor_sets (
    id VARCHAR(36) PRIMARY KEY,
    number INTEGER GENERATED ALWAYS AS IDENTITY UNIQUE,
    source TEXT NOT NULL,
    first_date DATE NOT NULL,
    as_of DATE NOT NULL,
    factors TEXT[] NOT NULL,
    observations INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    filled_by XID8 NOT NULL DEFAULT pg_current_xact_id()
);

CREATE INDEX factor_sets_created_idx ON factor_sets(created_at);

-- factor_number is the factor's place in factor_sets.factors, from 0.
CREATE TABLE factor_returns (
    set_number INTEGER NOT NULL,
    factor_number INTEGER NOT NULL,
    day DATE NOT NULL,
    simple_return DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (set_number, factor_number, day),
    CONSTRAINT factor_returns_simple_return_finite CHECK (simple_return > '-Infinity' AND simple_return < 'Infinity')
);

CREATE FUNCTION refuse_price_in_sealed_pack() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT pack_number FROM inserted) AS filled
        LEFT JOIN pricing_packs ON pricing_packs.number = filled.pack_number
        WHERE pricing_packs.filled_by IS DISTINCT FROM pg_current_xact_id()
    ) THEN
        RAISE EXCEPTION 'pricing packs are immutable: INSERT into prices refused' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION refuse_return_in_sealed_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT set_number FROM inserted) AS filled
        LEFT JOIN factor_sets ON factor_sets.number = filled.set_number
        WHERE factor_sets.filled_by IS DISTINCT FROM pg_current_xact_id()
    ) THEN
        RAISE EXCEPTION 'factor sets are immutable: INSERT into factor_returns refused'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER prices_sealed AFTER INSERT ON prices REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_price_in_sealed_pack();
CREATE TRIGGER factor_returns_sealed AFTER INSERT ON factor_returns REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_return_in_sealed_set();

CREATE TRIGGER pricing_packs_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON pricing_packs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER prices_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON prices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER factor_sets_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON factor_sets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER factor_returns_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON factor_returns
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
