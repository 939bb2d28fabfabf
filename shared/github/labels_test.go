package github

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
)

func TestLabelDrift(t *testing.T) {
	there := func(name, colour, description string) *gh.Label {
		return &gh.Label{Name: &name, Color: &colour, Description: &description}
	}
	plan := events.RepositoryLabel{Name: "run:plan", Colour: "1d76db", Description: "Plans"}
	dev := events.RepositoryLabel{Name: "run:dev", Colour: "1d76db", Description: "Works"}
	twin := events.RepositoryLabel{Name: "run:twin", Colour: "1d76db", Description: "Works"}
	for name, c := range map[string]struct {
		there []*gh.Label
		want  []events.RepositoryLabel
		diff  []LabelChange
	}{
		"as wanted":          {[]*gh.Label{there("bug", "d73a4a", "Broken"), there("Run:Dev", "1D76DB", "Works")}, []events.RepositoryLabel{dev}, nil},
		"deleted, or never":  {nil, []events.RepositoryLabel{plan, dev}, []LabelChange{{"", plan}, {"", dev}}},
		"recoloured":         {[]*gh.Label{there("RUN:dev", "ededed", "Works")}, []events.RepositoryLabel{dev}, []LabelChange{{"RUN:dev", dev}}},
		"described anew":     {[]*gh.Label{there("run:dev", "1d76db", "")}, []events.RepositoryLabel{dev}, []LabelChange{{"run:dev", dev}}},
		"renamed":            {[]*gh.Label{there("go!", "1d76db", "Works")}, []events.RepositoryLabel{dev}, []LabelChange{{"go!", dev}}},
		"a name swapped":     {[]*gh.Label{there("run:plan", "1d76db", "Works")}, []events.RepositoryLabel{plan, dev}, []LabelChange{{"run:plan", plan}, {"", dev}}},
		"which of the two?":  {[]*gh.Label{there("a", "1d76db", "Works"), there("b", "1d76db", "Works")}, []events.RepositoryLabel{dev}, []LabelChange{{"", dev}}},
		"whose name was it?": {[]*gh.Label{there("a", "1d76db", "Works")}, []events.RepositoryLabel{dev, twin}, []LabelChange{{"", dev}, {"", twin}}},
	} {
		if diff := cmp.Diff(c.diff, LabelDrift(c.there, c.want)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
