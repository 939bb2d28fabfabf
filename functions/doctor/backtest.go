package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"codexk8s.dev/shared/replay"
	"codexk8s.dev/shared/stage"
)

// backtest plays the recorded events again by another process, whose text comes in base64, and prints each issue that
// would have gone otherwise as soon as it knows: as text, or as one JSON value a line, the totals last.
func (h *handler) backtest(ctx context.Context, encoded, since string) error {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return errors.New("the process is not in base64: make backtest PROCESS=file encodes it")
	}
	process, err := stage.Parse(text)
	if err != nil {
		return err
	}
	var from time.Time
	if since != "" {
		if from, err = sinceTime(since); err != nil {
			return err
		}
	}
	own, err := h.useProcess()
	if err != nil {
		return err
	}
	r := &replay.Replay{Home: h.homes(ctx, own, process), Project: h.projects(ctx), Differs: h.differs}
	if err := h.db.Recorded(ctx, replay.Types(), from, r.Play); err != nil {
		return err
	}
	if err := r.End(); err != nil {
		return err
	}
	if h.json {
		return json.NewEncoder(h.out).Encode(r.Total)
	}
	_, err = fmt.Fprint(h.out, totals(r.Total))
	return err
}

func sinceTime(text string) (time.Time, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("no time is named by %q: want SINCE=%s or SINCE=%s", text, "2006-01-02", "2006-01-02T15:04:05Z")
}

// remembered bounds what is kept of repositories and people.
const remembered = 10_000

// homes finds repositories, each once. Projects with a process of their own keep it.
func (h *handler) homes(ctx context.Context, own, process *stage.Process) func(int64, string) (replay.Home, error) {
	type asked struct {
		id   int64
		name string
	}
	known := map[asked]replay.Home{}
	return func(id int64, name string) (replay.Home, error) {
		if home, ok := known[asked{id, name}]; ok {
			return home, nil
		}
		r, err := h.db.Repository(ctx, id, name)
		if err != nil {
			return replay.Home{}, err
		}
		home := replay.Home{Key: r.Key, Name: r.Name, ID: r.ID, Process: r.Process, Changed: process}
		if r.Process.Hash != own.Hash {
			home.Changed = r.Process
		}
		if len(known) < remembered {
			known[asked{id, name}] = home
		}
		return home, nil
	}
}

// projects finds the project of a repository with somebody's role, each once.
func (h *handler) projects(ctx context.Context) func(string, stage.Person) (*stage.Project, error) {
	type asked struct {
		key string
		by  stage.Person
	}
	known := map[asked]*stage.Project{}
	return func(key string, by stage.Person) (*stage.Project, error) {
		if p, ok := known[asked{key, by}]; ok {
			return p, nil
		}
		p, err := h.db.ProjectOf(ctx, key, by)
		if err == nil && len(known) < remembered {
			known[asked{key, by}] = p
		}
		return p, err
	}
}

// differs prints an issue that would have gone otherwise.
func (h *handler) differs(i replay.Issue) error {
	if h.json {
		return json.NewEncoder(h.out).Encode(i)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", i.Key)
	for _, d := range i.Differences {
		mark := ""
		if d.Follows {
			mark = "  (may follow from the first)"
		}
		fmt.Fprintf(&b, "  %s  %s%s\n      was: %s\n      is:  %s\n      event %s\n", stamp(d.At), oneLine(d.What), mark, d.Was, d.Is, d.Event)
	}
	if i.More > 0 {
		fmt.Fprintf(&b, "  and %d more\n", i.More)
	}
	if was, is := strings.Join(i.Labels, " "), strings.Join(i.ChangedLabels, " "); was != is {
		fmt.Fprintf(&b, "  labels at the end: %s; now %s\n", cmp.Or(was, "none"), cmp.Or(is, "none"))
	}
	_, err := fmt.Fprintln(h.out, b.String())
	return err
}

// totals are the last words, and say how far they can be believed.
func totals(t replay.Total) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events with %d acts of people were played again; %d %s would have gone otherwise.\n", t.Events, t.Asked, t.Issues, plural(t.Issues, "issue"))
	fmt.Fprintf(&b, "%d runs were requested; the changed process starts %d.\n", t.Runs, t.Changed)
	if t.Left > 0 {
		fmt.Fprintf(&b, "Of those %d runs the present process starts %d in the replay too. %d %s left out, because the process, members or settings were others then: %s%s\n",
			t.Runs, t.Same, t.Left, map[bool]string{true: "issue is", false: "issues are"}[t.Left == 1], strings.Join(t.Unsure, " "), map[bool]string{true: " …", false: ""}[t.Left > len(t.Unsure)])
	}
	b.WriteString("Not played: what an agent would have done that never ran, waiting for places, files that nobody looked for then, rights and settings as they were. Projects with a process of their own keep it.\n")
	return b.String()
}
