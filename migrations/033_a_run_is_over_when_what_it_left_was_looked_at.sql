-- +goose Up

-- The commit that an agent has reported, while GitHub is asked what its stage's files are like there.
ALTER TABLE runs ADD COLUMN delivered text NOT NULL DEFAULT '';

-- The platform has set the label for an open question, and nobody has removed it.
ALTER TABLE work_items ADD COLUMN need_input boolean NOT NULL DEFAULT false;
