-- Factor models: filled by the transaction that creates them and never changed afterwards, so that an id means the same
-- numbers in an analysis, in an optimization and in a year.

CREATE TABLE factor_models (
    id VARCHAR(36) PRIMARY KEY,
    number INTEGER GENERATED ALWAYS AS IDENTITY UNIQUE,
    name VARCHAR(36) NOT NULL,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    pricing_pack_id VARCHAR(36) NOT NULL REFERENCES pricing_packs(id),
    specification JSONB NOT NULL,
    first_date DATE NOT NULL,
    as_of DATE NOT NULL,
    observations INTEGER NOT NULL,
    factors TEXT[] NOT NULL,
    factor_kinds TEXT[] NOT NULL,
    definitions TEXT[] NOT NULL,
    instrument_ids TEXT[] NOT NULL,
    -- Days of the factors' returns.
    days DATE[] NOT NULL,
    summary JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    filled_by XID8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT factor_models_version_unique UNIQUE (name, version),
    CONSTRAINT factor_models_id_prefix CHECK (id ~ '^fm-[0-9a-f]{32}$'),
    CONSTRAINT factor_models_name_given CHECK (name <> ''),
    CONSTRAINT factor_models_version_positive CHECK (version >= 1),
    CONSTRAINT factor_models_kind_known CHECK (kind IN ('time_series', 'cross_sectional', 'statistical'))
);

CREATE INDEX factor_models_created_idx ON factor_models(created_at DESC, id DESC);
CREATE INDEX factor_models_name_created_idx ON factor_models(name, created_at DESC, id DESC);

-- Each part is an array of little-endian float8, row by row: there is no use for one of its numbers without the others.
CREATE TABLE factor_model_numbers (
    model_number INTEGER NOT NULL,
    part TEXT NOT NULL,
    shape INTEGER[] NOT NULL,
    numbers BYTEA NOT NULL,
    PRIMARY KEY (model_number, part)
);

-- Such numbers do not compress, and trying costs more than storing them.
ALTER TABLE factor_model_numbers ALTER COLUMN numbers SET STORAGE EXTERNAL;

CREATE FUNCTION refuse_numbers_in_sealed_model() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT model_number FROM inserted) AS filled
        LEFT JOIN factor_models ON factor_models.number = filled.model_number
        WHERE factor_models.filled_by IS DISTINCT FROM pg_current_xact_id()
    ) THEN
        RAISE EXCEPTION 'factor models are immutable: INSERT into factor_model_numbers refused'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER factor_model_numbers_sealed AFTER INSERT ON factor_model_numbers REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_numbers_in_sealed_model();
CREATE TRIGGER factor_models_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON factor_models
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER factor_model_numbers_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON factor_model_numbers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The latest analysis of a portfolio is the first of these.
CREATE INDEX factor_exposures_latest_idx ON factor_exposures(portfolio_id, created_at DESC, analysis_id DESC);
