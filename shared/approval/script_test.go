package approval

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/yamlfile"
)

var update = flag.Bool("update", false, "write the want sections")

// TestScripts plays the scripts in testdata. Each is a specification: a policy, what happens, and all that is emitted
// and audited because of it. It begins on Monday, 2 November 2026, 12:00 UTC, with a run of alice's. Acts, one a line:
//
//	member LOGIN ROLE|bot
//	ask ACTION [JSON] [head=SHA] [role=ROLE] [over]       over: the run is over already
//	question OPTION|OPTION… [free]
//	vote LOGIN approve|deny|answer [OPTION] [words=OPTION] ["TEXT"] [by=CHANNEL] [id=CLICK] [digest=…]
//	                            [at=12:05] [elsewhere]
//	                            LOGIN is ? for an account that is linked to nobody, http:NAME for an HTTP approver
//	delivered|undeliverable CHANNEL[:CHAT] VERSION [REASON]
//	over                        the run is over
//	advance DURATION            time passes, the timer comes due
//	pass DURATION               time passes, and the timer is late
//	timer ROUND                 an older timer comes
//	message                     what the channels show
//	again                       the act before, a second time
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Files) != 3 || a.Files[0].Name != "policy" || a.Files[1].Name != "script" || a.Files[2].Name != "want" {
				t.Fatalf("%s: want the sections policy, script and want", file)
			}
			w := &world{t: t, policy: parse(t, string(a.Files[0].Data)), now: time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)}
			for line := range strings.Lines(string(a.Files[1].Data)) {
				w.play(strings.TrimSpace(line))
			}
			if *update {
				a.Files[2].Data = []byte(w.out.String())
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(a.Files[2].Data), w.out.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func parse(t *testing.T, text string) *Policy {
	t.Helper()
	p := &Policy{}
	f, err := yamlfile.Read([]byte(text), p)
	if err == nil {
		p.Check(f, []string{"dev", "qa"})
		err = f.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type world struct {
	t       *testing.T
	policy  *Policy
	now     time.Time
	members []Person
	ticket  Ticket
	timer   *events.Draft
	votes   int
	last    string
	out     strings.Builder
}

func (w *world) play(line string) {
	if line == "" || strings.HasPrefix(line, "#") {
		return
	}
	f := strings.Fields(line)
	if f[0] == "again" {
		w.play(w.last)
		return
	}
	w.last = line
	fmt.Fprintf(&w.out, "> %s\n", line)
	switch f[0] {
	case "member":
		p := w.person(f[1])
		p.Role, p.Bot = access.Role(f[2]), f[2] == "bot"
		w.members = append(slices.DeleteFunc(w.members, func(m Person) bool { return m.Login == f[1] }), *p)
	case "ask", "question":
		w.ask(f, line)
	case "vote":
		w.vote(f, line)
	case "delivered":
		w.hear(Delivered{events.ApprovalDelivered{RequestID: w.ticket.Request.ID, Version: w.number(f[2]), ApprovalTarget: targets(f[1:2])[0]}})
	case "undeliverable":
		w.hear(Undeliverable{events.ApprovalUndeliverable{RequestID: w.ticket.Request.ID, Version: w.number(f[2]), ApprovalTarget: targets(f[1:2])[0], Reason: f[3]}})
	case "over":
		w.hear(RunOver{events.RunFinished{RunRef: w.ticket.Request.RunRef, State: "cancelled"}})
	case "advance":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			w.t.Fatal(err)
		}
		w.advance(w.now.Add(d))
	case "pass":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			w.t.Fatal(err)
		}
		w.now = w.now.Add(d)
	case "timer":
		if w.timer != nil && w.timer.Payload.(events.ApprovalDue).Round == int(w.number(f[1])) {
			w.timer = nil
		}
		w.hear(Due{events.ApprovalDue{RequestID: w.ticket.Request.ID, Round: int(w.number(f[1]))}})
	case "message":
		text, err := json.MarshalIndent(w.ticket.Message(), "  ", "  ")
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(&w.out, "  %s\n", text)
	default:
		w.t.Fatalf("unknown act %q", line)
	}
}

func (w *world) ask(f []string, line string) {
	r := asked(events.KindApproval)
	r.At = w.now
	over := false
	if f[0] == "question" {
		r.Kind, r.Action, r.Title, r.Arguments = events.KindQuestion, "question", "Which way?", nil
		options, free := strings.CutSuffix(strings.TrimPrefix(line, "question "), " free")
		r.Options, r.FreeText = strings.Split(options, "|"), free
	} else {
		r.Action = f[1]
		for _, word := range f[2:] {
			name, value, _ := strings.Cut(word, "=")
			switch {
			case name == "head":
				r.HeadSHA = value
			case name == "role":
				r.Role = value
			case word == "over":
				over = true
			default:
				r.Arguments = json.RawMessage(word)
			}
		}
	}
	sealed, err := Seal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.ticket.State != "" && Supersedes(sealed, w.ticket.Request) {
		w.hear(Replaced{By: sealed})
	}
	if w.ticket.Request.ID != sealed.ID {
		w.ticket, w.timer = Ticket{}, nil
	}
	w.hear(Opened{Request: sealed, Terms: For(sealed.Action, sealed.Role, w.policy), Over: over})
}

// asked is a request that is not sealed yet.
func asked(kind Kind) Request {
	return Request{
		RunRef: events.RunRef{RunID: "01234567-89ab-5def-8123-456789abcdef", Project: "demo", Repository: "acme/demo", RepositoryID: 77, Issue: 12},
		Kind:   kind, Stage: "dev", Role: "dev", Action: "tool:secret_sync", Title: "Make a secret", Arguments: json.RawMessage(`{"name":"api-key"}`),
		HeadSHA: "c0ffee", IssueURL: "https://github.com/acme/demo/issues/12", RequestedBy: events.GitHubAccount{Login: "alice", ID: id("alice")},
	}
}

// id is an account's number in the scripts.
func id(login string) int64 { return int64(len(login))*1000 + int64(login[0]) }

func (w *world) person(login string) *Person {
	if name, ok := strings.CutPrefix(login, approverPrefix); ok {
		return &Person{Approver: name}
	}
	if i := slices.IndexFunc(w.members, func(m Person) bool { return m.Login == login }); i >= 0 {
		p := w.members[i]
		return &p
	}
	return &Person{GitHubAccount: events.GitHubAccount{Login: login, ID: id(login)}}
}

func (w *world) vote(f []string, line string) {
	w.votes++
	in := Voted{Members: w.members, Vote: Vote{
		ID: "click-" + strconv.Itoa(w.votes), RequestID: w.ticket.Request.ID, Choice: Choice(f[2]), At: w.now,
		By: Voter{Channel: Slack, Account: "U-" + f[1], Name: f[1]},
	}}
	if f[1] != "?" {
		in.Who = w.person(f[1])
	}
	if in.Who != nil && in.Who.Approver != "" {
		in.Vote.By = Voter{Channel: HTTP, Account: in.Who.Approver}
	}
	if _, after, ok := strings.Cut(line, `"`); ok {
		in.Vote.Text = strings.TrimSuffix(after, `"`)
		f = strings.Fields(line[:len(line)-len(after)-1])
	}
	for _, word := range f[3:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "by":
			in.Vote.By.Channel = value
		case "id":
			in.Vote.ID = value
		case "words":
			in.Vote.Words = value
		case "digest":
			in.Vote.Digest = value
		case "at":
			at, err := time.Parse("15:04", value)
			if err != nil {
				w.t.Fatal(err)
			}
			in.Vote.At = time.Date(2026, 11, 2, at.Hour(), at.Minute(), 0, 0, time.UTC)
		case "elsewhere":
			in.Elsewhere = true
		default:
			in.Vote.Option = int(w.number(word))
		}
	}
	w.hear(in)
}

