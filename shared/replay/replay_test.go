package replay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/replay"
	"codexk8s.dev/shared/stage"
)

// newReplay compares the built-in process with a changed one, for members who are all maintainers.
func newReplay(t *testing.T, replaced ...string) (*replay.Replay, *[]replay.Issue) {
	t.Helper()
	process := stage.Default()
	changed, err := stage.Parse([]byte(strings.NewReplacer(replaced...).Replace(process.Text)))
	if err != nil {
		t.Fatal(err)
	}
	var told []replay.Issue
	return &replay.Replay{
		Home: func(id int64, name string) (replay.Home, error) {
			return replay.Home{Key: name, Name: name, ID: id, Process: process, Changed: changed}, nil
		},
		Project: func(string, stage.Person) (*stage.Project, error) {
			return &stage.Project{ID: "shop", SenderRole: access.Maintainer}, nil
		},
		Differs: func(i replay.Issue) error { told = append(told, i); return nil },
	}, &told
}

// issue is what GitHub says of an issue with one label, or none.
func issue(n int, action, label string, at time.Time) event.Event {
	labels := ""
	if label != "" {
		labels = fmt.Sprintf(`{"name":%q}`, label)
	}
	e := event.New()
	e.SetID(fmt.Sprintf("%d-%s-%s", n, action, label))
	e.SetSource("https://github.com/acme/shop")
	e.SetType(events.GitHubType("issues"))
	_ = e.SetData(event.ApplicationJSON, []byte(fmt.Sprintf(`{"action":%q,"label":{"name":%q},"issue":{"number":%d,"state":%q,"labels":[%s],"updated_at":%q},
		"repository":{"full_name":"acme/shop"},"sender":{"login":"alice","id":1,"type":"User"}}`,
		action, label, n, map[bool]string{true: "closed", false: "open"}[action == "closed"], labels, at.Format(time.RFC3339))))
	return e
}

// requested is the log's word that the label started a run.
func requested(n int, label string, at time.Time) event.Event {
	id := events.DeriveID("run", stage.LabelIntent("acme/shop", n, label, at, ""))
	e, _ := events.New(issue(n, "labeled", label, at), "stage-router", 0, events.Now(events.RunRequested{RunRef: events.RunRef{RunID: id, Repository: "acme/shop", Issue: n}}))
	return e
}

func play(t *testing.T, r *replay.Replay, at time.Time, es ...event.Event) {
	t.Helper()
	for _, e := range es {
		if err := r.Play(e, at); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMemoryHoldsWhatIsInFlight, however many issues have been closed.
func TestMemoryHoldsWhatIsInFlight(t *testing.T) {
	r, told := newReplay(t)
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for n := 1; n <= 1000; n++ {
		at = at.Add(time.Minute)
		play(t, r, at, issue(n, "opened", "", at), issue(n, "labeled", "run:dev", at), requested(n, "run:dev", at), issue(n, "closed", "run:dev", at.Add(time.Second)))
		play(t, r, at, issue(n+5000, "labeled", "bug", at))
	}
	if err := r.End(); err != nil {
		t.Fatal(err)
	}
	if r.Total.Held > 1 || r.Total.Same != 1000 || r.Total.Changed != 1000 || r.Total.Left != 0 || len(*told) != 0 {
		t.Errorf("%+v, told of %d issues", r.Total, len(*told))
	}
}

// TestWhatIsNotInTheLogIsNotMadeUp: a run that only the changed process starts ends with the next act of a person, and
// an issue that the present process does not replay as recorded is left out.
func TestWhatIsNotInTheLogIsNotMadeUp(t *testing.T) {
	r, told := newReplay(t, "label: run:dev\n", "label: run:docs\n")
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	play(t, r, at, issue(1, "labeled", "run:docs", at))
	at = at.Add(time.Hour)
	play(t, r, at, issue(1, "labeled", "run:docs", at))
	play(t, r, at, issue(2, "labeled", "run:dev", at)) // and the log has no run of it
	play(t, r, at, requested(3, "run:dev", at))        // nor the label of this one
	if err := r.End(); err != nil {
		t.Fatal(err)
	}
	if len(*told) != 1 || len((*told)[0].Differences) != 2 || r.Total.Left != 2 {
		t.Fatalf("%+v of %+v", *told, r.Total)
	}
	for i, d := range (*told)[0].Differences {
		if !strings.HasPrefix(d.Is, "starts run:docs") || d.Was != "starts nothing (unknown_stage)" || d.Follows != (i > 0) {
			t.Errorf("%+v", d)
		}
	}
}

// TestAStormIsReplayed: a rule that lets fewer start holds the others, as it would have then.
func TestAStormIsReplayed(t *testing.T) {
	r, told := newReplay(t, "storm: {runs: 30,", "storm: {runs: 2,")
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for n := 1; n <= 4; n++ {
		if n == 4 {
			at = at.Add(time.Hour)
		}
		play(t, r, at, issue(n, "labeled", "run:dev", at), requested(n, "run:dev", at))
	}
	if err := r.End(); err != nil {
		t.Fatal(err)
	}
	if len(*told) != 1 || (*told)[0].Key != "acme/shop#3" || (*told)[0].Differences[0].Is != "is held (storm)" || r.Total.Left != 0 {
		t.Errorf("%+v of %+v", *told, r.Total)
	}
}
