-- +goose NO TRANSACTION
-- +goose Up

UPDATE events e
SET seq = o.seq
FROM (SELECT source, id, row_number() OVER (ORDER BY stored_at, n, source, id) AS seq
      FROM events
      WHERE seq IS NULL) o
WHERE (e.source, e.id) = (o.source, o.id) AND e.seq IS NULL;

DROP INDEX CONCURRENTLY IF EXISTS events_by_seq;
CREATE UNIQUE INDEX CONCURRENTLY events_by_seq ON events (seq);