func (w *world) number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// hear is one step of the decider.
func (w *world) hear(in Input) {
	next, d, err := Decide(w.ticket, in, w.now)
	if err != nil {
		fmt.Fprintf(&w.out, "  error %v\n", err)
		return
	}
	w.ticket = next
	for _, r := range d.Audit {
		_, detail, _ := strings.Cut(r.Detail, ": ")
		fmt.Fprintln(&w.out, strings.TrimRight(fmt.Sprintf("  audit %s %s %s", r.Actor, r.Action, r.Reason), " ")+": "+detail)
	}
	for _, e := range d.Emit {
		if !e.NotBefore.IsZero() {
			if w.timer != nil {
				w.t.Errorf("there are two timers")
			}
			w.timer = &e
			fmt.Fprintf(&w.out, "  timer %s\n", e.NotBefore.Sub(w.now))
			continue
		}
		fmt.Fprintf(&w.out, "  emit  %s %s\n", strings.TrimPrefix(e.Payload.EventType(), events.Prefix), told(e.Payload))
	}
}

// told is what a payload says, for a script.
func told(p events.Payload) string {
	switch p := p.(type) {
	case events.ApprovalChanged:
		s := fmt.Sprintf("v%d %s →", p.Message.Version, p.Message.State)
		for _, t := range p.Targets {
			s += strings.TrimSuffix(" "+t.Channel+":"+t.Target, ":")
		}
		for _, v := range p.Message.Votes {
			s += fmt.Sprintf("\n        %s %s %s", v.Who, v.Choice, v.Text)
		}
		if p.Message.Outcome != "" {
			s += "\n        = " + p.Message.Outcome
		}
		if p.Reminder != nil {
			s += fmt.Sprintf("\n        reminder %d: %s", p.Reminder.Number, p.Reminder.Text)
		}
		return s
	case events.ApprovalRefused:
		return p.By.Account + ": " + p.Text
	case events.ApprovalDecided:
		s := fmt.Sprintf("%s by %v", p.Outcome, p.By)
		if p.Option > 0 || p.Text != "" {
			s += fmt.Sprintf(": %d %q", p.Option, p.Text)
		}
		return s
	}
	return fmt.Sprint(p)
}

// advance lets time pass, and the timer come due.
func (w *world) advance(to time.Time) {
	for w.timer != nil && !w.timer.NotBefore.After(to) {
		due := w.timer
		w.timer = nil
		w.now = due.NotBefore
		fmt.Fprintf(&w.out, "  %s\n", w.now.Format("Mon 15:04"))
		w.hear(Due{due.Payload.(events.ApprovalDue)})
	}
	w.now = to
}
