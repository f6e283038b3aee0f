-- Walk-forward validations: requests with their progress, and reports.

CREATE TABLE validation_requests (
    id VARCHAR(36) PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    request_id VARCHAR(64),
    specification JSONB NOT NULL DEFAULT '{}',
    pricing_pack_id VARCHAR(36) REFERENCES pricing_packs(id),
    job_id BIGINT,
    windows_done INTEGER NOT NULL DEFAULT 0,
    windows INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT validation_requests_portfolio_fk FOREIGN KEY (portfolio_id) REFERENCES portfolios(id),
    CONSTRAINT validation_requests_status_known CHECK (is_request_status(status)),
    CONSTRAINT validation_requests_progress CHECK (0 <= windows_done AND windows_done <= windows)
);

CREATE UNIQUE INDEX validation_requests_request_idx ON validation_requests(portfolio_id, request_id);
CREATE INDEX validation_requests_page_idx ON validation_requests(portfolio_id, created_at DESC, id DESC);

CREATE TABLE validation_results (
    validation_id VARCHAR(36) PRIMARY KEY,
    report JSONB NOT NULL,
    details JSONB NOT NULL DEFAULT '{}',
    solve_seconds DOUBLE PRECISION,
    completed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT validation_results_validation_fk FOREIGN KEY (validation_id) REFERENCES validation_requests(id)
);

-- Ids are unique among optimizations and validations, so whoever listens for one listens for both.
CREATE TRIGGER validation_requests_created AFTER INSERT ON validation_requests
    FOR EACH ROW EXECUTE FUNCTION notify_optimization_changed();
CREATE TRIGGER validation_requests_changed AFTER UPDATE OF status, windows_done ON validation_requests
    FOR EACH ROW WHEN (OLD.status <> NEW.status OR OLD.windows_done <> NEW.windows_done)
    EXECUTE FUNCTION notify_optimization_changed();
