package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/test/fakes/github/browser"
	"codexk8s.dev/test/local/stack"
)

// TestTheGuidesAddressesOpenAndThePagesTellTheStory: whoever starts make run and opens what it prints can play the
// whole story in a browser, and every link on the way leads somewhere.
func TestTheGuidesAddressesOpenAndThePagesTellTheStory(t *testing.T) {
	codex, err := stack.FindCodex()
	if err != nil {
		t.Fatal(err)
	}
	s, err := stack.Start(t.Context(), stack.Options{Codex: codex})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("5 minutes are over")) // building takes what it takes
	defer cancel()
	v := visit{t, ctx, browser.New(t, s.GitHub.URL()), s}
	const issue, pull = "/" + stack.Repository + "/issues/1", "/" + stack.Repository + "/pull/2"

	v.Crawl()
	v.Press(issue, "Switch", map[string]string{"login": stack.Stranger})
	v.Has(v.Press(issue, stack.LabelDev, nil), "Refused: 403")
	v.Press(issue, "Switch", map[string]string{"login": stack.Owner})
	v.Press(issue, stack.LabelDev, nil)
	v.await(issue, `href="`+pull+`"`, inReview)
	v.await(pull, inReview)
	v.Press(pull, "Request changes", map[string]string{"field.body": stack.ReviewBody})
	v.await(pull, "2 commits", inReview)
	v.Press(pull, "Approve", nil)
	v.await(pull, on(stack.LabelApproved))
	v.Crawl()
	v.Press(pull, "Merge", nil)
	v.await(issue, "closed this")
	v.addresses()
}

type visit struct {
	*testing.T
	ctx context.Context
	browser.Browser
	s *stack.Stack
}

// on is how a page shows a label that is set; inReview is that of a run which succeeded.
func on(label string) string { return `aria-pressed="true">` + label + `<` }

var inReview = on(stack.LabelInReview)

// await opens a page again until it has all texts, and no label that starts a run.
func (v visit) await(path string, wants ...string) {
	v.Helper()
	for {
		_, page := v.Open(path)
		missing := []string{}
		for _, want := range wants {
			if !strings.Contains(page, want) {
				missing = append(missing, want)
			}
		}
		if strings.Contains(page, on(stack.LabelDev)) {
			missing = append(missing, stack.LabelDev+" taken off")
		}
		if len(missing) == 0 {
			return
		}
		select {
		case <-v.ctx.Done():
			v.s.WriteTails(v.Output(), 15)
			v.Fatalf("%s lacks %q:\n%s", path, missing, page)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// addresses opens each address that the guide prints: a page as a newcomer does, one of the API with the token that is
// printed beside it, and the webhook, which takes nothing but deliveries.
func (v visit) addresses() {
	v.Helper()
	var guide bytes.Buffer
	printGuide(&guide, v.s, time.Second)
	found := regexp.MustCompile(`https?://[^\s'"]+`).FindAllString(guide.String(), -1)
	if len(found) < 7 || !slices.Contains(found, v.s.ContractURL()) {
		v.Errorf("the guide has the addresses %q:\n%s", found, &guide)
	}
	for _, page := range v.s.Chat.Pages() {
		if !slices.Contains(found, page.URL) {
			v.Errorf("the guide does not name the page of %s, %s:\n%s", page.Name, page.URL, &guide)
		}
	}
	for _, address := range found {
		req, err := http.NewRequestWithContext(v.ctx, http.MethodGet, address, nil)
		if err != nil {
			v.Fatal(err)
		}
		if strings.Contains(address, "/repos/") {
			req.Header.Set("Authorization", "Bearer "+stack.OwnerToken)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			v.Fatal(err)
		}
		_ = resp.Body.Close()
		want := http.StatusOK
		if address == v.s.WebhookURL() {
			want = http.StatusMethodNotAllowed
		}
		if resp.StatusCode != want {
			v.Errorf("%s answers %s, want %d", address, resp.Status, want)
		}
	}
}
