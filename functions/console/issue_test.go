package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/functions/console/internal/api"
)

// TestAnIssue: where it stands, what may follow, what happened and why, and what it has cost.
func TestAnIssue(t *testing.T) {
	f := setup(t)
	f.sql.Do(`INSERT INTO audit (actor, action, work_item, reason, detail, function) VALUES ('github:eve', 'label.ignored', 'acme/shop#12', 'sender_not_permitted', 'eve has no role', 'stage-router')`)
	f.sql.Do(`UPDATE work_items SET labels = '{profile:quick-fix}', profile = 'quick-fix' WHERE issue = 12`)
	mary := f.as("mary")
	var d api.IssueDetail
	if status := mary.read("/v1/issues/ACME/shop/12", &d); status != http.StatusOK {
		t.Fatal(status)
	}
	got := map[string]string{}
	for _, s := range d.Stages {
		got[s.Name] = string(s.State)
	}
	want := map[string]string{
		"intake": "ahead", "vision": "skipped", "prd": "skipped", "arch": "skipped", "design": "skipped", "plan": "ahead", "dev": "failed", "qa": "ahead", "release": "ahead",
		"postdeploy": "ahead", "ops": "ahead", "doc-audit": "ahead", "self-improve": "ahead", "rethink": "ahead",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if d.Profile != "quick-fix" || !d.Known || d.Project != "shop" || d.Calls != 1 || d.CostMicrousd != 81340 || len(d.Runs) != 1 {
		t.Errorf("%+v", d)
	}
	does := map[string]api.ProspectDoes{}
	for _, p := range d.Prospects {
		does[p.Act] = p.Does
	}
	if does["run:dev"] != api.Starts || does["run:arch"] != api.Nothing || does["run:abort"] != api.Nothing {
		t.Errorf("what may follow: %v", does)
	}
	if a := d.Acts[0]; a.Reason != "sender_not_permitted" || a.Advice == "" || a.Actor != "github:eve" {
		t.Errorf("what happened last: %+v", a)
	}
	_, page := mary.get("/issues/acme/shop/14") // the pull request of issue 12
	for _, part := range []string{"acme/shop/12/start?label=run%3adev", "sender not permitted", `id="stage-dev"`} {
		if !strings.Contains(strings.ToLower(page), strings.ToLower(part)) {
			t.Errorf("the page lacks %q", part)
		}
	}
	if _, page := f.as("rita").get("/issues/acme/shop/12"); strings.Contains(page, "/start?") {
		t.Error("a reader is offered to start runs")
	}
}

// TestIssuesAreOnesOwn: another project's issue answers as one that there is not, to the letter.
func TestIssuesAreOnesOwn(t *testing.T) {
	f := setup(t)
	mary := f.as("mary")
	for _, path := range []string{"/issues/", "/v1/issues/"} {
		status, foreign := mary.get(path + "acme/api/1")
		_, none := mary.get(path + "acme/ipa/1")
		if status != http.StatusNotFound || strings.ReplaceAll(foreign, "acme/api", "R") != strings.ReplaceAll(none, "acme/ipa", "R") {
			t.Errorf("%s tells another project's issue from none: %d", path, status)
		}
		for _, bad := range []string{"acme/shop/0", "acme/shop/x", "acme/shop/99999999999999999999", "acme/%00/1", "a%2Fcme/shop/1"} {
			if status, body := mary.get(path + bad); status != http.StatusNotFound && status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", bad, status, body)
			}
		}
		if status, _ := mary.get(path + "acme/shop/4711"); status != http.StatusOK {
			t.Errorf("%s: an issue of the project that nobody has heard of: %d", path, status)
		}
	}
	lists := func(login, of string) int {
		l, status := f.as(login).follow("of="+of, "")
		l.close()
		return status
	}
	for of, want := range map[string]int{"issue:Acme/Shop%2312": 200, "issue:acme/api%231": 404, "issue:acme/shop%23x": 404} {
		if got := lists("mary", of); got != want {
			t.Errorf("following %s: %d, want %d", of, got, want)
		}
	}
}
