package filter_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/functions/console/internal/filter"
	"codexk8s.dev/shared/stage"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]filter.Runs{
		"":                                      {},
		"  state:failed   stage:dev ":           {States: []stage.State{stage.Failed}, Stage: "dev"},
		"state:waiting,failed,waiting":          {States: []stage.State{stage.Failed, stage.Waiting}},
		"state:done":                            {States: []stage.State{stage.Cancelled, stage.Failed, stage.Succeeded, stage.TimedOut}},
		"by:@Ann project:shop":                  {By: "Ann", Project: "shop"},
		"Acme/Shop#12 role:dev":                 {Repository: "acme/shop", Issue: 12, Role: "dev"},
		"issue:acme/shop.js#1 model:gpt-5.4:hi": {Repository: "acme/shop.js", Issue: 1, Model: "gpt-5.4:hi"},
	} {
		got, err := filter.Parse(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"colour:red": "state:", "greeting": "no filter", "state:": "says nothing", "state:asleep": "active, done",
		"issue:12": "owner/name#12", "issue:a/b#0": "owner/name#12", "issue:a/b#9999999999": "owner/name#12", "state:failed,": "no state",
	} {
		if _, err := filter.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

func TestACursorBelongsToItsFilter(t *testing.T) {
	at, id := time.Date(2031, 5, 6, 7, 8, 9, 1000, time.UTC), "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8"
	f := filter.Runs{Project: "shop"}
	cursor := f.Cursor(at, id)
	gotAt, gotID, err := f.After(cursor)
	if !gotAt.Equal(at) || gotID != id || err != nil {
		t.Errorf("got %v, %q, %v", gotAt, gotID, err)
	}
	for name, err := range map[string]error{
		"of another filter": after(filter.Runs{Project: "api"}, cursor),
		"of nobody":         after(f, "x"),
		"of no run":         after(f, f.Cursor(at, "' OR 1=1")),
		"of no time":        after(f, f.Cursor(time.Time{}, id)),
	} {
		if !errors.Is(err, filter.ErrCursor) {
			t.Errorf("a cursor %s: %v", name, err)
		}
	}
}

func after(f filter.Runs, cursor string) error {
	_, _, err := f.After(cursor)
	return err
}
