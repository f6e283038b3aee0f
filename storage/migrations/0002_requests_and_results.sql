-- Requests and results as they are written, and the tables that answer queries about them.

-- ===== Write Schema (Command Side) =====

CREATE TABLE optimization_requests (
    id VARCHAR(36) PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    optimization_type VARCHAR(30) NOT NULL,
    objective VARCHAR(30) NOT NULL,
    risk_measure VARCHAR(20) NOT NULL,
    constraints JSONB NOT NULL,
    preferences JSONB NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT optimization_requests_portfolio_fk FOREIGN KEY (portfolio_id) REFERENCES portfolios(id)
);

CREATE INDEX optimization_requests_portfolio_idx ON optimization_requests(portfolio_id);
CREATE INDEX optimization_requests_status_idx ON optimization_requests(status);

CREATE TABLE optimization_results (
    optimization_id VARCHAR(36) PRIMARY KEY,
    metrics JSONB NOT NULL,
    current_allocation JSONB NOT NULL,
    target_allocation JSONB NOT NULL,
    trades JSONB NOT NULL,
    efficient_frontier JSONB,
    completed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT optimization_results_optimization_fk FOREIGN KEY (optimization_id) REFERENCES optimization_requests(id)
);

CREATE TABLE efficient_frontier_requests (
    id VARCHAR(36) PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    risk_measure VARCHAR(20) NOT NULL,
    points INTEGER NOT NULL,
    min_return DECIMAL(10, 8),
    max_risk DECIMAL(10, 8),
    constraints JSONB NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT efficient_frontier_requests_portfolio_fk FOREIGN KEY (portfolio_id) REFERENCES portfolios(id)
);

CREATE INDEX efficient_frontier_requests_portfolio_idx ON efficient_frontier_requests(portfolio_id);
CREATE INDEX efficient_frontier_requests_status_idx ON efficient_frontier_requests(status);

CREATE TABLE efficient_frontier_results (
    frontier_id VARCHAR(36) PRIMARY KEY,
    frontier_points JSONB NOT NULL,
    current_portfolio JSONB NOT NULL,
    optimal_portfolio JSONB NOT NULL,
    min_risk_portfolio JSONB NOT NULL,
    max_return_portfolio JSONB NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT efficient_frontier_results_frontier_fk FOREIGN KEY (frontier_id) REFERENCES efficient_frontier_requests(id)
);

CREATE TABLE rebalance_requests (
    id VARCHAR(36) PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    target_type VARCHAR(20) NOT NULL,
    constraints JSONB NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT rebalance_requests_portfolio_fk FOREIGN KEY (portfolio_id) REFERENCES portfolios(id)
);

CREATE INDEX rebalance_requests_portfolio_idx ON rebalance_requests(portfolio_id);
CREATE INDEX rebalance_requests_status_idx ON rebalance_requests(status);

CREATE TABLE rebalance_results (
    rebalance_id VARCHAR(36) PRIMARY KEY,
    current_allocation JSONB NOT NULL,
    target_allocation JSONB NOT NULL,
    trades JSONB NOT NULL,
    metrics JSONB NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT rebalance_results_rebalance_fk FOREIGN KEY (rebalance_id) REFERENCES rebalance_requests(id)
);

CREATE TABLE factor_analysis_requests (
    id VARCHAR(36) PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    factors JSONB NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT factor_analysis_requests_portfolio_fk FOREIGN KEY (portfolio_id) REFERENCES portfolios(id)
);

CREATE INDEX factor_analysis_requests_portfolio_idx ON factor_analysis_requests(portfolio_id);
CREATE INDEX factor_analysis_requests_status_idx ON factor_analysis_requests(status);

CREATE TABLE factor_analysis_results (
    analysis_id VARCHAR(36) PRIMARY KEY,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    exposures JSONB NOT NULL,
    attribution JSONB NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT factor_analysis_results_analysis_fk FOREIGN KEY (analysis_id) REFERENCES factor_analysis_requests(id)
);


-- ===== Read Schema (Query Side) =====

CREATE TABLE portfolio_optimizations (
    optimization_id VARCHAR(36) PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    optimization_type VARCHAR(30) NOT NULL,
    objective VARCHAR(30) NOT NULL,
    risk_measure VARCHAR(20) NOT NULL,
    status VARCHAR(20) NOT NULL,
    metrics JSONB,
    current_allocation JSONB,
    target_allocation JSONB,
    trades JSONB,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT portfolio_optimizations_portfolio_fk FOREIGN KEY (portfolio_id) REFERENCES portfolios(id)
);

CREATE INDEX portfolio_optimizations_portfolio_idx ON portfolio_optimizations(portfolio_id);
CREATE INDEX portfolio_optimizations_created_idx ON portfolio_optimizations(created_at);

CREATE TABLE efficient_frontiers (
    frontier_id VARCHAR(36) PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    risk_measure VARCHAR(20) NOT NULL,
    frontier_points JSONB NOT NULL,
    current_portfolio JSONB NOT NULL,
    optimal_portfolio JSONB NOT NULL,
    min_risk_portfolio JSONB NOT NULL,
    max_return_portfolio JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT efficient_frontiers_portfolio_fk FOREIGN KEY (portfolio_id) REFERENCES portfolios(id)
);

CREATE INDEX efficient_frontiers_portfolio_idx ON efficient_frontiers(portfolio_id);
CREATE INDEX efficient_frontiers_created_idx ON efficient_frontiers(created_at);

CREATE TABLE rebalance_plans (
    rebalance_id VARCHAR(36) PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    target_type VARCHAR(20) NOT NULL,
    current_allocation JSONB NOT NULL,
    target_allocation JSONB NOT NULL,
    trades JSONB NOT NULL,
    metrics JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT rebalance_plans_portfolio_fk FOREIGN KEY (portfolio_id) REFERENCES portfolios(id)
);

CREATE INDEX rebalance_plans_portfolio_idx ON rebalance_plans(portfolio_id);
CREATE INDEX rebalance_plans_created_idx ON rebalance_plans(created_at);

CREATE TABLE factor_exposures (
    analysis_id VARCHAR(36) PRIMARY KEY,
    portfolio_id VARCHAR(36) NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    exposures JSONB NOT NULL,
    attribution JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT factor_exposures_portfolio_fk FOREIGN KEY (portfolio_id) REFERENCES portfolios(id)
);

CREATE INDEX factor_exposures_portfolio_idx ON factor_exposures(portfolio_id);
CREATE INDEX factor_exposures_as_of_idx ON factor_exposures(as_of);
