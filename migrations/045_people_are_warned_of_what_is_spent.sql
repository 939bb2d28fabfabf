-- +goose Up

-- Whoever spends meanwhile waits until both the rows and what fills them are there.
LOCK TABLE runs, spending IN ACCESS EXCLUSIVE MODE;

ALTER TABLE spending
    -- Runs that had an agent and are over; kept for an issue since something of it was merged (period 'unmerged').
    ADD COLUMN runs      bigint   NOT NULL DEFAULT 0,
    ADD COLUMN more_runs bigint   NOT NULL DEFAULT 0,
    -- The percent of the budget of which people were told last.
    ADD COLUMN warned    smallint NOT NULL DEFAULT 0;

-- What people were told of the run's budgets: shape []stage.Warning.
ALTER TABLE runs ADD COLUMN warned jsonb NOT NULL DEFAULT '[]';

-- Roles and models have months too, so that a report over a year reads no more than one over a month.
INSERT INTO spending (kind, project_id, name, period, calls, input_tokens, cached_tokens, output_tokens, reasoning_tokens, microusd, work_ms)
SELECT kind, project_id, name, left(period, 7), sum(calls), sum(input_tokens), sum(cached_tokens), sum(output_tokens), sum(reasoning_tokens), sum(microusd), sum(work_ms)
FROM spending
WHERE kind IN ('role', 'model') AND length(period) = 10
GROUP BY kind, project_id, name, left(period, 7);

CREATE INDEX spending_by_period ON spending (kind, period) WHERE period <> '' AND period <> 'unmerged';
DROP INDEX spending_by_day;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION spend(run uuid, at timestamptz, the_model text, calls bigint, input bigint, cached bigint, output bigint, reasoning bigint, money bigint, work bigint)
RETURNS void LANGUAGE sql AS $$
    WITH o AS (
        SELECT coalesce(max(r.project_id), '') AS project, max(r.repository || '#' || r.issue) AS issue, max(r.role) AS role
        FROM runs r
        WHERE r.id = run
    ), d AS (
        SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS today, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM') AS month
    )
    INSERT INTO spending AS s (kind, project_id, name, period, calls, input_tokens, cached_tokens, output_tokens, reasoning_tokens, microusd, work_ms)
    SELECT b.kind, o.project, b.name, b.period, $4, $5, $6, $7, $8, $9, $10
    FROM o, d, LATERAL (VALUES
        ('run', run::text, ''), ('issue', o.issue, ''), ('issue', o.issue, today), ('issue', o.issue, 'unmerged'),
        ('project', o.project, ''), ('project', o.project, month), ('project', o.project, today),
        ('role', o.role, month), ('role', o.role, today), ('model', the_model, month), ('model', the_model, today)
    ) AS b (kind, name, period)
    WHERE b.name IS NOT NULL
    ORDER BY b.kind, o.project, b.name, b.period
    ON CONFLICT (kind, project_id, name, period) DO UPDATE
    SET calls = s.calls + excluded.calls, input_tokens = s.input_tokens + excluded.input_tokens,
        cached_tokens = s.cached_tokens + excluded.cached_tokens, output_tokens = s.output_tokens + excluded.output_tokens,
        reasoning_tokens = s.reasoning_tokens + excluded.reasoning_tokens, microusd = s.microusd + excluded.microusd,
        work_ms = s.work_ms + excluded.work_ms
$$;

-- A run that is over counts once, after the rows that its work counts in, which are locked by then.
CREATE OR REPLACE FUNCTION work_is_spent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM spend(NEW.id, coalesce(NEW.finished_at, NEW.paused_at, now()), NEW.model, 0, 0, 0, 0, 0, 0, NEW.work_ms - OLD.work_ms);
    IF NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL AND NEW.started_at IS NOT NULL AND NEW.kind IS DISTINCT FROM 'discussion' THEN
        UPDATE spending
        SET runs = runs + 1
        WHERE kind = 'issue' AND project_id = NEW.project_id AND name = NEW.repository || '#' || NEW.issue AND period = 'unmerged';
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

DROP TRIGGER work_is_spent ON runs;
CREATE TRIGGER work_is_spent AFTER UPDATE OF work_ms, finished_at ON runs
    FOR EACH ROW WHEN (NEW.work_ms <> OLD.work_ms OR NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL AND NEW.started_at IS NOT NULL)
    EXECUTE FUNCTION work_is_spent();
