package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"codexk8s.dev/shared/stage"
)

// ofIssue is the label of issue 1 on another one.
func ofIssue(n int) string {
	body := strings.Replace(fmt.Sprintf(labeled, "alice"), `"number":1`, fmt.Sprintf(`"number":%d`, n), 1)
	return strings.Replace(body, "/issues/1", fmt.Sprintf("/issues/%d", n), 1)
}

// TestFortyLabelsAtOnceAreAStorm: however many are handled at the same time, as many start as the rule allows, and one
// of the others tells of all that are held.
func TestFortyLabelsAtOnceAreAStorm(t *testing.T) {
	f := setup(t)
	var wg sync.WaitGroup
	for n := range 40 {
		f.sql.Log("https://github.com/acme/demo", fmt.Sprint("storm-", n), "dev.knative.source.github.issues", []byte(ofIssue(n+1)))
		wg.Go(func() {
			if status := f.post(fmt.Sprint("storm-", n), "dev.knative.source.github.issues", "https://github.com/acme/demo", ofIssue(n+1)); status != 202 {
				t.Errorf("issue %d: %d", n+1, status)
			}
		})
	}
	wg.Wait()
	allowed := stage.Default().Storm.Runs
	f.want("what starts, what is held, and who tells of it", `
		SELECT (SELECT count(*) FROM runs) || ' ' || count(held) || ' ' || count(*) FILTER (WHERE held @> '{"told": true}') || ' ' || count(*) FILTER (WHERE note <> '')
		FROM work_items
	`, fmt.Sprintf("%d %d 1 1", allowed, 40-allowed))
	timer := f.lines(`SELECT source || ' ' || id || ' ' || convert_from(data, 'UTF8') FROM events WHERE type = 'dev.codexk8s.storm.due'`)
	if len(timer) != 1 {
		t.Fatalf("%d timers", len(timer))
	}
	parts := strings.SplitN(timer[0], " ", 3)
	if status := f.post(parts[1], "dev.codexk8s.storm.due", parts[0], parts[2]); status != 202 {
		t.Fatal(status)
	}
	note := f.lines(`SELECT note FROM work_items WHERE held @> '{"told": true}'`)[0]
	if got := strings.Count(note, "#"); got != 40-allowed-1 {
		t.Errorf("the comment names %d issues:\n%s", got, note)
	}
}
