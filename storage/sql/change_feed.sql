-- name: optimization_changed
LISTEN optimization_changed;

-- name: event_appended
LISTEN event_appended;
