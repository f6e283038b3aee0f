-- Scheduled looks at portfolios, what was told about their drift, and batches of rebalances.

-- The schedules of portfolios that have one, kept by the transaction that writes their preferences.
CREATE TABLE portfolio_schedules (
    portfolio_id VARCHAR(36) PRIMARY KEY REFERENCES portfolios(id),
    schedule VARCHAR(20) NOT NULL,
    exchange TEXT NOT NULL,
    -- Sessions that opened before this moment are no business of the schedule.
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    -- The newest session that is dealt with; the first day of all = none.
    last_session DATE NOT NULL DEFAULT '0001-01-01',
    CONSTRAINT portfolio_schedules_schedule_known CHECK (schedule IN ('daily', 'weekly', 'monthly', 'quarterly'))
);

CREATE INDEX portfolio_schedules_group_idx ON portfolio_schedules(exchange, schedule, last_session);

CREATE FUNCTION keep_schedule(portfolio portfolios, moment TIMESTAMP WITH TIME ZONE) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted CONSTANT TEXT :=
        lower(substring(portfolio.preferences #>> '{rebalancing,schedule}' FROM '^REBALANCE_SCHEDULE_(.*)$'));
    market CONSTANT TEXT := COALESCE(NULLIF(portfolio.preferences #>> '{rebalancing,exchange}', ''), 'XNYS');
BEGIN
    IF wanted IN ('daily', 'weekly', 'monthly', 'quarterly') THEN
        INSERT INTO portfolio_schedules (portfolio_id, schedule, exchange, since)
        VALUES (portfolio.id, wanted, market, moment)
        ON CONFLICT (portfolio_id) DO UPDATE
            SET schedule = EXCLUDED.schedule, exchange = EXCLUDED.exchange, since = EXCLUDED.since
            WHERE (portfolio_schedules.schedule, portfolio_schedules.exchange) <> (EXCLUDED.schedule, EXCLUDED.exchange);
    ELSE
        DELETE FROM portfolio_schedules WHERE portfolio_id = portfolio.id;
    END IF;
END
$$;

CREATE FUNCTION portfolio_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A writer who leaves the portfolio's own moment as it was has written now.
    PERFORM keep_schedule(
        NEW, CASE WHEN TG_OP = 'UPDATE' AND NEW.updated_at = OLD.updated_at THEN NOW() ELSE NEW.updated_at END
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER portfolios_schedule AFTER INSERT OR UPDATE ON portfolios
    FOR EACH ROW EXECUTE FUNCTION portfolio_written();

SELECT keep_schedule(portfolios, NOW()) FROM portfolios;

-- One look per portfolio and session, whoever finds it due.
CREATE TABLE scheduled_looks (
    portfolio_id VARCHAR(36) NOT NULL REFERENCES portfolios(id),
    session DATE NOT NULL,
    status VARCHAR(20) NOT NULL,
    -- Whether the drift had reached its threshold; unknown until it is measured.
    reached BOOLEAN,
    note TEXT NOT NULL DEFAULT '',
    rebalance_id VARCHAR(36) REFERENCES rebalance_requests(id),
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (portfolio_id, session),
    CONSTRAINT scheduled_looks_status_known CHECK (status IN ('pending', 'done', 'failed', 'skipped')),
    CONSTRAINT scheduled_looks_end CHECK ((status = 'pending') = (ended_at IS NULL))
);

-- What is known of the drift of a portfolio: on which packs and which state of it, and what was told.
CREATE TABLE drift_states (
    portfolio_id VARCHAR(36) PRIMARY KEY REFERENCES portfolios(id),
    -- Packs never go, so a different count means new prices.
    packs INTEGER NOT NULL,
    portfolio_updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    measured_at TIMESTAMP WITH TIME ZONE NOT NULL,
    reached BOOLEAN NOT NULL,
    told_pack_id VARCHAR(36) REFERENCES pricing_packs(id),
    note TEXT NOT NULL DEFAULT ''
);

CREATE TABLE rebalance_batches (
    id VARCHAR(36) PRIMARY KEY,
    request_id VARCHAR(36) UNIQUE,
    content_hash VARCHAR(64) NOT NULL,
    template JSONB NOT NULL,
    summary_only BOOLEAN NOT NULL,
    pricing_pack_id VARCHAR(36) NOT NULL REFERENCES pricing_packs(id),
    actor VARCHAR(100) NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    portfolio_count INTEGER NOT NULL,
    done_count INTEGER NOT NULL DEFAULT 0,
    failed_count INTEGER NOT NULL DEFAULT 0,
    chunk_count INTEGER NOT NULL,
    done_chunk_count INTEGER NOT NULL DEFAULT 0,
    processor_seconds DOUBLE PRECISION NOT NULL DEFAULT 0,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT rebalance_batches_status_known
        CHECK (status IN ('pending', 'running', 'completed', 'cancelled', 'failed')),
    CONSTRAINT rebalance_batches_progress CHECK (
        0 <= failed_count AND failed_count <= done_count AND done_count <= portfolio_count
        AND 0 <= done_chunk_count AND done_chunk_count <= chunk_count
    ),
    CONSTRAINT rebalance_batches_completed CHECK (status <> 'completed' OR done_count = portfolio_count)
);

CREATE TABLE rebalance_batch_chunks (
    batch_id VARCHAR(36) NOT NULL REFERENCES rebalance_batches(id),
    number INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    portfolio_ids TEXT[] NOT NULL,
    done BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (batch_id, number)
);

CREATE TABLE rebalance_batch_items (
    batch_id VARCHAR(36) NOT NULL REFERENCES rebalance_batches(id),
    position INTEGER NOT NULL,
    portfolio_id VARCHAR(36) NOT NULL,
    rebalance_id VARCHAR(36) REFERENCES rebalance_requests(id),
    error TEXT NOT NULL DEFAULT '',
    content JSONB NOT NULL DEFAULT '{}',
    PRIMARY KEY (batch_id, position)
);

CREATE INDEX rebalance_batch_items_failed_idx ON rebalance_batch_items(batch_id, position) WHERE error <> '';

-- Ids are unique among all that callers follow, so whoever listens for one kind listens for all.
CREATE TRIGGER rebalance_batches_changed AFTER INSERT OR UPDATE OF status, done_count ON rebalance_batches
    FOR EACH ROW EXECUTE FUNCTION notify_optimization_changed();
