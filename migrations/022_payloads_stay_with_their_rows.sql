-- +goose Up

-- An ordinary payload, 12 KB that are 3 when packed, went into the table for large values: two more rows and entries of an index
-- for every webhook. It stays in its own row now, two of which fit into a page. What is stored already stays where it is.
-- https://www.postgresql.org/docs/current/sql-createtable.html#RELOPTION-TOAST-TUPLE-TARGET
ALTER TABLE events SET (toast_tuple_target = 4096);
