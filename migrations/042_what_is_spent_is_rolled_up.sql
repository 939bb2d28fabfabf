-- +goose Up

-- What has been spent, so that neither a budget nor a report reads calls: one row for each run, issue, project, role and
-- model, and for each of its days and months.
CREATE TABLE spending (
    kind        text        NOT NULL CHECK (kind IN ('run', 'issue', 'project', 'role', 'model')),
    project_id  text        NOT NULL, -- '' = of the platform itself
    name        text        NOT NULL, -- the run's id, the issue's key, the project's id, the role, the model
    period      text        NOT NULL, -- in UTC: '' = ever, '2026-11', '2026-11-28'
    calls       bigint      NOT NULL DEFAULT 0,
    input_tokens bigint     NOT NULL DEFAULT 0,
    cached_tokens bigint    NOT NULL DEFAULT 0,
    output_tokens bigint    NOT NULL DEFAULT 0,
    reasoning_tokens bigint NOT NULL DEFAULT 0,
    microusd    bigint      NOT NULL DEFAULT 0,
    work_ms     bigint      NOT NULL DEFAULT 0, -- that Jobs were at work
    -- What people have added to the budget of this.
    more_tokens bigint      NOT NULL DEFAULT 0,
    more_microusd bigint    NOT NULL DEFAULT 0,
    more_ms     bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, project_id, name, period)
);
-- A report reads the days of one kind.
CREATE INDEX spending_by_day ON spending (kind, period) WHERE length(period) = 10;

ALTER TABLE llm_calls
    -- What the call may use at most, while it is under way; 0 where no budget limits it.
    ADD COLUMN held_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN held_microusd bigint NOT NULL DEFAULT 0,
    -- The price is not known, and the dearest known one counts.
    ADD COLUMN assumed boolean NOT NULL DEFAULT false;
CREATE INDEX llm_calls_under_way ON llm_calls (run_id) WHERE status = 0;

ALTER TABLE runs
    -- The budgets that the run is under, as of its admission: shape []budget.Bound.
    ADD COLUMN bounds jsonb NOT NULL DEFAULT '[]',
    -- Up to where its spending is reserved while it has a Job: shape budget.Amount.
    ADD COLUMN reserved_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN reserved_microusd bigint NOT NULL DEFAULT 0,
    -- How long its Jobs before the present one were at work.
    ADD COLUMN work_ms bigint NOT NULL DEFAULT 0;
-- What the last runs of a stage and a model have spent.
CREATE INDEX runs_finished_by_stage ON runs (project_id, stage, model, finished_at DESC) WHERE finished_at IS NOT NULL;

-- The rows that something spent counts in, in one order, so that two transactions never wait for each other.
-- +goose StatementBegin
CREATE FUNCTION spend(run uuid, at timestamptz, the_model text, calls bigint, input bigint, cached bigint, output bigint, reasoning bigint, money bigint, work bigint)
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
        ('run', run::text, ''), ('issue', o.issue, ''), ('issue', o.issue, today),
        ('project', o.project, ''), ('project', o.project, month), ('project', o.project, today),
        ('role', o.role, today), ('model', the_model, today)
    ) AS b (kind, name, period)
    WHERE b.name IS NOT NULL
    ORDER BY b.kind, o.project, b.name, b.period
    ON CONFLICT (kind, project_id, name, period) DO UPDATE
    SET calls = s.calls + excluded.calls, input_tokens = s.input_tokens + excluded.input_tokens,
        cached_tokens = s.cached_tokens + excluded.cached_tokens, output_tokens = s.output_tokens + excluded.output_tokens,
        reasoning_tokens = s.reasoning_tokens + excluded.reasoning_tokens, microusd = s.microusd + excluded.microusd,
        work_ms = s.work_ms + excluded.work_ms
$$;

-- Whoever records a call, this release or the one before, what changes in it is what is spent.
CREATE FUNCTION call_is_spent() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE was llm_calls;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        was := OLD;
    END IF;
    PERFORM spend(NEW.run_id, NEW.started_at, NEW.model,
        (NEW.status <> 0)::int::bigint - (coalesce(was.status, 0) <> 0)::int, NEW.input_tokens - coalesce(was.input_tokens, 0),
        NEW.cached_tokens - coalesce(was.cached_tokens, 0), NEW.output_tokens - coalesce(was.output_tokens, 0),
        NEW.reasoning_tokens - coalesce(was.reasoning_tokens, 0), coalesce(NEW.cost_microusd, 0) - coalesce(was.cost_microusd, 0), 0);
    RETURN NULL;
END $$;

CREATE FUNCTION work_is_spent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM spend(NEW.id, coalesce(NEW.finished_at, NEW.paused_at, now()), NEW.model, 0, 0, 0, 0, 0, 0, NEW.work_ms - OLD.work_ms);
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER call_is_spent AFTER INSERT OR UPDATE ON llm_calls
    FOR EACH ROW WHEN (NEW.status <> 0) EXECUTE FUNCTION call_is_spent();
CREATE TRIGGER work_is_spent AFTER UPDATE OF work_ms ON runs
    FOR EACH ROW WHEN (NEW.work_ms <> OLD.work_ms) EXECUTE FUNCTION work_is_spent();

-- What was spent before.
INSERT INTO spending (kind, project_id, name, period, calls, input_tokens, cached_tokens, output_tokens, reasoning_tokens, microusd)
SELECT b.kind, b.project_id, b.name, b.period, count(*), sum(c.input_tokens), sum(c.cached_tokens), sum(c.output_tokens), sum(c.reasoning_tokens),
       coalesce(sum(c.cost_microusd), 0)
FROM llm_calls c
LEFT JOIN runs r ON r.id = c.run_id
CROSS JOIN LATERAL (SELECT to_char(c.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS today, to_char(c.started_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month) AS day
CROSS JOIN LATERAL (VALUES
    ('run', coalesce(r.project_id, ''), r.id::text, ''), ('issue', r.project_id, r.repository || '#' || r.issue, ''),
    ('issue', r.project_id, r.repository || '#' || r.issue, today),
    ('project', coalesce(r.project_id, ''), coalesce(r.project_id, ''), ''), ('project', coalesce(r.project_id, ''), coalesce(r.project_id, ''), month),
    ('project', coalesce(r.project_id, ''), coalesce(r.project_id, ''), today),
    ('role', r.project_id, r.role, today), ('model', coalesce(r.project_id, ''), c.model, today)
) AS b (kind, project_id, name, period)
WHERE c.status <> 0 AND b.name IS NOT NULL
GROUP BY b.kind, b.project_id, b.name, b.period;
