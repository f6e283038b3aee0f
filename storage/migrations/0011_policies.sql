-- Policies: sets of limits under a name. A version never changes; a change makes a new version.

CREATE TABLE policies (
    id VARCHAR(36) NOT NULL,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    -- A limit that is NULL is not set. NUMERIC orders NaN above infinity: every upper bound refuses it.
    min_quality_score NUMERIC,
    max_single_position NUMERIC,
    max_sector NUMERIC,
    max_tracking_error NUMERIC,
    max_turnover NUMERIC,
    method_version TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    PRIMARY KEY (id, version),
    CONSTRAINT policies_id_present CHECK (id <> ''),
    CONSTRAINT policies_version_positive CHECK (version >= 1),
    CONSTRAINT policies_min_quality_score_range CHECK (min_quality_score BETWEEN 0 AND 10),
    CONSTRAINT policies_max_single_position_fraction CHECK (max_single_position > 0 AND max_single_position <= 1),
    CONSTRAINT policies_max_sector_fraction CHECK (max_sector > 0 AND max_sector <= 1),
    CONSTRAINT policies_max_tracking_error_positive
        CHECK (max_tracking_error > 0 AND max_tracking_error < 'Infinity'),
    CONSTRAINT policies_max_turnover_fraction CHECK (max_turnover > 0 AND max_turnover <= 1)
);

-- Versions of a policy follow each other without holes, whoever writes them.
CREATE FUNCTION refuse_hole_in_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version > 1 AND NOT EXISTS (
        SELECT FROM policies WHERE policies.id = NEW.id AND policies.version = NEW.version - 1
    ) THEN
        RAISE EXCEPTION 'policy % has no version %, which version % would follow', NEW.id, NEW.version - 1, NEW.version
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER policies_without_holes BEFORE INSERT ON policies
    FOR EACH ROW EXECUTE FUNCTION refuse_hole_in_versions();
CREATE TRIGGER policies_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON policies
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

INSERT INTO policies (
    id, version, name, min_quality_score, max_single_position, max_sector, max_tracking_error, max_turnover,
    method_version
) VALUES
    ('quality_focused', 1, 'Quality-Focused Balanced', 6.0, 0.10, 0.25, 0.02, 0.20, 'v1'),
    ('aggressive_growth', 1, 'Aggressive Growth', 4.0, 0.15, 0.40, 0.05, 0.30, 'v1'),
    ('conservative_income', 1, 'Conservative Income', 8.0, 0.08, 0.20, 0.015, 0.15, 'v1');
