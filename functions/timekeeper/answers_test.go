package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/github"
	"codexk8s.dev/test/hostile"
)

// answers are what GitHub says to a comparison, by path: a lost delivery and a label without a webhook.
func answers(ago string) map[string]string {
	const who = `{"login":"ann","id":5,"type":"User"}`
	repository := `{"id":77,"full_name":"acme/api","default_branch":"main","clone_url":"https://github.example/acme/api.git"}`
	issue := `{"number":1,"title":"T","body":"B","html_url":"https://github.example/acme/api/issues/1","state":"open","updated_at":"` + ago + `","labels":[{"name":"run:dev"}],"user":` + who + `}`
	return map[string]string{
		"/user": who, "/users/ann": who, "/repos/acme/api": repository, "/repositories/77": repository,
		"/repos/acme/api/hooks":                `[{"id":9,"active":true,"events":["*"],"config":{"url":"https://platform.example/github"}}]`,
		"/repos/acme/api/hooks/9/deliveries":   `[{"id":3,"guid":"g-3","delivered_at":"` + ago + `","event":"issues","action":"labeled"}]`,
		"/repos/acme/api/hooks/9/deliveries/3": `{"id":3,"guid":"g-3","event":"issues","request":{"headers":{"X-GitHub-Hook-ID":"9"},"payload":{"action":"labeled","label":{"name":"run:dev"},"issue":` + issue + `,"repository":` + repository + `}}}`,
		"/repos/acme/api/issues":               `[` + issue + `,` + strings.Replace(issue, `"number":1`, `"number":2`, 1) + `]`,
		"/repos/acme/api/issues/1":             issue,
		"/graphql":                             `{"data":{"repository":{"issue":{"lastEditedAt":"` + ago + `","editor":{"login":"ann","databaseId":5}}}}}`,
		"/repos/acme/api/issues/1/events":      `[{"id":11,"event":"labeled","label":{"name":"run:dev"},"created_at":"` + ago + `","actor":` + who + `}]`,
		"/repos/acme/api/issues/2/events":      `[{"id":12,"event":"labeled","label":{"name":"run:dev"},"created_at":"` + ago + `","actor":` + who + `}]`,
	}
}

// TestHostileAnswersOfGitHub: whatever one of GitHub's answers holds, the tick is over, and so it is for the rest.
func TestHostileAnswersOfGitHub(t *testing.T) {
	f := setup(t)
	f.exec(`INSERT INTO projects (id, name) VALUES ('p', 'P')`)
	f.exec(`INSERT INTO members (project_id, login, role) VALUES ('p', 'ann', 'maintainer')`)
	sane := answers(time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	said := map[string]string{}
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, known := said[r.URL.Path]
		if !known {
			body, known = sane[r.URL.Path]
		}
		if !known {
			http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(hub.Close)
	compare := func() int {
		t.Helper()
		f.exec(`DELETE FROM repositories`)
		f.exec(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/api', 'p')`)
		f.exec(`UPDATE members SET github_id = NULL`)
		var err error
		f.h.clients, err = github.Open(github.Config{URL: hub.URL, Token: "t"})
		must(t, err)
		f.h.tried = nil
		code, _ := f.call("POST", "/", map[string]string{"ce-specversion": "1.0", "ce-id": "t", "ce-source": "/ping", "ce-type": "dev.knative.sources.ping"}, "")
		return code
	}
	for path, template := range sane {
		t.Run(strings.ReplaceAll(path, "/", " "), func(t *testing.T) {
			list := strings.HasPrefix(template, "[")
			if list { // the tool wants an object
				template = `{"all":` + template + `}`
			}
			for _, c := range hostile.Cases(t, template) {
				body := string(c.Data)
				if list {
					body = strings.TrimSuffix(strings.TrimPrefix(body, `{"all":`), `}`)
				}
				said = map[string]string{path: body}
				if code := compare(); code != http.StatusAccepted {
					t.Errorf("%s: the tick is answered %d", c.Name, code)
				}
			}
		})
	}
	said = nil
	if code := compare(); code != http.StatusAccepted {
		t.Errorf("in the end the tick is answered %d", code)
	}
	f.want("the repository", f.lines(`SELECT name || ' ' || github_id || ' ' || hook_id || ' ' || (reconciled_at IS NOT NULL) FROM repositories`), []string{"acme/api 77 9 true"})
}

// TestOneIssueThatCannotBeKeptHoldsUpNoOther: GitHub counts further than the database does.
func TestOneIssueThatCannotBeKeptHoldsUpNoOther(t *testing.T) {
	f := setup(t)
	f.exec(`INSERT INTO projects (id, name) VALUES ('p', 'P')`)
	f.exec(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/api', 'p')`)
	sane := answers(time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	sane["/repos/acme/api/issues"] = strings.Replace(sane["/repos/acme/api/issues"], `"number":1`, `"number":9007199254740993`, 1)
	sane["/repos/acme/api/issues/9007199254740993/events"] = sane["/repos/acme/api/issues/1/events"]
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(sane[r.URL.Path])) }))
	t.Cleanup(hub.Close)
	var err error
	f.h.clients, err = github.Open(github.Config{URL: hub.URL, Token: "t"})
	must(t, err)
	must(t, f.h.compare(t.Context(), time.Now()))
	f.want("told of", f.lines(`SELECT work_item FROM audit WHERE action = 'label.observed'`), []string{"acme/api#2"})
}
