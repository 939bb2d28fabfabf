-- +goose Up

-- Set where the tokens of a call are in part an estimate, as OpenAI's answer did not report them.
ALTER TABLE llm_calls ADD COLUMN estimated boolean NOT NULL DEFAULT false;
