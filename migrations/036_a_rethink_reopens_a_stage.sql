-- +goose Up

-- The stage at which a rethink says to begin again; '' = the run is none, or says nothing.
ALTER TABLE runs ADD COLUMN reopens text NOT NULL DEFAULT '';
