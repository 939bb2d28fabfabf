package store_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/test/local/pg/pgtest"
)

// growing are the tables that grow with what the platform has done. All others have the size of what is outstanding, or
// of what people have set up.
var growing = []string{
	"events", "inbox", "deliveries", "audit", "audit_seals", "audit_sealed", "dead_letters", "actions",
	"work_items", "pull_requests", "runs", "run_logs", "run_reports", "run_asks", "artefacts", "sessions", "conversations", "llm_calls", "spending", "github_comments", "approvals", "chat_messages",
}

// wholly are statements that look at all of a growing table because that is what they are for: a person asks them.
var wholly = []string{"DB.UnsealedAudit"}

// TestNoStatementReadsHistory explains every statement of the package, found in its source, on tables with a long past:
// none may read a growing table from end to end. The plans are those without arguments, which Postgres goes over to
// when a statement comes again and again.
func TestNoStatementReadsHistory(t *testing.T) {
	db := pgtest.Open(t, pgtest.New(t))
	db.Do(longPast)
	db.Do(`ANALYZE`)
	conn, err := db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	do := func(statement string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	do(`SET plan_cache_mode = force_generic_plan`)
	explained := 0
	for _, s := range statements(t) {
		explained++
		name := fmt.Sprintf("s%d", explained)
		do("PREPARE " + name + " AS " + s.text)
		nulls := ""
		if n := parameters(s.text); n > 0 {
			nulls = "(NULL" + strings.Repeat(", NULL", n-1) + ")"
		}
		var plan []byte
		if err := conn.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) EXECUTE "+name+nulls).Scan(&plan); err != nil {
			t.Fatalf("%s: explaining %s: %v", s.where, s.text, err)
		}
		for _, table := range scanned(t, plan) {
			if slices.Contains(growing, table) && !slices.Contains(wholly, s.where) {
				t.Errorf("%s reads all of %s:\n%s", s.where, table, s.text)
			}
		}
	}
	if explained < 60 {
		t.Errorf("only %d statements were found in the source", explained)
	}
}

// TestAChatsPastIsNotRead: what somebody may mean who wrote in a chat is found without reading all that the chat has
// ever shown. The plan alone does not tell, since an index leads there.
func TestAChatsPastIsNotRead(t *testing.T) {
	db := pgtest.Open(t, pgtest.New(t))
	db.Do(longPast)
	db.Do(`ANALYZE`)
	all := statements(t)
	at := slices.IndexFunc(all, func(s statement) bool { return s.where == "DB.ShownIn" })
	conn, err := db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	var plan []byte
	err = conn.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+all[at].text, pgx.QueryExecModeSimpleProtocol, "slack", "C1", "", false).Scan(&plan)
	if err != nil {
		t.Fatal(err)
	}
	if n := touched(t, plan); n > 2000 {
		t.Errorf("of a chat with 10,000 requests, 10 of them undecided, %.0f rows are read:\n%s", n, plan)
	}
}

// TestGrowingTablesAreKnown: a new table is one that grows, or is listed here as one that does not.
func TestGrowingTablesAreKnown(t *testing.T) {
	small := []string{
		"projects", "repositories", "members", "processes", "project_processes", "project_prompts", "pending", "github_pauses", "model_pauses", "app_hooks", "ticks", "chat_accounts",
		"chat_codes", "run_databases", "console_logins", "console_sessions", "console_tokens", "goose_db_version",
	}
	got := pgtest.Open(t, pgtest.New(t)).Lines(`SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`)
	for _, table := range got {
		if !slices.Contains(growing, table) && !slices.Contains(small, table) {
			t.Errorf("does table %s grow? Say so in growing, and give it a past in longPast, or list it here", table)
		}
	}
}

// A statement is one of the package's, with its constants put in.
type statement struct{ where, text string }

var sqlVerb = regexp.MustCompile(`^[\s(]*(SELECT|INSERT|UPDATE|DELETE|WITH)\s`)

