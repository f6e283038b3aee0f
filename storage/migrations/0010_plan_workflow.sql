-- The way of rebalance plans from proposal to execution.

CREATE FUNCTION is_plan_status(status TEXT) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN status IN (
    'proposed', 'pending_approval', 'approved', 'rejected', 'expired', 'executed', 'cancelled'
);

-- What a plan may do, and what it holds for. Decimal numbers within JSON are text.
CREATE TABLE rebalance_workflows (
    rebalance_id VARCHAR(36) PRIMARY KEY REFERENCES rebalance_requests(id),
    portfolio_id VARCHAR(36) NOT NULL REFERENCES portfolios(id),
    status VARCHAR(20) NOT NULL,
    -- Number of the last transition.
    version INTEGER NOT NULL,
    gross_amount NUMERIC NOT NULL,
    approval_limit NUMERIC NOT NULL,
    validity_hours DOUBLE PRECISION NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    max_price_move NUMERIC NOT NULL,
    max_weight_move NUMERIC NOT NULL,
    input_hash VARCHAR(64) NOT NULL,
    input_parts JSONB NOT NULL,
    prices JSONB NOT NULL,
    position_before JSONB NOT NULL,
    -- The household's last transaction that the plan knows: later ones may disallow its losses.
    last_transaction BIGINT NOT NULL DEFAULT 0,
    -- Set by the first execution: from then on the plan does not lapse, because its orders are at the market.
    position_after JSONB,
    -- The state of portfolio and prices at the last look; another one calls for a new look.
    seen_portfolio TIMESTAMP WITH TIME ZONE,
    seen_packs BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT rebalance_workflows_status_known CHECK (is_plan_status(status)),
    CONSTRAINT rebalance_workflows_amounts CHECK (
        gross_amount >= 0 AND gross_amount < 'Infinity' AND approval_limit >= 0 AND approval_limit < 'Infinity'
    ),
    CONSTRAINT rebalance_workflows_moves CHECK (
        max_price_move > 0 AND max_price_move < 'Infinity' AND max_weight_move > 0 AND max_weight_move < 'Infinity'
    )
);

-- One plan of a portfolio at a time is on its way to the market.
CREATE UNIQUE INDEX rebalance_workflows_approved_idx ON rebalance_workflows(portfolio_id) WHERE status = 'approved';
CREATE INDEX rebalance_workflows_open_idx ON rebalance_workflows(rebalance_id)
    WHERE status IN ('proposed', 'pending_approval', 'approved') AND position_after IS NULL;
CREATE INDEX rebalance_workflows_open_portfolio_idx ON rebalance_workflows(portfolio_id)
    WHERE status IN ('proposed', 'pending_approval', 'approved');
CREATE INDEX rebalance_workflows_page_idx ON rebalance_workflows(created_at DESC, rebalance_id DESC);
CREATE INDEX rebalance_workflows_portfolio_page_idx
    ON rebalance_workflows(portfolio_id, created_at DESC, rebalance_id DESC);
CREATE INDEX rebalance_workflows_status_page_idx ON rebalance_workflows(status, created_at DESC, rebalance_id DESC);
CREATE TRIGGER rebalance_workflows_kept BEFORE DELETE OR TRUNCATE ON rebalance_workflows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE plan_transitions (
    rebalance_id VARCHAR(36) NOT NULL REFERENCES rebalance_workflows(rebalance_id),
    number INTEGER NOT NULL,
    -- The call that led here, also where it found the plan lapsed.
    action VARCHAR(20) NOT NULL,
    status VARCHAR(20) NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor VARCHAR(100) NOT NULL,
    comment TEXT NOT NULL,
    -- Of two writers that begin from the same state the second fails.
    PRIMARY KEY (rebalance_id, number),
    CONSTRAINT plan_transitions_status_known CHECK (is_plan_status(status))
);

CREATE TABLE plan_executions (
    rebalance_id VARCHAR(36) NOT NULL REFERENCES rebalance_workflows(rebalance_id),
    execution_id VARCHAR(36) NOT NULL,
    number INTEGER NOT NULL,
    instrument_id VARCHAR(36) NOT NULL REFERENCES instruments(id),
    action VARCHAR(4) NOT NULL,
    status VARCHAR(20) NOT NULL,
    quantity NUMERIC NOT NULL,
    price NUMERIC,
    cost NUMERIC NOT NULL,
    executed_at TIMESTAMP WITH TIME ZONE,
    -- The day that counts for holding periods.
    traded_on DATE NOT NULL,
    comment TEXT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor VARCHAR(100) NOT NULL,
    PRIMARY KEY (rebalance_id, execution_id),
    UNIQUE (rebalance_id, number),
    CONSTRAINT plan_executions_action_known CHECK (action IN ('buy', 'sell')),
    CONSTRAINT plan_executions_status_known CHECK (status IN ('partially_filled', 'filled', 'rejected', 'cancelled')),
    CONSTRAINT plan_executions_quantity CHECK (quantity >= 0 AND quantity < 'Infinity'),
    CONSTRAINT plan_executions_price CHECK (price > 0 AND price < 'Infinity'),
    CONSTRAINT plan_executions_cost CHECK (cost >= 0 AND cost < 'Infinity'),
    CONSTRAINT plan_executions_priced CHECK ((quantity > 0) = (price IS NOT NULL))
);

CREATE TRIGGER plan_transitions_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON plan_transitions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER plan_executions_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON plan_executions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Plans that were made before there was a way for them: nothing says what they hold for, so they have lapsed.
INSERT INTO rebalance_workflows (
    rebalance_id, portfolio_id, status, version, gross_amount, approval_limit, validity_hours, max_price_move,
    max_weight_move, input_hash, input_parts, prices, position_before, created_at
)
SELECT rebalance_id, portfolio_id, 'expired', 1, 0, 0, 0, 1, 1, '', '{}', '{}', '{}', created_at FROM rebalance_plans;
INSERT INTO plan_transitions (rebalance_id, number, action, status, at, actor, comment)
SELECT rebalance_id, 1, 'lapse', 'expired', NOW(), 'service', 'made before plans had approvals' FROM rebalance_workflows;
