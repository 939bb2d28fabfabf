package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A telling is an issues payload as GitHub sends it; each edit gives a member its JSON, by its path.
func telling(t *testing.T, issue int, action, label string, edits map[string]string) string {
	t.Helper()
	root := map[string]any{
		"action": action, "label": map[string]any{"name": label},
		"issue": map[string]any{
			"number": issue, "title": "A greeting", "body": "In French.", "state": "open", "labels": []any{map[string]any{"name": label}},
			"updated_at": "2026-11-01T12:00:00Z", "user": map[string]any{"login": "alice", "id": 1, "type": "User"},
		},
		"repository": map[string]any{"id": 77, "full_name": "acme/demo", "default_branch": "main"},
		"sender":     map[string]any{"login": "alice", "id": 1, "type": "User"},
	}
	for path, text := range edits {
		node, steps := root, strings.Split(path, ".")
		for _, step := range steps[:len(steps)-1] {
			node, _ = node[step].(map[string]any)
		}
		node[steps[len(steps)-1]] = json.RawMessage(text)
	}
	data, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestTheWaysOfGitHubsIssues: who may be behind an event, how labels may be spelled, and what an issue may be.
func TestTheWaysOfGitHubsIssues(t *testing.T) {
	f := setup(t)
	f.lines(`INSERT INTO members (project_id, login, role) VALUES ('demo', 'robot[bot]', 'maintainer') RETURNING login`)
	const dev = "run:dev"
	many := `{"name":""},null,{},{"name":null},{"name":"run:dev"},{"name":"\u540d\u524d"},{"name":"` + strings.Repeat("🚀", 50) + `"},{"name":"a\u2028b"},{"name":"\ud800"}`
	for n := range 120 {
		many += fmt.Sprintf(`,{"name":"area/%d","id":9007199254740993,"color":"ededed"}`, n)
	}
	issue := 0
	for name, c := range map[string]struct {
		label string
		edits map[string]string
		want  string // the state of the run, or why there is none
	}{
		"a person with the right":               {dev, nil, "starting"},
		"in capitals":                           {"RUN:DEV", nil, "starting"},
		"a deleted account":                     {dev, map[string]string{"sender": `{"login":"ghost","id":10137,"type":"User"}`}, "sender_not_permitted"},
		"nobody":                                {dev, map[string]string{"sender": `null`}, "sender_missing"},
		"a program that is a member":            {dev, map[string]string{"sender": `{"login":"robot[bot]","id":5,"type":"Bot"}`}, "sender_is_bot"},
		"a program whose type was lost":         {dev, map[string]string{"sender": `{"login":"robot[bot]","id":5}`}, "sender_is_bot"},
		"an organisation":                       {dev, map[string]string{"sender": `{"login":"acme","id":6,"type":"Organization"}`}, "sender_not_permitted"},
		"the author of the issue, a stranger":   {dev, map[string]string{"sender": `{"login":"bob","id":7,"type":"User"}`, "issue.user": `{"login":"bob","id":7}`}, "sender_not_permitted"},
		"with a no-break space at its end":      {"run:dev\u00a0", nil, "unknown_stage"},
		"with another dash":                     {"run\u2236dev", nil, ""},
		"no name":                               {"", nil, ""},
		"no label":                              {dev, map[string]string{"label": `null`}, ""},
		"blocked, in capitals":                  {dev, map[string]string{"issue.labels": `[{"name":"run:dev"},{"name":"State:BLOCKED"}]`}, "blocked"},
		"blocked, with the sign of Kelvin":      {dev, map[string]string{"issue.labels": `[{"name":"run:dev"},{"name":"state:bloc\u212aed"}]`}, "blocked"},
		"nearly blocked, with a Turkish letter": {dev, map[string]string{"issue.labels": `[{"name":"run:dev"},{"name":"need:\u0130nput"}]`}, "starting"},
		"two stages, spelled in two ways":       {dev, map[string]string{"issue.labels": `[{"name":"run:dev"},{"name":"RUN:Dev"}]`}, "starting"},
		"a closed issue":                        {dev, map[string]string{"issue.state": `"closed"`}, "issue_closed"},
		"129 labels of every sort":              {dev, map[string]string{"issue.labels": "[" + many + "]"}, "starting"},
		"a pinned issue with a draft's fields":  {dev, map[string]string{"issue.pinned_at": `"2026-11-01T12:00:00Z"`, "issue.draft": `true`, "issue.state_reason": `"reopened"`}, "starting"},
		"a number as GitHub never writes it":    {dev, map[string]string{"issue.id": `1e400`}, "starting"},
		"a login that is a path":                {dev, map[string]string{"sender": `{"login":"../alice","id":8,"type":"User"}`}, "sender_not_permitted"},
		"an account with a number below zero":   {dev, map[string]string{"sender": `{"login":"mallory","id":-1,"type":"User"}`}, "sender_not_permitted"},
		"a locked issue":                        {dev, map[string]string{"issue.locked": `true`, "issue.active_lock_reason": `"too heated"`}, "starting"},
		"an issue without a body":               {dev, map[string]string{"issue.body": `null`}, "starting"},
		"an issue of a deleted account":         {dev, map[string]string{"issue.user": `null`}, "starting"},
		"a time in seconds":                     {dev, map[string]string{"issue.updated_at": `1793534400`}, "starting"},
		"no time":                               {dev, map[string]string{"issue.updated_at": `null`}, "starting"},
		"a program on a person's behalf":        {dev, map[string]string{"issue.performed_via_github_app": `{"id":1,"slug":"x"}`}, "starting"},
		"keys that are not known":               {dev, map[string]string{"issue.type": `{"name":"Bug"}`, "enterprise": `{"id":1}`, "issue.sub_issues_summary": `{"total":1}`}, "starting"},
	} {
		issue++
		before := f.count(`SELECT coalesce(max(seq), 0) FROM audit`)
		if got := f.deliver(name, "issues", telling(t, issue, "labeled", c.label, c.edits)); got != http.StatusAccepted {
			t.Errorf("%s: answered %d", name, got)
		}
		got := append(f.lines(fmt.Sprintf(`SELECT state FROM runs WHERE issue = %d`, issue)),
			f.lines(fmt.Sprintf(`SELECT reason FROM audit WHERE seq > %d AND action = 'label.ignored'`, before))...)
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		f.lines(`UPDATE runs SET state = 'failed', finished_at = now() WHERE finished_at IS NULL RETURNING state`)
	}
}

// TestATimeThatNoClockShowsIsNone: an event of the year 9999 would make all later ones old, and its run would go on
// whatever people do.
func TestATimeThatNoClockShowsIsNone(t *testing.T) {
	for name, stop := range map[string]struct{ action, label, state string }{
		"aborted": {"labeled", "run:abort", `"open"`}, "closed": {"closed", "", `"closed"`},
	} {
		f := setup(t)
		f.deliver("1", "issues", telling(t, 1, "labeled", "run:dev", map[string]string{"issue.updated_at": `"9999-12-31T23:59:59Z"`}))
		f.deliver("2", "issues", telling(t, 1, stop.action, stop.label, map[string]string{"issue.state": stop.state, "repository.full_name": `"acme/renamed"`}))
		if diff := cmp.Diff([]string{"cancelled"}, f.lines(`SELECT state FROM runs`)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		f.want("the repository's name", `SELECT name FROM repositories`, "acme/renamed")
	}
}

// TestAnIssueThatLeavesTakesItsRunAlong, whatever came between.
func TestAnIssueThatLeavesTakesItsRunAlong(t *testing.T) {
	f := setup(t)
	for i, action := range []string{"transferred", "deleted", "closed", "locked", "pinned", "typed", "converted_to_discussion", "unassigned", "demilestoned"} {
		f.deliver(fmt.Sprint("label-", i), "issues", telling(t, i+1, "labeled", "run:dev", nil))
		edits := map[string]string{"issue.updated_at": `"2026-11-01T12:05:00Z"`, "changes": `{"new_repository":{"full_name":"else/where"},"new_issue":{"number":9}}`}
		if action == "closed" {
			edits["issue.state"], edits["issue.state_reason"] = `"closed"`, `"duplicate"`
		}
		if got := f.deliver(action, "issues", telling(t, i+1, action, "", edits)); got != http.StatusAccepted {
			t.Errorf("%s: answered %d", action, got)
		}
	}
	f.want("runs", `SELECT issue || ' ' || state || ' ' || reason FROM runs ORDER BY issue`,
		"1 cancelled issue_transferred", "2 cancelled issue_deleted", "3 cancelled issue_closed", "4 starting ", "5 starting ", "6 queued ",
		"7 queued ", "8 queued ", "9 queued ")
}

// TestTheWaysOfGitHubsPullRequests: what changes what is shown of an approved pull request, and what does not.
func TestTheWaysOfGitHubsPullRequests(t *testing.T) {
	const ready, again = "Approved by alice at `sha1`. Ready to merge.", "Review the pull request: *Request changes* starts `run:dev:revise`, and so does the label."
	moved := strings.Replace(isOpen, "sha1", "sha2", 1)
	for name, c := range map[string]struct {
		acts []string
		want string // the comment's last line
	}{
		"a merge that is to happen by itself": {[]string{pull("auto_merge_enabled", isOpen, ""), pull("auto_merge_disabled", isOpen, "")}, ready},
		"the merge queue":                     {[]string{pull("enqueued", isOpen, ""), pull("dequeued", isOpen, `,"reason":"CI_FAILURE"`)}, ready},
		"people and milestones":               {[]string{pull("assigned", isOpen, ""), pull("review_requested", isOpen, ""), pull("milestoned", isOpen, ""), pull("locked", isOpen, "")}, ready},
		"forced on and back":                  {[]string{pull("synchronize", moved, ""), pull("synchronize", isOpen, "")}, ready},
		"a draft":                             {[]string{pull("converted_to_draft", isOpen+`,"draft":true`, "")}, "Mark the pull request as ready for review to go on."},
		"a draft no more":                     {[]string{pull("converted_to_draft", isOpen+`,"draft":true`, ""), pull("ready_for_review", isOpen+`,"draft":false`, "")}, ready},
		"another base":                        {[]string{strings.Replace(pull("edited", isOpen, `,"changes":{"base":{}}`), `"ref":"main"`, `"ref":"next"`, 1)}, again},
		"another one of a fork":               {[]string{strings.NewReplacer(`"number":2`, `"number":3`, `"sha":"sha1","repo":{"full_name":"acme/demo"}`, `"sha":"sha9","repo":{"full_name":"mallory/demo"}`).Replace(pull("opened", isOpen, ""))}, ready},
		"its branch deleted with the fork":    {[]string{strings.Replace(pull("edited", isOpen, ""), `"sha":"sha1","repo":{"full_name":"acme/demo"}`, `"sha":"sha1","repo":null`, 1)}, ready},
		"merged":                              {[]string{pull("closed", isMerged, "")}, "The pull request is merged. `run:dev` on the open issue starts another one."},
		"merged, and late news of an edit":    {[]string{pull("closed", isMerged, ""), pull("edited", isOpen, "")}, "The pull request is merged. `run:dev` on the open issue starts another one."},
	} {
		t.Run(name, func(t *testing.T) {
			f := reviewed(t)
			f.deliver("approved", "pull_request_review", pull("submitted", isOpen, review(7, "approved", "sha1")))
			for i, payload := range c.acts {
				if got := f.deliver(fmt.Sprint(i), "pull_request", payload); got != http.StatusAccepted {
					t.Errorf("answered %d", got)
				}
			}
			_, last, _ := strings.Cut(f.shown(), "]: ")
			if diff := cmp.Diff(c.want, last); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
