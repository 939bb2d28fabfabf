package migrations_test

import (
	"database/sql"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"codexk8s.dev/migrations"
	"codexk8s.dev/test/local/pg/pgtest"
)

// What the schema before has of a work item on GitHub is what this one begins with.
func TestWhatGitHubShowsOutlivesTheUpgrade(t *testing.T) {
	url := pgtest.URL(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	before, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("."))
	if err == nil {
		_, err = before.UpTo(t.Context(), 5)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO work_items (repository, issue, full_name, labels, pull_request, head_sha) VALUES
			('acme/demo', 1, 'Acme/Demo', '{bug,state:approved}', 11, 'sha1'),
			('acme/demo', 2, 'Acme/Demo', '{state:in-review}', 12, 'sha2'),
			('acme/demo', 3, 'Acme/Demo', '{}', 0, '')`,
		`INSERT INTO github_comments (repository, issue, comment_id, version) VALUES ('acme/demo', 1, 9, 4), ('acme/demo', 2, 10, 3)`,
		`INSERT INTO actions (key, function, state, result) VALUES
			('github-status acme/demo#1 sha1 codexk8s/dev', 'github-caller', 'done', '{"version": 4}'),
			('github-status acme/demo#1 sha0 with a name', 'github-caller', 'done', '{"version": 2}'),
			('llm r-1', 'llm-caller', 'planned', NULL)`,
	} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := migrations.Up(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"approvals": [{"by": "", "sha": "sha1", "review": 0}], "delivered": true}`, `{"delivered": true}`, `{}`,
		`{"status sha0 with a name": 2, "status sha1 codexk8s/dev": 4}`, `{}`,
	}
	rows, err := db.QueryContext(t.Context(), `
		SELECT doc
		FROM (SELECT 1 AS part, issue, pull::text AS doc FROM work_items
		      UNION ALL
		      SELECT 2, issue, parts::text FROM github_comments) docs
		ORDER BY part, issue
	`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var doc string
		if err := rows.Scan(&doc); err != nil {
			t.Fatal(err)
		}
		got = append(got, doc)
	}
	if diff := cmp.Diff(want, got); diff != "" || rows.Err() != nil {
		t.Errorf("%v (-want +got):\n%s", rows.Err(), diff)
	}
}
