-- Webhooks, and what became of telling receivers about events.

CREATE TABLE webhooks (
    id VARCHAR(36) PRIMARY KEY,
    url TEXT NOT NULL,
    portfolio_id VARCHAR(36) REFERENCES portfolios(id),
    types TEXT[] NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE
);

-- The same events go to the same address once.
CREATE UNIQUE INDEX webhooks_subscription_idx ON webhooks(url, (COALESCE(portfolio_id, '')), types)
    WHERE deleted_at IS NULL;
CREATE INDEX webhooks_page_idx ON webhooks(created_at, id) WHERE deleted_at IS NULL;

-- Apart from the webhooks, so that nothing that lists them can show a key.
CREATE TABLE webhook_keys (
    webhook_id VARCHAR(36) PRIMARY KEY REFERENCES webhooks(id),
    signing_key TEXT NOT NULL,
    CONSTRAINT webhook_keys_length CHECK (length(signing_key) BETWEEN 16 AND 256)
);

-- One row for each event and receiver. A webhook is a receiver by its id, a person by the e-mail address; no id looks
-- like one.
-- next_attempt_at is also the end of the lease of an attempt that is under way.
CREATE TABLE deliveries (
    id VARCHAR(36) PRIMARY KEY DEFAULT gen_random_uuid()::text,
    -- Of an event; events are never deleted.
    sequence BIGINT NOT NULL,
    portfolio_id VARCHAR(36) NOT NULL,
    webhook_id VARCHAR(36) REFERENCES webhooks(id),
    address TEXT NOT NULL,
    channel TEXT NOT NULL GENERATED ALWAYS AS (CASE WHEN webhook_id IS NULL THEN 'email' ELSE 'webhook' END) STORED,
    receiver TEXT NOT NULL GENERATED ALWAYS AS (COALESCE(webhook_id, 'mailto:' || address)) STORED,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Within the lock that numbers events: the order of creation is that of the events.
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    next_attempt_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp(),
    delivered_at TIMESTAMP WITH TIME ZONE,
    last_error TEXT NOT NULL DEFAULT '',
    CONSTRAINT deliveries_once UNIQUE (sequence, receiver),
    CONSTRAINT deliveries_status_known CHECK (status IN ('pending', 'delivered', 'abandoned')),
    CONSTRAINT deliveries_attempts_positive CHECK (attempts >= 0),
    CONSTRAINT deliveries_next_while_pending CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
    CONSTRAINT deliveries_moment_of_delivery CHECK ((status = 'delivered') = (delivered_at IS NOT NULL))
);

CREATE INDEX deliveries_order_idx ON deliveries(receiver, portfolio_id, sequence) WHERE status = 'pending';
CREATE INDEX deliveries_delivered_idx ON deliveries(webhook_id, sequence) WHERE status = 'delivered';
CREATE INDEX deliveries_page_idx ON deliveries(created_at DESC, id DESC);
CREATE INDEX deliveries_portfolio_page_idx ON deliveries(portfolio_id, created_at DESC, id DESC);

-- What a person is to hear of before anything is executed.
CREATE FUNCTION is_alert(type TEXT, payload JSONB) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN CASE type
    WHEN 'drift_detected' THEN true
    WHEN 'rebalance_plan_proposed' THEN COALESCE(payload -> 'approval_required' = 'true', false)
    WHEN 'rebalance_plan_status_changed' THEN COALESCE(
        payload #>> '{transition,status}' IN (
            'REBALANCE_PLAN_STATUS_PENDING_APPROVAL', 'REBALANCE_PLAN_STATUS_APPROVED'
        ),
        false
    )
    ELSE false
END;

-- An event and its deliveries come into being together. The lock on a webhook makes its deletion wait for this
-- transaction, and makes this transaction pass by a webhook that has just been deleted.
CREATE FUNCTION create_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deliveries (sequence, portfolio_id, webhook_id, address)
    SELECT NEW.sequence, NEW.portfolio_id, id, url FROM webhooks
    WHERE deleted_at IS NULL
        AND (portfolio_id IS NULL OR portfolio_id = NEW.portfolio_id)
        AND (types = '{}' OR NEW.type = ANY(types))
    FOR KEY SHARE;
    IF is_alert(NEW.type, NEW.payload) THEN
        INSERT INTO deliveries (sequence, portfolio_id, address)
        SELECT DISTINCT NEW.sequence, NEW.portfolio_id, address
        FROM portfolios, jsonb_array_elements_text(
            CASE jsonb_typeof(preferences #> '{rebalancing,alert_emails}')
                WHEN 'array' THEN preferences #> '{rebalancing,alert_emails}' ELSE '[]'
            END
        ) AS address
        WHERE portfolios.id = NEW.portfolio_id AND address <> '';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER events_delivered AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION create_deliveries();
