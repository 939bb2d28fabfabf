-- +goose Up

-- Compressing payloads was the largest part of Postgres' work for a webhook: lz4 takes a third of the time of pglz, for about
-- the same size. What is stored already stays as it is. A Postgres built without lz4 goes on as before.
-- https://www.postgresql.org/docs/current/storage-toast.html#STORAGE-TOAST-COMPRESSION
-- +goose StatementBegin
DO $$
BEGIN
    ALTER TABLE events ALTER COLUMN data SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this Postgres has no lz4, payloads are compressed with pglz';
END
$$;
-- +goose StatementEnd
