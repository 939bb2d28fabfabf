package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	fakechat "codexk8s.dev/test/fakes/chat"
)

// TestMain is also the command that TestByCommands presses by.
func TestMain(m *testing.M) {
	at := os.Getenv("PRESS_AT")
	if at == "" {
		os.Exit(m.Run())
	}
	form := url.Values{"act": {os.Getenv("ACT")}, "option": {os.Getenv("OPTION")}, "text": {os.Getenv("TEXT")}}
	res, err := http.PostForm(at+"/test/"+os.Getenv("ID"), form)
	if err != nil || res.StatusCode != http.StatusOK {
		os.Exit(1)
	}
}

// verdict are the lines that are not ok, as "grade half check".
func verdict(out string) (all []string) {
	for line := range strings.Lines(out) {
		line = strings.Join(strings.Fields(line), " ")
		if grade, rest, _ := strings.Cut(line, " "); slices.Contains([]string{weakly, bad, not}, grade) {
			name, _, _ := strings.Cut(rest, ":")
			all = append(all, grade+" "+name)
		}
	}
	return all
}

func TestAGoodAdapterPasses(t *testing.T) {
	for _, secret := range []string{"shared-by-both", ""} {
		var out bytes.Buffer
		if err := newAdapter(t, "", secret).session(t, secret, &out).checkAll(t.Context()); err != nil {
			t.Errorf("%v:\n%s", err, &out)
		}
		if got := verdict(out.String()); secret != "" && len(got) > 0 || slices.ContainsFunc(got, func(line string) bool {
			return !strings.Contains(line, "signature") && !strings.Contains(line, "signed") && !strings.Contains(line, "timestamp")
		}) {
			t.Errorf("with the secret %q:\n%s", secret, &out)
		}
	}
}

// Every fault is found by the check that it is for. Where nothing comes back the check waits a moment.
func TestFaultsAreFoundByName(t *testing.T) {
	const secret, moment = "shared-by-both", time.Second
	for _, c := range []struct {
		fault, check, grade string
		half                int
		patience, again     time.Duration
	}{
		{fault: "down", check: "a request is taken"},
		{fault: "other words in answers", check: "a request is taken"},
		{fault: "other words in answers", check: "a request is taken", half: 1},
		{fault: "short texts only", check: "long texts, markup and links are taken"},
		{fault: "short texts only", check: "long texts, markup and links are taken", half: 1},
		{fault: "trips over fields", check: "fields of later versions are ignored"},
		{fault: "takes anything", check: "what is no request is refused"},
		{fault: "stumbles", check: "what is no request is refused"},
		{fault: "believes anybody", check: "a request without a signature is refused"},
		{fault: "believes anybody", check: "a request with a wrong signature is refused"},
		{fault: "takes old requests", check: "a request with an old timestamp is refused"},
		{fault: "signs the time alone", check: "a signed request that was changed is refused"},
		{fault: "does not sign", check: "a decision is called back, once"},
		{fault: "other words", check: "a decision is called back, once"},
		{fault: "upside down", check: "a decision is called back, once"},
		{fault: "calls twice", check: "a decision is called back, once"},
		{fault: "counts from one", check: "a decision is called back, once", half: 1},
		{fault: "says another option", check: "a decision is called back, once", half: 1},
		{fault: "calls elsewhere", check: "a decision is called back, once", patience: moment},
		{fault: "keeps the reason", check: "what somebody writes is called back", grade: weakly},
		{fault: "shows twice", check: "the same id again is the same attempt"},
		{fault: "changes its mind", check: "a second click changes nothing"},
		{fault: "wants no news", check: "how it ended elsewhere is taken"},
		{fault: "insists", check: "a late click is told once"},
		{fault: "never calls again", check: "a callback that is not heard is repeated", grade: weakly, again: moment},
		{fault: "loses a broken line", check: "a callback that is not heard is repeated", grade: weakly, again: moment},
		{fault: "is in a hurry", check: "a callback that is not heard is repeated", grade: weakly},
		{fault: "says something else again", check: "a callback that is not heard is repeated"},
		{fault: "one at a time", check: "a slow answer holds nothing up", patience: moment},
		{fault: "mixes them up", check: "two requests are kept apart, in any order", patience: moment},
		{fault: "forgets", check: "a request outlives a restart", grade: weakly},
		{fault: "does not come back", check: "a request outlives a restart"},
		{fault: "decides itself", check: "nobody's click decides nothing"},
	} {
		t.Run(c.fault+"/"+halves[c.half].name+"/"+c.check, func(t *testing.T) {
			var out bytes.Buffer
			s := newAdapter(t, c.fault, secret).session(t, secret, &out)
			s.half, s.patience, s.again = halves[c.half], cmp.Or(c.patience, s.patience), cmp.Or(c.again, s.again)
			if c.fault == "is in a hurry" {
				s.retryAfter = time.Hour
			}
			got := s.print("first", taken(t.Context(), s))
			if i := slices.IndexFunc(checks, func(k check) bool { return k.name == c.check }); i != 0 {
				got = s.print(c.check, checks[i].do(t.Context(), s))
			}
			if got != cmp.Or(c.grade, bad) || (c.fault == "calls elsewhere") != (len(s.strays) > 0) {
				t.Errorf("calls elsewhere %v, and\n%s", s.strays, &out)
			}
		})
	}
}

