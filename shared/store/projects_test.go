package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/project"
)

// What the file says is added and changed; what it leaves out stays, and so do the numbers that were learnt. A file
// with a fault that only the database can know changes nothing.
func TestTheFileAddsAndChanges(t *testing.T) {
	w := newWorld(t)
	db := w.as("migrate")
	save := func(text string) error {
		t.Helper()
		f, err := project.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return db.SaveProjects(t.Context(), f)
	}
	want := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, w.sql.Lines(`
			SELECT id || ' ' || name || ' ' || settings FROM projects
			UNION ALL SELECT full_name || ' ' || project_id || ' ' || coalesce(github_id, 0) FROM repositories
			UNION ALL SELECT project_id || ' ' || login || ' ' || role FROM members
			ORDER BY 1
		`)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	if err := save("projects: [{id: blog, repositories: [acme/blog]}, {id: shop, settings: {keep: 2h}, members: {bob: reader}}]"); err != nil {
		t.Fatal(err)
	}
	want("added", "acme/blog blog 0", "acme/shop shop 0", "blog blog {}", "shop bob reader", `shop shop {"keep": "2h"}`)
	w.sql.Do(`UPDATE repositories SET github_id = 7, name = 'Acme/Weblog' WHERE full_name = 'acme/blog'`)
	if err := save("projects: [{id: shop, name: The shop, repositories: [acme/weblog], members: {bob: admin}}]"); err != nil {
		t.Fatal(err)
	}
	want("changed", "acme/blog shop 7", "acme/shop shop 0", "blog blog {}", "shop The shop {}", "shop bob admin")
	if err := save("projects: [{id: blog, repositories: [acme/weblog, acme/new]}, {id: shop, repositories: [acme/blog]}]"); err == nil {
		t.Error("one repository is bound twice")
	}
	want("after a refusal", "acme/blog shop 7", "acme/shop shop 0", "blog blog {}", "shop The shop {}", "shop bob admin")
	if p, r, err := db.Bound(t.Context()); err != nil || p != 2 || r != 2 {
		t.Errorf("%d projects, %d repositories, %v", p, r, err)
	}
}
