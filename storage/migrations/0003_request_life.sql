-- What the service adds to requests and results: retries, provenance, history, notification and events.

ALTER TABLE optimization_requests
    ADD COLUMN request_id VARCHAR(64),
    ADD COLUMN specification JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN pricing_pack_id VARCHAR(36) REFERENCES pricing_packs(id),
    ADD COLUMN job_id BIGINT;
ALTER TABLE efficient_frontier_requests
    ADD COLUMN request_id VARCHAR(64),
    ADD COLUMN specification JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN pricing_pack_id VARCHAR(36) REFERENCES pricing_packs(id),
    ADD COLUMN job_id BIGINT;
ALTER TABLE rebalance_requests
    ADD COLUMN request_id VARCHAR(64),
    ADD COLUMN specification JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN pricing_pack_id VARCHAR(36) REFERENCES pricing_packs(id),
    ADD COLUMN job_id BIGINT;
ALTER TABLE factor_analysis_requests
    ADD COLUMN request_id VARCHAR(64),
    ADD COLUMN specification JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN pricing_pack_id VARCHAR(36) REFERENCES pricing_packs(id),
    ADD COLUMN job_id BIGINT;

-- A caller's key names one request per portfolio, however often it is sent.
CREATE UNIQUE INDEX optimization_requests_request_idx ON optimization_requests(portfolio_id, request_id);
CREATE UNIQUE INDEX efficient_frontier_requests_request_idx ON efficient_frontier_requests(portfolio_id, request_id);
CREATE UNIQUE INDEX rebalance_requests_request_idx ON rebalance_requests(portfolio_id, request_id);
CREATE UNIQUE INDEX factor_analysis_requests_request_idx ON factor_analysis_requests(portfolio_id, request_id);

-- Lists are read newest first, a page at a time.
CREATE INDEX portfolio_optimizations_page_idx
    ON portfolio_optimizations(portfolio_id, created_at DESC, optimization_id DESC);
CREATE INDEX efficient_frontier_requests_page_idx ON efficient_frontier_requests(portfolio_id, created_at DESC, id DESC);
CREATE INDEX rebalance_requests_page_idx ON rebalance_requests(portfolio_id, created_at DESC, id DESC);
CREATE INDEX factor_analysis_requests_page_idx ON factor_analysis_requests(portfolio_id, created_at DESC, id DESC);

CREATE FUNCTION is_request_status(status TEXT) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN status IN (
    'pending', 'running', 'completed', 'infeasible', 'unbounded', 'ill_posed', 'numerical_failure', 'cancelled', 'failed'
);

ALTER TABLE optimization_requests ADD CONSTRAINT optimization_requests_status_known CHECK (is_request_status(status));
ALTER TABLE efficient_frontier_requests
    ADD CONSTRAINT efficient_frontier_requests_status_known CHECK (is_request_status(status));
ALTER TABLE rebalance_requests ADD CONSTRAINT rebalance_requests_status_known CHECK (is_request_status(status));
ALTER TABLE factor_analysis_requests
    ADD CONSTRAINT factor_analysis_requests_status_known CHECK (is_request_status(status));

ALTER TABLE optimization_results
    ADD COLUMN details JSONB NOT NULL DEFAULT '{}', ADD COLUMN solve_seconds DOUBLE PRECISION;
ALTER TABLE efficient_frontier_results
    ADD COLUMN details JSONB NOT NULL DEFAULT '{}', ADD COLUMN solve_seconds DOUBLE PRECISION;
ALTER TABLE rebalance_results
    ADD COLUMN details JSONB NOT NULL DEFAULT '{}', ADD COLUMN solve_seconds DOUBLE PRECISION;
ALTER TABLE factor_analysis_results
    ADD COLUMN details JSONB NOT NULL DEFAULT '{}', ADD COLUMN solve_seconds DOUBLE PRECISION;

CREATE FUNCTION notify_optimization_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('optimization_changed', NEW.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER optimization_requests_created AFTER INSERT ON optimization_requests
    FOR EACH ROW EXECUTE FUNCTION notify_optimization_changed();
CREATE TRIGGER optimization_requests_changed AFTER UPDATE OF status ON optimization_requests
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION notify_optimization_changed();

-- Events, in the order in which readers may follow them.
CREATE TABLE events (
    sequence BIGINT PRIMARY KEY,
    id UUID NOT NULL UNIQUE,
    portfolio_id VARCHAR(36) NOT NULL REFERENCES portfolios(id),
    type VARCHAR(60) NOT NULL,
    payload JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL
);

CREATE INDEX events_portfolio_idx ON events(portfolio_id, sequence);
CREATE SEQUENCE events_sequence OWNED BY events.sequence;

-- The lock lasts until commit, so numbers become visible in their order: whoever has read up to n has missed nothing.
CREATE FUNCTION number_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('events', 0));
    NEW.sequence := nextval('events_sequence');
    PERFORM pg_notify('event_appended', NEW.portfolio_id);
    RETURN NEW;
END
$$;

CREATE TRIGGER events_numbered BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION number_event();
CREATE TRIGGER events_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The time series of optimizations per portfolio: a hypertable where TimescaleDB is installed, monthly partitions otherwise.
DO $migration$
DECLARE
    has_timescaledb CONSTANT BOOLEAN := EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb');
BEGIN
    EXECUTE $ddl$
        CREATE TABLE portfolio_optimization_history (
            portfolio_id VARCHAR(36) NOT NULL,
            completed_at TIMESTAMP WITH TIME ZONE NOT NULL,
            optimization_id VARCHAR(36) NOT NULL,
            optimization_type VARCHAR(30) NOT NULL,
            objective VARCHAR(30) NOT NULL,
            risk_measure VARCHAR(20) NOT NULL,
            status VARCHAR(20) NOT NULL,
            pricing_pack_id VARCHAR(36),
            metrics JSONB NOT NULL,
            current_allocation JSONB NOT NULL,
            target_allocation JSONB NOT NULL,
            PRIMARY KEY (portfolio_id, completed_at, optimization_id)
        )
    $ddl$ || CASE WHEN has_timescaledb THEN '' ELSE 'PARTITION BY RANGE (completed_at)' END;
    IF has_timescaledb THEN
        PERFORM create_hypertable('portfolio_optimization_history', 'completed_at');
    END IF;
END
$migration$;

-- Months are made when their first row comes. The lock is the one that ATTACH takes: it keeps out others who would make
-- the month at the same time, neither readers nor writers.
CREATE FUNCTION ensure_history_partition(moment TIMESTAMP WITH TIME ZONE) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month CONSTANT TIMESTAMP := date_trunc('month', moment AT TIME ZONE 'UTC');
    partition CONSTANT TEXT := 'portfolio_optimization_history_' || to_char(month, 'YYYY_MM');
BEGIN
    IF to_regclass(partition) IS NOT NULL
        OR (SELECT relkind <> 'p' FROM pg_class WHERE oid = 'portfolio_optimization_history'::regclass) THEN
        RETURN;
    END IF;
    LOCK TABLE portfolio_optimization_history IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(partition) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE portfolio_optimization_history INCLUDING ALL)', partition);
        EXECUTE format(
            'ALTER TABLE portfolio_optimization_history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition, month AT TIME ZONE 'UTC', (month + INTERVAL '1 month') AT TIME ZONE 'UTC'
        );
    END IF;
END
$$;
