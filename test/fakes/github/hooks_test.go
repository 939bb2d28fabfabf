package fakegithub

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v66/github"
)

func TestDeliveriesAreListedAndRepeated(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	hooked := newReceiver(t, "x")
	gh := client(t, s, "acme-token")
	h, _, err := gh.Repositories.CreateHook(ctx, "acme", "shop", &github.Hook{
		Events: []string{"issues"}, Config: &github.HookConfig{URL: &hooked.URL, ContentType: github.String("form"), Secret: github.String("x")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.GetConfig().GetSecret() != "********" {
		t.Errorf("the secret is shown as %q", h.GetConfig().GetSecret())
	}
	flush(t, s)
	hooked.answer(http.StatusServiceUnavailable)
	if _, err := s.CreateIssue(repo, "One", "", "acme"); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	time.Sleep(20 * time.Millisecond) // were there a retry, it would come
	flush(t, s)
	if diff := cmp.Diff([]string{"ping", "issues.opened"}, hooked.events()); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
	list, resp, err := gh.Repositories.ListHookDeliveries(ctx, "acme", "shop", h.GetID(), &github.ListCursorOptions{PerPage: 1})
	if err != nil || len(list) != 1 || resp.Cursor == "" {
		t.Fatalf("deliveries %v, cursor %q, %v", list, resp.Cursor, err)
	}
	failed := list[0]
	if failed.GetEvent() != "issues" || failed.GetStatusCode() != 503 || failed.GetStatus() != "Invalid HTTP Response: 503" {
		t.Errorf("the failed delivery is %v", failed)
	}
	older, resp, err := gh.Repositories.ListHookDeliveries(ctx, "acme", "shop", h.GetID(), &github.ListCursorOptions{PerPage: 1, Cursor: resp.Cursor})
	if err != nil || len(older) != 1 || older[0].GetEvent() != "ping" || resp.Cursor != "" {
		t.Errorf("the older page is %v, cursor %q, %v", older, resp.Cursor, err)
	}
	whole, _, err := gh.Repositories.GetHookDelivery(ctx, "acme", "shop", h.GetID(), failed.GetID())
	if err != nil {
		t.Fatal(err)
	}
	if whole.Request.Headers["X-GitHub-Event"] != "issues" || !strings.Contains(string(*whole.Request.RawPayload), `"action":"opened"`) {
		t.Errorf("the request is recorded as %v", whole.Request)
	}

	hooked.answer(http.StatusAccepted)
	_, _, err = gh.Repositories.RedeliverHookDelivery(ctx, "acme", "shop", h.GetID(), failed.GetID())
	if accepted := new(github.AcceptedError); !errors.As(err, &accepted) {
		t.Fatalf("redelivery: %v, want 202", err)
	}
	flush(t, s)
	list, _, err = gh.Repositories.ListHookDeliveries(ctx, "acme", "shop", h.GetID(), nil)
	if err != nil || len(list) != 3 {
		t.Fatalf("deliveries %v, %v", list, err)
	}
	if again := list[0]; again.GetGUID() != failed.GetGUID() || !again.GetRedelivery() || again.GetID() == failed.GetID() || again.GetStatusCode() != 202 {
		t.Errorf("the redelivery is %v, want the GUID of %v", again, failed)
	}
}

func TestAppAndRepositoryHookBothHear(t *testing.T) {
	ofRepo, ofApp := newReceiver(t, "r"), newReceiver(t, "a")
	s := open(t, Options{App: AppOptions{HookURL: ofApp.URL, HookSecret: "a"}})
	if _, err := s.AddHook(repo, HookOptions{URL: ofRepo.URL, Secret: "r", Events: []string{"issues"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateIssue(repo, "One", "", "acme"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddLabel(repo, 1, "run:dev", "acme"); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	app, own := ofApp.last(t, "issues", "labeled"), ofRepo.last(t, "issues", "labeled")
	if app.payload.(*github.IssuesEvent).GetInstallation().GetID() != s.InstallationID("acme") || own.payload.(*github.IssuesEvent).Installation != nil {
		t.Error("the installation must be in the App's payload only")
	}
	if a, r := app.header.Get("X-GitHub-Hook-Installation-Target-Type"), own.header.Get("X-GitHub-Hook-Installation-Target-Type"); a != "integration" || r != "repository" {
		t.Errorf("targets %q and %q", a, r)
	}
	if a, r := app.header.Get("X-GitHub-Delivery"), own.header.Get("X-GitHub-Delivery"); a != r || a == "" {
		t.Errorf("GUIDs %q and %q, want that of the event for both hooks", a, r)
	}
}

func TestDeliveriesOfTheApp(t *testing.T) {
	now := time.Now()
	ofApp := newReceiver(t, "a")
	s, ctx := open(t, Options{App: AppOptions{HookURL: ofApp.URL, HookSecret: "a"}, Now: func() time.Time { return now }}), t.Context()
	for _, title := range []string{"One", "Two", "a & b"} {
		if _, err := s.CreateIssue(repo, title, "", "acme"); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, s)
	installation, installed := appClient(t, s, nil)
	if _, err := installed.Token(ctx); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]*github.Client{"an installation's token": installation, "a person's token": client(t, s, "acme-token")} {
		_, _, err := other.Apps.ListHookDeliveries(ctx, nil)
		refused(t, err, http.StatusUnauthorized, "A JSON web token could not be decoded")
		_, _, err = other.Apps.GetHookDelivery(ctx, s.Deliveries()[0].ID)
		refused(t, err, http.StatusUnauthorized, "A JSON web token could not be decoded")
		if t.Failed() {
			t.Fatalf("with %s", name)
		}
	}
	app := jwtClient(t, s)
	var seen []string
	opts := &github.ListCursorOptions{PerPage: 2}
	for {
		page, resp, err := app.Apps.ListHookDeliveries(ctx, opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			whole, _, err := app.Apps.GetHookDelivery(ctx, d.GetID())
			if err != nil {
				t.Fatal(err)
			}
			var p struct {
				Issue        struct{ Title string }
				Installation struct{ ID int64 }
			}
			if err := json.Unmarshal(*whole.Request.RawPayload, &p); err != nil {
				t.Fatal(err)
			}
			seen = append(seen, fmt.Sprint(d.GetEvent(), " ", p.Issue.Title, " ", p.Installation.ID == s.InstallationID("acme") && d.GetInstallationID() == p.Installation.ID))
		}
		if opts.Cursor = resp.Cursor; opts.Cursor == "" {
			break
		}
		seen = append(seen, "next page")
	}
	if diff := cmp.Diff([]string{"issues a & b true", "issues Two true", "next page", "issues One true"}, seen); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	newest := s.Deliveries()[2].ID
	whole, _, err := app.Apps.GetHookDelivery(ctx, newest)
	if err != nil {
		t.Fatal(err)
	}
	if sent := ofApp.last(t, "issues", "opened").raw; string(sent) == string(*whole.Request.RawPayload) {
		t.Error("the list shows the bytes that were sent; a client must not count on that")
	}
	now = now.Add(deliveryLife + time.Minute)
	if page, _, err := jwtClient(t, s).Apps.ListHookDeliveries(ctx, nil); err == nil && len(page) != 0 {
		t.Errorf("after three days there are %d deliveries", len(page))
	}
	_, _, err = jwtClient(t, s).Apps.GetHookDelivery(ctx, newest)
	refused(t, err, http.StatusNotFound, "Not Found")
}

func TestUndeliveredIsRecordedOnClose(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateRepository(repo, nil); err != nil {
		t.Fatal(err)
	}
	busy := make(chan struct{})
	hooked := newReceiver(t, "x")
	hooked.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-busy })
	if _, err := s.AddHook(repo, HookOptions{URL: hooked.URL, Secret: "x"}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := s.CreateIssue(repo, fmt.Sprint("Issue ", i), "", "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	close(busy)
	s = open(t, Options{Dir: dir})
	var got []string
	for _, d := range s.Deliveries() {
		got = append(got, d.Event+" "+d.Status)
	}
	const lost = " failed to connect to host"
	if diff := cmp.Diff([]string{"ping" + lost, "issues" + lost, "issues" + lost, "issues" + lost}, got); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	if _, err := s.CreateIssue(repo, "One", "", "acme"); err != nil {
		t.Fatal(err)
	}
	get := func() error {
		_, _, err := client(t, s, "acme-token").Issues.Get(ctx, "acme", "shop", 1) // a new client: go-github remembers limits
		return err
	}
	if err := s.FailNext(Fault{Kind: "primary", RetryAfter: 90}); err != nil {
		t.Fatal(err)
	}
	var primary *github.RateLimitError
	if err := get(); !errors.As(err, &primary) || primary.Rate.Remaining != 0 || time.Until(primary.Rate.Reset.Time) < time.Minute {
		t.Errorf("primary limit: %v", err)
	}
	resp, err := http.Post(s.URL()+"/_fake/faults", "application/json", strings.NewReader(`{"kind":"secondary","requests":2,"retry_after":7}`))
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatalf("control endpoint: %v, %v", resp, err)
	}
	for range 2 {
		var secondary *github.AbuseRateLimitError
		if err := get(); !errors.As(err, &secondary) || secondary.GetRetryAfter() != 7*time.Second {
			t.Errorf("secondary limit: %v", err)
		}
	}
	if err := s.FailNext(Fault{Kind: "secondary", Status: http.StatusTooManyRequests, Path: "/labels"}); err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil {
		t.Errorf("another path is not meant: %v", err)
	}
	_, _, err = client(t, s, "acme-token").Issues.ListLabels(ctx, "acme", "shop", nil)
	refused(t, err, http.StatusTooManyRequests, "secondary rate limit")
	if err := s.FailNext(Fault{Kind: "outage"}); err != nil {
		t.Fatal(err)
	}
	refused(t, get(), http.StatusBadGateway, "")
	if err := get(); err != nil {
		t.Errorf("faults must run out: %v", err)
	}
}

func TestOutageOfGit(t *testing.T) {
	s := open(t, Options{})
	for _, f := range []Fault{{Kind: "outage"}, {Kind: "outage", Path: ".git/"}} {
		if err := s.FailNext(f); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := gitCommand(t, "", "ls-remote", cloneURL(s, "acme-token")); err == nil || !strings.Contains(out, "502") {
		t.Errorf("during the outage: %v\n%s", err, out)
	}
	if out, err := gitCommand(t, "", "ls-remote", cloneURL(s, "acme-token")); err != nil {
		t.Errorf("after the outage: %v\n%s", err, out)
	}
}

func TestSameHookAgainTakesTheNewSecret(t *testing.T) {
	s := open(t, Options{})
	hooked := newReceiver(t, "new")
	hooked.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}) // the first ping has the old secret
	first, err := s.AddHook(repo, HookOptions{URL: hooked.URL, Secret: "old"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.AddHook(repo, HookOptions{URL: hooked.URL, Secret: "new"})
	if err != nil || again != first {
		t.Errorf("the same hook has id %d, then %d, %v", first, again, err)
	}
	flush(t, s)
	list := s.Deliveries()
	if len(list) != 2 {
		t.Fatalf("deliveries %v, want two pings", list)
	}
	old, err := s.Delivery(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	latest, err := s.Delivery(list[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct {
		secret string
		Delivery
	}{{"old", old}, {"new", latest}} {
		if err := github.ValidateSignature(d.RequestHeaders["X-Hub-Signature-256"], d.Payload, []byte(d.secret)); err != nil {
			t.Errorf("ping with the %s secret: %v", d.secret, err)
		}
	}
}

func TestHourlyLimitIsKept(t *testing.T) {
	s := open(t, Options{RateLimit: 3})
	gh := client(t, s, "acme-token")
	var err error
	for range 5 {
		if _, _, err = gh.Repositories.Get(t.Context(), "acme", "shop"); err != nil {
			break
		}
	}
	var limit *github.RateLimitError
	if !errors.As(err, &limit) || limit.Rate.Limit != 3 {
		t.Errorf("after three requests: %v", err)
	}
	if _, _, err := gh.RateLimit.Get(t.Context()); err != nil {
		t.Errorf("asking for the limit is free: %v", err)
	}
}

// A payload has the fields of GitHub's own sample, so a consumer measured against it does not rejoice too soon.
func TestPayloadOfLabeledIsOfRealSize(t *testing.T) {
	s := open(t, Options{})
	hooked := newReceiver(t, "x")
	if _, err := s.AddHook(repo, HookOptions{URL: hooked.URL, Secret: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateIssue(repo, "Spelling error in the README file", "It looks like you accidentally spelled it with two t's.", "acme"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddLabel(repo, 1, "bug", "acme"); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	raw := hooked.last(t, "issues", "labeled").raw
	if len(raw) < 6000 || len(raw) > 12000 {
		t.Errorf("issues.labeled has %d bytes, want those of GitHub (6000 to 12000)", len(raw))
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil {
		t.Fatal(err)
	}
	for name, fields := range map[string]int{"issue": 30, "repository": 75, "sender": 18, "label": 7} {
		var part map[string]json.RawMessage
		if err := json.Unmarshal(top[name], &part); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(part) < fields {
			t.Errorf("%s has %d fields, want at least %d", name, len(part), fields)
		}
	}
}
