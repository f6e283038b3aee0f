-- The newest results are what the estimate of the time until an answer rests on.
CREATE INDEX optimization_results_completed_idx ON optimization_results (completed_at);
