package page

import (
	"fmt"
	"net/url"
	"strings"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/graph"
)

// Issue is an issue with the picture of its process.
type Issue struct {
	api.IssueDetail
	Graph graph.Graph
	Next  []Act  // what has an effect now and goes on from where the issue stands
	Other []Act  // the rest of that
	Idle  []NoGo // what has none, by reason
	Start string // address of the page that starts what a label starts; "" = the person may not
	of    map[string]api.IssueStage
}

// An Act is a label or a review that would have an effect.
type Act struct {
	api.Prospect
	Label bool // else it is a review
	Start string
}

// A NoGo is why some labels would have no effect.
type NoGo struct {
	Reason, Why, Advice string
	Acts                []string
}

// NewIssue prepares an issue to be shown. may says that the person may start what a label starts.
func NewIssue(d api.IssueDetail, may bool) Issue {
	v := Issue{IssueDetail: d, of: map[string]api.IssueStage{}}
	if may {
		v.Start = IssuePath(d.Repository, d.Number) + "/start"
	}
	var nodes []graph.Node
	for _, s := range d.Stages {
		v.of[s.Name] = s
		nodes = append(nodes, graph.Node{Name: s.Name, Beside: s.Beside, Leads: s.Leads})
	}
	v.Graph = graph.Draw(nodes)
	near := v.near()
	at := map[string]int{}
	for _, p := range d.Prospects {
		if p.Does != api.Nothing {
			a := Act{Prospect: p, Label: strings.Contains(p.Act, ":")}
			if a.Label && p.Does == api.Starts {
				a.Start = v.Start
			}
			if near == nil || p.Does != api.Starts || near[p.Stage] {
				v.Next = append(v.Next, a)
			} else {
				v.Other = append(v.Other, a)
			}
			continue
		}
		i, known := at[p.Reason]
		if !known {
			i, at[p.Reason] = len(v.Idle), len(v.Idle)
			v.Idle = append(v.Idle, NoGo{Reason: p.Reason, Why: p.Why, Advice: p.Advice})
		}
		v.Idle[i].Acts = append(v.Idle[i].Acts, p.Act)
	}
	return v
}

// near are the stage of the newest run and those that may follow it; nil = there was no run.
func (v Issue) near() map[string]bool {
	if len(v.Runs) == 0 {
		return nil
	}
	stage := v.Runs[0].Stage
	near := map[string]bool{stage: true}
	for _, name := range v.of[stage].Leads {
		near[name] = true
	}
	return near
}

// Stage is what is known of a stage of the picture.
func (v Issue) Stage(name string) api.IssueStage { return v.of[name] }

// Drift are labels for the issue's state that should be there and are not on GitHub.
func (v Issue) Drift() (missing []string) {
	for _, want := range v.Wanted {
		found := false
		for _, is := range v.Labels {
			found = found || strings.EqualFold(is, want)
		}
		if !found {
			missing = append(missing, want)
		}
	}
	return missing
}

// RunList are the issue's, as lists show them.
func (v Issue) RunList() api.RunList { return api.RunList{Items: v.Runs} }

// IssuePath is the address of an issue's page.
func IssuePath(repository string, number int) string {
	owner, name, _ := strings.Cut(repository, "/")
	return fmt.Sprintf("/issues/%s/%s/%d", url.PathEscape(owner), url.PathEscape(name), number)
}
