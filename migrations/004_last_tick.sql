-- +goose Up

-- When a function that works by the clock last did its round. Without a tick nothing that is due is
-- sent, and nobody else would notice.
CREATE TABLE ticks (
    function    text        PRIMARY KEY,
    ticked_at   timestamptz NOT NULL
);