// statements finds the SQL in the package's source: the longest constant texts that begin with a verb of SQL.
func statements(t *testing.T) (found []statement) {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		if files[path], err = parser.ParseFile(token.NewFileSet(), path, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	c := constants{}
	for _, f := range files {
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				for _, spec := range g.Specs {
					if v := spec.(*ast.ValueSpec); len(v.Values) == 1 {
						c[v.Names[0].Name] = v.Values[0]
					}
				}
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		for _, d := range files[path].Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, ok := c.text(e)
				if ok && sqlVerb.MatchString(text) {
					found = append(found, statement{nameOf(f), text})
				}
				return !ok
			})
		}
	}
	return found
}

// constants are the package's, by name.
type constants map[string]ast.Expr

func (c constants) text(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		left, ok := c.text(e.X)
		right, also := c.text(e.Y)
		return left + right, ok && also
	case *ast.Ident:
		if value, ok := c[e.Name]; ok {
			return c.text(value)
		}
	}
	return "", false
}

// nameOf is how a person calls the function: Tx.Item.
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	if p, ok := receiver.(*ast.StarExpr); ok {
		receiver = p.X
	}
	return receiver.(*ast.Ident).Name + "." + f.Name.Name
}

// parameters is the highest number of a parameter in the statement.
func parameters(statement string) (highest int) {
	for _, m := range regexp.MustCompile(`\$(\d+)`).FindAllStringSubmatch(statement, -1) {
		n, _ := strconv.Atoi(m[1]) // digits
		highest = max(highest, n)
	}
	return highest
}

// scanned are the tables that a plan reads from end to end.
func scanned(t *testing.T, plan []byte) (tables []string) {
	t.Helper()
	walk(t, plan, func(node map[string]any) {
		if node["Node Type"] == "Seq Scan" {
			tables = append(tables, node["Relation Name"].(string))
		}
	})
	return tables
}

// touched is how many rows the steps of a plan that was carried out have passed on and thrown away.
func touched(t *testing.T, plan []byte) (rows float64) {
	t.Helper()
	walk(t, plan, func(node map[string]any) {
		loops, _ := node["Actual Loops"].(float64)
		for _, key := range []string{"Actual Rows", "Rows Removed by Filter"} {
			n, _ := node[key].(float64)
			rows += n * loops
		}
	})
	return rows
}

// walk looks at each object in a plan.
func walk(t *testing.T, plan []byte, look func(map[string]any)) {
	t.Helper()
	var read any
	if err := json.Unmarshal(plan, &read); err != nil {
		t.Fatal(err)
	}
	var down func(any)
	down = func(n any) {
		switch n := n.(type) {
		case []any:
			for _, child := range n {
				down(child)
			}
		case map[string]any:
			look(n)
			for _, child := range n {
				down(child)
			}
		}
	}
	down(read)
}

