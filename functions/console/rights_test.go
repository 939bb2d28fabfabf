package main

import (
	"net/http"
	"strings"
	"testing"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/shared/approval"
)

// reads are all that can be read about a run, as page and by the API.
var reads = []string{"/runs/%", "/v1/runs/%", "/v1/runs/%/timeline", "/v1/runs/%/log", "/approvals/%", "/v1/approvals/%"}

// TestWhoMayRead walks what can be read × who asks × one's own, another project's and no object. What is not one's own
// answers as what is not there, to the letter.
func TestWhoMayRead(t *testing.T) {
	f := setup(t)
	ours, theirRequest := f.ask(runC, "shop", nil).ID, f.ask(theirs, "api", nil).ID
	walked := 0
	for _, login := range append(people, "") {
		p := f.visitor()
		if login == "eve" {
			if status, body := p.get(p.signIn(login)); status != http.StatusForbidden || !strings.Contains(body, "no role") {
				t.Errorf("who has no role signs in: %d", status)
			}
		} else if login != "" {
			p = f.as(login)
		}
		for _, read := range reads {
			var answers [3]string
			objects := []string{runA, theirs, missing}
			if strings.Contains(read, "approvals") {
				objects = []string{ours, theirRequest, missing}
			}
			for i, id := range objects {
				walked++
				status, body := p.get(strings.ReplaceAll(read, "%", id))
				answers[i] = strings.ReplaceAll(body, id, "ID")
				if want := f.mayRead(login, i, strings.HasPrefix(read, "/v1/")); status != want {
					t.Errorf("%q reads %s of object %d: %d, want %d", login, read, i, status, want)
				}
			}
			if login == "mary" && answers[1] != answers[2] {
				t.Errorf("%s tells what is another project's from what is not there", read)
			}
		}
	}
	if walked != 7*6*3 {
		t.Errorf("%d were walked", walked)
	}
}

// mayRead is the answer to somebody who asks for shop's (0), api's (1) or no (2) object.
func (f *fixture) mayRead(login string, object int, program bool) int {
	in := map[string]bool{"olga": object < 2, "adam": object == 0, "mary": object == 0, "rita": object == 0, "paul": object == 1}
	_, member := in[login]
	switch {
	case !member && program:
		return http.StatusUnauthorized
	case !member:
		return http.StatusOK // the page to sign in
	case !in[login]:
		return http.StatusNotFound
	}
	return http.StatusOK
}

// TestListsShowOnesOwn: a list has nothing of a project in which one has no role, whatever its filter says.
func TestListsShowOnesOwn(t *testing.T) {
	f := setup(t)
	for login, want := range map[string]map[string]string{
		"olga": {"": "theirs", "project:api": "theirs", "project:shop": "ours", "state:succeeded": "theirs"},
		"rita": {"": "ours", "project:api": "", "issue:acme/api%231": "", "state:succeeded": "", "issue:ACME/shop%2312": "ours"},
		"paul": {"": "theirs", "project:shop": ""},
	} {
		p := f.as(login)
		for q, want := range want {
			var list api.RunList
			if status := p.read("/v1/runs?q="+q, &list); status != http.StatusOK {
				t.Fatalf("%s: %d", login, status)
			}
			got := ""
			for _, r := range list.Items {
				if r.Project == "api" {
					got = "theirs"
				} else if got == "" {
					got = "ours"
				}
			}
			if got != want {
				t.Errorf("%s with %q sees %q, want %q", login, q, got, want)
			}
		}
	}
}

// TestRequestsShowOnesOwn: so do the requests, on the first page and in the API.
func TestRequestsShowOnesOwn(t *testing.T) {
	f := setup(t)
	f.ask(runC, "shop", nil)
	f.ask(theirs, "api", func(r *approval.Request) { r.Title = "Theirs" })
	for login, want := range map[string][2]bool{"olga": {true, true}, "rita": {true, false}, "paul": {false, true}} {
		for _, path := range []string{"/", "/v1/approvals"} {
			_, body := f.as(login).get(path)
			if got := [2]bool{strings.Contains(body, "Write the secret"), strings.Contains(body, "Theirs")}; got != want {
				t.Errorf("%s sees at %s shop's and api's: %v, want %v", login, path, got, want)
			}
		}
	}
}

// TestARoleThatIsTakenCountsAtOnce: rights are read with each request.
func TestARoleThatIsTakenCountsAtOnce(t *testing.T) {
	f := setup(t)
	p := f.as("mary")
	f.sql.Do(`UPDATE members SET login = 'other' WHERE login = 'mary'`) // what she is called does not matter
	if status, _ := p.get("/v1/runs/" + runA); status != http.StatusOK {
		t.Errorf("after another login: %d", status)
	}
	f.sql.Do(`DELETE FROM members WHERE login = 'other'`)
	if status, _ := p.get("/v1/runs/" + runA); status != http.StatusUnauthorized {
		t.Errorf("after her last role was taken: %d", status)
	}
	f.sql.Do(`INSERT INTO members (project_id, login, role, github_id) VALUES ('shop', 'mary', 'maintainer', 999999)`)
	q := f.visitor()
	if status, _ := q.get(q.signIn("mary")); status != http.StatusForbidden {
		t.Errorf("an account that is not the member's signs in by the login alone: %d", status)
	}
}
