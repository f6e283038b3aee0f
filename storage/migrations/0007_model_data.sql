-- Scenarios, forecasts, covariances and factor exposures by the caller: filled by the transaction that creates them and
-- never changed afterwards. The first letters of an id say which of them it is.

CREATE TABLE model_data (
    id VARCHAR(36) PRIMARY KEY,
    number INTEGER GENERATED ALWAYS AS IDENTITY UNIQUE,
    source TEXT NOT NULL,
    as_of DATE NOT NULL,
    instrument_ids TEXT[] NOT NULL,
    -- Names of scenarios or of factors.
    labels TEXT[] NOT NULL,
    -- Length of a scenario, or of each period, in trading days.
    days INTEGER[] NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    filled_by XID8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT model_data_id_prefix CHECK (id ~ '^(sc|fc|cv|fe)-[0-9a-f]{32}$')
);

-- Each row is an array of little-endian float8: there is no use for one of its numbers without the others.
CREATE TABLE model_columns (
    set_number INTEGER NOT NULL,
    place INTEGER NOT NULL,
    numbers BYTEA NOT NULL,
    PRIMARY KEY (set_number, place)
);

-- Returns do not compress, and trying costs more than storing them.
ALTER TABLE model_columns ALTER COLUMN numbers SET STORAGE EXTERNAL;

CREATE FUNCTION refuse_column_in_sealed_model() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT set_number FROM inserted) AS filled
        LEFT JOIN model_data ON model_data.number = filled.set_number
        WHERE model_data.filled_by IS DISTINCT FROM pg_current_xact_id()
    ) THEN
        RAISE EXCEPTION 'model data are immutable: INSERT into model_columns refused'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER model_columns_sealed AFTER INSERT ON model_columns REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_column_in_sealed_model();
CREATE TRIGGER model_data_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON model_data
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER model_columns_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON model_columns
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