// longPast gives each growing table 10,000 rows of what is over, and the others a few.
const longPast = `
	INSERT INTO projects (id, name) VALUES ('p', 'P'), ('q', 'Q');
	INSERT INTO repositories (full_name, project_id, github_id) VALUES ('acme/api', 'p', 1), ('acme/shop', 'q', 2);
	INSERT INTO members (project_id, login, role) VALUES ('p', 'ann', 'owner');
	INSERT INTO events (source, id, type, time, data, function, cause_source, cause_id, correlation)
	SELECT 's' || n % 7, n, 't' || n % 5, now(), '{}', 'f' || n % 9, 's', n, 'acme/api#' || n / 10 FROM generate_series(1, 10000) AS n;
	INSERT INTO inbox (function, source, id) SELECT 'f' || n % 9, 's' || n % 7, n FROM generate_series(1, 10000) AS n;
	INSERT INTO pending (function, source, id, due_at) SELECT 'f' || n % 9, 's' || n % 7, n, now() FROM generate_series(1, 20) AS n;
	INSERT INTO deliveries (guid, event, repository, hook_id, sha256, status, received_at)
	SELECT n, 'issues', 'acme/api', 7 + n % 3, '', 'accepted', now() - interval '1 minute' * n FROM generate_series(1, 10000) AS n;
	INSERT INTO dead_letters (function, source, id, type, envelope, died_at, handled_at)
	SELECT 'f' || n % 9, 's' || n % 7, n, 't', '{}', now() - interval '1 minute' * n, CASE WHEN n > 5 THEN now() END FROM generate_series(1, 10000) AS n;
	INSERT INTO actions (key, function, state) SELECT n, 'f', 'done' FROM generate_series(1, 10000) AS n;
	INSERT INTO work_items (repository, issue, full_name, pull_request) SELECT 'acme/r' || n % 100, n, 'acme/api', n FROM generate_series(1, 10000) AS n;
	INSERT INTO pull_requests (repository, issue, branch, stage, number, pull) SELECT repository, issue, 'codexk8s/issue-' || issue || '-qa', 'qa', 20000 + issue, '{}' FROM work_items;
	INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, finished_at)
	SELECT md5(n::text)::uuid, 'acme/r' || n % 100, n, CASE WHEN n % 2 = 0 THEN 'p' ELSE 'q' END, 'dev', 'dev', CASE WHEN n > 10 THEN 'succeeded' ELSE 'running' END,
	       'e', 'm', 'ann', n, 'n', now() - interval '1 minute' * n, CASE WHEN n > 10 THEN now() END
	FROM generate_series(1, 10000) AS n;
	INSERT INTO run_logs (run_id, seq, at, stream, line) SELECT md5((n % 100 + 1)::text)::uuid, n, now(), 'agent', 'x' FROM generate_series(1, 10000) AS n;
	INSERT INTO run_reports (run_id, report) SELECT id, '{}' FROM runs;
	INSERT INTO artefacts (repository, issue, stage, name, value, run_id, made_at) SELECT repository, issue, stage, 'pull_request', '1', id, created_at FROM runs;
	INSERT INTO run_asks (run_id, id, request, asked_at) SELECT id, id, '{}', now() FROM runs;
	INSERT INTO sessions (repository, issue, engine, version, thread_id, sha256, data, run_id) SELECT repository, issue, engine, 1, 't', '', '', id FROM runs;
	ALTER TABLE llm_calls DISABLE TRIGGER call_is_spent; -- in one transaction each call would read all versions of a row
	INSERT INTO llm_calls (id, run_id, model, endpoint, status, started_at, duration_ms) SELECT gen_random_uuid(), id, 'm', 'responses', 200, now(), 1 FROM runs;
	ALTER TABLE llm_calls ENABLE TRIGGER call_is_spent;
	INSERT INTO spending (kind, project_id, name, period, calls)
	SELECT 'issue', project_id, repository || '#' || issue, period, 1 FROM runs, unnest(ARRAY['', '2026-11-28', 'unmerged']) period;
	INSERT INTO spending (kind, project_id, name, period, calls) SELECT 'run', project_id, id, '', 1 FROM runs;
	INSERT INTO github_comments (repository, issue, comment_id) SELECT repository, issue, issue FROM runs;
	INSERT INTO approvals (id, run_id, state, asked_at, decided_at, ticket)
	SELECT md5('a' || n)::uuid, md5(n::text)::uuid, CASE WHEN n > 10 THEN 'approved' ELSE 'open' END, now(), CASE WHEN n > 10 THEN now() END, '{"request": {"digest": "cafe"}}'
	FROM generate_series(1, 10000) AS n;
	INSERT INTO chat_messages (request, channel, target, version, ref, changed_at) SELECT id, 'slack', '', 1, '{"chat": "C1"}', now() FROM approvals;
	INSERT INTO audit (actor, action, work_item, run_id, function) SELECT 'a', 'b', 'acme/api#' || issue, id, 'f' FROM runs;
	WITH seal AS (
		INSERT INTO audit_seals (rows, seqs, previous, hash, sealed_at)
		SELECT 10, array_agg(seq ORDER BY seq), '', '', now() - interval '1 month' + interval '1 second' * min(seq)
		FROM audit GROUP BY (seq - 1) / 10 ORDER BY min(seq)
		RETURNING batch, seqs
	)
	INSERT INTO audit_sealed (seq, batch) SELECT seq, batch FROM seal, unnest(seqs) AS seq;
`
