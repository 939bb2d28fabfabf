-- +goose Up

-- The way through the stages that an issue goes by: the highest that it has had, unless a maintainer took it back.
ALTER TABLE work_items ADD COLUMN profile text NOT NULL DEFAULT '';
