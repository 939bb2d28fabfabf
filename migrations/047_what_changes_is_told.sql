-- +goose Up

-- A console that is being looked at listens on the channel "news" for what has changed: what kind of thing, and which
-- one. Who wants to know more reads it. Whoever writes, this release or the one before, tells.
CREATE FUNCTION tell_news(kind text, project text, run uuid, issue text)
RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('news', json_build_object('kind', kind, 'project', coalesce(project, ''), 'run', coalesce(run::text, ''), 'issue', coalesce(issue, ''))::text)
$$;

-- +goose StatementBegin
CREATE FUNCTION run_has_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_news('run', NEW.project_id, NEW.id, NEW.repository || '#' || NEW.issue);
    RETURN NULL;
END $$;

CREATE FUNCTION log_has_grown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_news('log', NULL, a.run_id, NULL) FROM (SELECT DISTINCT run_id FROM added) AS a;
    RETURN NULL;
END $$;

CREATE FUNCTION approval_has_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_news('run', r.project_id, r.id, r.repository || '#' || r.issue) FROM runs r WHERE r.id = NEW.run_id;
    RETURN NULL;
END $$;

CREATE FUNCTION issue_has_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_news('issue', (SELECT project_id FROM repositories WHERE full_name = NEW.repository), NULL, NEW.repository || '#' || NEW.issue);
    RETURN NULL;
END $$;

-- The kind is the trigger's argument.
CREATE FUNCTION something_has_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_news(TG_ARGV[0], NULL, NULL, NULL);
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER run_has_begun AFTER INSERT ON runs
    FOR EACH ROW EXECUTE FUNCTION run_has_changed();
-- Not what only the platform looks at, such as when its pod was seen.
CREATE TRIGGER run_has_changed AFTER UPDATE OF state, reason, waiting_for, position, attempt, progress, heartbeat_at, deadline, asks, prompt ON runs
    FOR EACH ROW EXECUTE FUNCTION run_has_changed();
CREATE TRIGGER log_has_grown AFTER INSERT ON run_logs
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION log_has_grown();
CREATE TRIGGER approval_has_changed AFTER INSERT OR UPDATE ON approvals
    FOR EACH ROW EXECUTE FUNCTION approval_has_changed();
CREATE TRIGGER issue_has_changed AFTER INSERT OR UPDATE ON work_items
    FOR EACH ROW EXECUTE FUNCTION issue_has_changed();
CREATE TRIGGER issue_has_changed AFTER INSERT OR UPDATE ON pull_requests
    FOR EACH ROW EXECUTE FUNCTION issue_has_changed();
CREATE TRIGGER dead_letter_has_changed AFTER INSERT OR UPDATE ON dead_letters
    FOR EACH ROW EXECUTE FUNCTION something_has_changed('dead_letter');
-- Who has lost a role, or has signed out.
CREATE TRIGGER member_has_changed AFTER UPDATE OR DELETE ON members
    FOR EACH ROW EXECUTE FUNCTION something_has_changed('access');
CREATE TRIGGER session_is_over AFTER DELETE ON console_sessions
    FOR EACH ROW EXECUTE FUNCTION something_has_changed('access');
