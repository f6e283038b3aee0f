-- name: lock
SELECT pg_advisory_lock(hashtextextended('portfolio_optimization.schema_migrations', 0));

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended('portfolio_optimization.schema_migrations', 0));

-- name: create_table
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW()
);

-- name: applied
SELECT version, name, checksum FROM schema_migrations ORDER BY version;

-- name: record
INSERT INTO schema_migrations (version, name, checksum) VALUES (%(version)s, %(name)s, %(checksum)s);
