package store_test

import (
	"errors"
	"testing"
	"time"

	"codexk8s.dev/shared/store"
)

// Who has the view of a work item is alone with it; what is shown never goes back to an older version.
func TestAViewIsOnesAlone(t *testing.T) {
	w := newWorld(t)
	first, err := w.as("github-caller").GitHubView(t.Context(), "acme/shop", 12)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := w.as("github-caller").GitHubView(t.Context(), "acme/shop", 13); err != nil || other.Close(t.Context()) != nil {
		t.Errorf("another work item waits: %v", err)
	}
	if _, err := w.as("github-caller").GitHubView(t.Context(), "acme/shop", 12); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second one at the same work item: %v", err)
	}
	err = errors.Join(first.Save(t.Context(), "labels", 3), first.Save(t.Context(), "labels", 2), first.SaveComment(t.Context(), 77, 5), first.SaveComment(t.Context(), 77, 4), first.Close(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.as("github-caller").GitHubView(t.Context(), "acme/shop", 12)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close(t.Context()) }()
	for name, ok := range map[string]bool{
		"labels of version 3":      again.Shows("labels", 3),
		"labels of version 2":      again.Shows("labels", 2),
		"the comment":              again.CommentID == 77,
		"the comment of version 5": again.ShowsComment(5),
	} {
		if !ok {
			t.Errorf("%s: not shown", name)
		}
	}
	if again.Shows("labels", 4) || again.Shows("status", 1) || again.ShowsComment(6) || again.Shows("labels", 0) {
		t.Error("what was never saved is shown")
	}
}

// A view that is dropped with its process leaves what it had saved undone, and the work item free.
func TestAViewThatIsNotClosedIsForgotten(t *testing.T) {
	w := newWorld(t)
	dying := w.as("github-caller")
	v, err := dying.GitHubView(t.Context(), "acme/shop", 12)
	if err == nil {
		err = v.SaveComment(t.Context(), 77, 5)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.sql.Do(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'github-caller' AND state = 'idle in transaction'`)
	next, err := w.as("github-caller").GitHubView(t.Context(), "acme/shop", 12)
	if err != nil || next.CommentID != 0 || next.ShowsComment(1) {
		t.Errorf("after a crash: %+v, %v", next, err)
	}
	if err == nil {
		_ = next.Close(t.Context())
	}
	if v.Close(t.Context()) == nil {
		t.Error("a view whose connection is gone was recorded")
	}
}

// The longest pause of a credential holds, and is over when its time has come.
func TestPauses(t *testing.T) {
	w := newWorld(t)
	db, until := w.as("github-caller"), w.now().Add(time.Hour)
	if err := errors.Join(db.PauseGitHub(t.Context(), "c", until, "limit"), db.PauseGitHub(t.Context(), "c", w.now().Add(time.Minute), "shorter")); err != nil {
		t.Fatal(err)
	}
	got, err := db.GitHubPause(t.Context(), "c")
	all, errAll := db.Pauses(t.Context())
	if err != nil || errAll != nil || !got.Equal(until) || len(all) != 1 || all[0].Reason != "limit" {
		t.Errorf("pause until %s, %v; %+v, %v", got, err, all, errAll)
	}
	w.pass(time.Hour)
	if got, err := db.GitHubPause(t.Context(), "c"); err != nil || !got.IsZero() {
		t.Errorf("after it: %s, %v", got, err)
	}
}