// What is around keeps no signature, calls back once, and answers a second time with an error: codex-k8s gets along.
func TestTheFakeApproverPasses(t *testing.T) {
	fake, err := fakechat.New(fakechat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fake.Close() }()
	var out bytes.Buffer
	p, err := listen(env{URL: fake.URL() + "/approver", Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := &session{
		platform: p, out: &out, patience: time.Minute, quiet: 20 * time.Millisecond, again: 100 * time.Millisecond,
		press: func(ctx context.Context, a *attempt, do act) error { return pressFake(ctx, fake, a.id, do) },
		restart: func(context.Context) error {
			at, err := url.Parse(fake.URL())
			if err != nil {
				return err
			}
			_ = fake.Close()
			fake, err = fakechat.New(fakechat.Options{Addr: at.Host})
			return err
		},
	}
	if err := s.checkAll(t.Context()); err != nil {
		t.Errorf("%v:\n%s", err, &out)
	}
	var want []string
	for _, h := range halves {
		for _, line := range []string{
			"- %s a request without a signature is refused", "- %s a request with a wrong signature is refused", "- %s a request with an old timestamp is refused",
			"- %s a signed request that was changed is refused", "weak %s the same id again is the same attempt", "weak %s a callback that is not heard is repeated",
			"weak %s a request outlives a restart",
		} {
			want = append(want, fmt.Sprintf(line, h.name))
		}
	}
	if diff := gocmp.Diff(want, verdict(out.String())); diff != "" {
		t.Errorf("what is not ok (-want +got):\n%s\n%s", diff, &out)
	}
}

// pressFake is a click in the fake approver's chat.
func pressFake(ctx context.Context, fake *fakechat.Server, id string, do act) error {
	i := slices.IndexFunc(fake.Posts(fakechat.Approver), func(p fakechat.Post) bool { return p.ID == id })
	if i < 0 {
		return fmt.Errorf("nothing is shown of %s", id)
	}
	button := map[string]string{"approve": "Approve", "deny": "Deny", "option": fmt.Sprintf("%d. ", do.option), "words": "Custom answer"}[do.what]
	if do.what == "deny" && do.text != "" {
		button = "Deny with message"
	}
	if _, err := fake.Click(ctx, fake.Posts(fakechat.Approver)[i], button, "ann"); err != nil || do.text == "" {
		return err
	}
	_, err := fake.Fill(ctx, fakechat.Approver, do.text, "ann")
	return err
}

// By commands, as from a shell: the environment says what to press.
func TestByCommands(t *testing.T) {
	const secret = "shared-by-both"
	a := newAdapter(t, "", secret)
	var out bytes.Buffer
	err := run(t.Context(), env{
		URL: a.URL, Secret: secret, Listen: "127.0.0.1:0", Patience: time.Minute, Quiet: 20 * time.Millisecond, Again: time.Minute, Restart: "true",
		Press: "PRESS_AT=" + a.URL + " " + os.Args[0],
	}, &out)
	if got := verdict(out.String()); err != nil || len(got) > 0 || !strings.Contains(out.String(), "\n38 ok, 0 weak, 0 failed, 0 not tried\n") {
		t.Errorf("%v:\n%s", err, &out)
	}
}

// Nobody there, and something that is no adapter.
func TestWithoutAnybody(t *testing.T) {
	a := newAdapter(t, "", "")
	var out bytes.Buffer
	e := env{URL: a.URL, Listen: "127.0.0.1:0", Patience: 50 * time.Millisecond, Quiet: time.Millisecond, Again: time.Millisecond}
	if err := run(t.Context(), e, &out); err == nil || strings.Count(out.String(), "→ please") != 1 || strings.Count(out.String(), bad) != 1 {
		t.Errorf("%v:\n%s", err, &out)
	}
	out.Reset()
	e.URL = a.URL + "/nothing"
	if err := run(t.Context(), e, &out); err == nil || !strings.Contains(out.String(), "it has neither /approve nor /execute") {
		t.Errorf("%v:\n%s", err, &out)
	}
}
