-- +goose NO TRANSACTION
-- +goose Up

-- How many runs were asked for in a repository lately. It is built beside work: runs are many by now.
DROP INDEX CONCURRENTLY IF EXISTS runs_by_repository;
CREATE INDEX CONCURRENTLY runs_by_repository ON runs (repository, created_at);
