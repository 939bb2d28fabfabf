package stage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
)

// What a run reports is kept by the name that its stage has for it; the next one takes its place, and keeps what others
// made.
func TestWhatARunHasMade(t *testing.T) {
	now, p := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), Default()
	p.Stages = append(p.Stages, Stage{Name: "sketch", Makes: []string{"sketch"}})
	was := []Artefact{
		{Stage: "qa", Name: "pull_request", Value: "7", Run: "q", MadeAt: now.Add(-time.Hour)},
		{Stage: "dev", Name: "pull_request", Value: "7", Run: "d", MadeAt: now.Add(-time.Hour)},
	}
	at := func(superseded ...bool) []Artefact {
		all := append([]Artefact{}, was...)
		for i, is := range superseded {
			if is {
				all[i].SupersededAt = now
			}
		}
		return all
	}
	next := Artefact{Stage: "dev", Name: "pull_request", Value: "9", Run: "r", MadeAt: now}
	for name, c := range map[string]struct {
		stage string
		pull  int
		had   []Artefact
		want  []Artefact
	}{
		"the first":                    {"dev", 9, nil, []Artefact{next}},
		"the same again":               {"dev", 7, was, was},
		"another one":                  {"dev", 9, was, append(at(false, true), next)},
		"the former one again":         {"dev", 7, append(at(false, true), next), append(at(), Artefact{Stage: "dev", Name: "pull_request", Value: "9", Run: "r", MadeAt: now, SupersededAt: now})},
		"none":                         {"dev", 0, was, was},
		"what its stage does not make": {"sketch", 9, was, was},
	} {
		item := Item{Repository: "acme/demo", Issue: 1, Process: p, Artefacts: c.had, Run: &Run{ID: "r", Stage: c.stage, State: Running}}
		got, _, err := Decide(item, Reported{events.AgentReported{RunRef: item.Ref(), Outcome: "succeeded", PullRequest: c.pull}}, now)
		if diff := cmp.Diff(c.want, got.Artefacts); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}
