-- +goose NO TRANSACTION
-- +goose Up

-- What has become of a command that was given in the console? That is the audit's to say.
DROP INDEX CONCURRENTLY IF EXISTS audit_by_command;
CREATE INDEX CONCURRENTLY audit_by_command ON audit (event_id) WHERE event_source = 'https://codexk8s.dev/console';
