package stage

import (
	"testing"
	"time"

	"codexk8s.dev/shared/events"
)

// BenchmarkDecide is a decision alone: what remains when Postgres is taken away.
func BenchmarkDecide(b *testing.B) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	item := Item{
		Repository: "acme/demo", Issue: 12, Title: "A greeting", Body: "In French.", BaseBranch: "main",
		URL: "https://github.example/acme/demo/issues/12", CloneURL: "https://github.example/acme/demo.git",
		Labels: []string{"bug", "run:dev"}, Version: 3,
		Project: &Project{ID: "demo", SenderRole: "maintainer"}, Process: Default(),
	}
	alice := Person{Login: "alice"}
	labeled := Labeled{
		Issue: Issue{Title: item.Title, Body: item.Body, URL: item.URL, BaseBranch: item.BaseBranch, CloneURL: item.CloneURL, Labels: item.Labels},
		Label: "run:dev", At: now, Sender: alice,
	}
	requested, _, err := Decide(item, labeled, now)
	if err != nil || requested.Run == nil {
		b.Fatalf("the label makes no run: %+v, %v", requested, err)
	}
	starting := requested
	run := *requested.Run
	run.State, starting.Run = Starting, &run
	ref := requested.Ref()
	refused := labeled
	refused.Sender = Person{Login: "mallory", Bot: true}
	for _, c := range []struct {
		name string
		item Item
		in   Input
	}{
		{"label", item, labeled},
		{"refusal", item, refused},
		{"edit", requested, Edited{Issue: labeled.Issue, Action: "edited", Sender: alice}},
		{"started", starting, JobStarted{events.AgentStarted{RunRef: ref, Namespace: run.Namespace, Job: "agent"}}},
		{"report", starting, Reported{events.AgentReported{RunRef: ref, Outcome: "succeeded", Summary: "Greets in French.", PullRequest: 13, HeadSHA: "0123456789abcdef"}}},
		{"check", starting, CheckDue{events.RunCheck{RunRef: ref, Namespace: run.Namespace}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Decide(c.item, c.in, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
