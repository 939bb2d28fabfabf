-- +goose Up

-- The order of events, for whoever pages through them or replays them.
--
-- An event takes its number before its transaction commits, so a lower one may become visible after a higher one. Who
-- pages notes the sequence's last_value and pg_current_snapshot(), and reads up to that number once
-- pg_snapshot_xmin(pg_current_snapshot()) has reached the noted pg_snapshot_xmax: then every transaction that could hold
-- a lower number has ended. Numbers have gaps. What an event caused has a higher number than the event.
--
-- No table is rewritten here: the rows that are there get their numbers, from 1, in the next migration, while events
-- come in. None is smaller than 64 bytes, so the numbers below the first new one are enough.
ALTER TABLE events ADD COLUMN seq bigint;
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('CREATE SEQUENCE events_seq OWNED BY events.seq START %s', pg_relation_size('events') / 64 + 1);
END $$;
-- +goose StatementEnd
ALTER TABLE events ALTER COLUMN seq SET DEFAULT nextval('events_seq');
