package pull

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/shared/agentapi"
)

// TestThePullRequestOfTheBranchIsFoundOnAnyPage, and that of a fork, whose branch may have any name, is never taken for
// it: GitHub ignores a head that it cannot read, and lists them all.
func TestThePullRequestOfTheBranchIsFoundOnAnyPage(t *testing.T) {
	const branch = "codexk8s/issue-1"
	pull := func(number int, ref, head string) string {
		return fmt.Sprintf(`{"number":%d,"head":{"ref":%q,"repo":%s},"base":{"ref":"main","repo":{"id":77}}}`, number, ref, head)
	}
	pages := []string{
		"[" + pull(1, branch, `{"id":88}`) + "," + pull(2, branch, `null`) + "," + strings.Repeat(pull(3, "other", `{"id":77}`)+",", 97) + pull(4, "other", `{"id":77}`) + "]",
		"[" + pull(5, branch, `{"id":77}`) + "]",
	}
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "2" {
			_, _ = w.Write([]byte(pages[1]))
			return
		}
		w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=2>; rel="next"`, r.Host, r.URL.Path))
		_, _ = w.Write([]byte(pages[0]))
	}))
	t.Cleanup(hub.Close)
	p := requests(t, hub.URL)
	for _, want := range []int{5, 0} {
		found, err := p.Find(t.Context(), branch)
		if err != nil || found.GetNumber() != want {
			t.Errorf("found #%d (%v), want #%d", found.GetNumber(), err, want)
		}
		pages[1] = "[]"
	}
}

// A part of GitHub may not know the branch yet that was pushed a moment ago. That is no refusal of the run's work; one
// that does not pass is.
func TestAPullRequestOfWhatWasJustPushed(t *testing.T) {
	const created, final = `{"number":7,"body":""}`, `{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"Base is protected"}]}`
	for _, said := range []string{
		`{"message":"Validation Failed","errors":[{"resource":"PullRequest","field":"head","code":"invalid"}]}`,
		`{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"No commits between main and codexk8s/issue-1"}]}`,
		final,
	} {
		refusals := 0
		hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodGet:
				_, _ = w.Write([]byte(`[]`))
			case refusals == 0 || said == final:
				refusals++
				w.WriteHeader(http.StatusUnprocessableEntity)
				_, _ = w.Write([]byte(said))
			default:
				w.WriteHeader(http.StatusCreated)
				_, _ = w.Write([]byte(created))
			}
		}))
		defer hub.Close()
		p := requests(t, hub.URL)
		opened, err := p.create(t.Context(), &agentapi.Assignment{Branch: "codexk8s/issue-1", BaseBranch: "main"}, "Done.", false)
		if said == final {
			if err == nil || refusals != 1 {
				t.Errorf("%s: %v after %d refusals", said, err, refusals)
			}
			continue
		}
		if err != nil || opened.GetNumber() != 7 {
			t.Errorf("%s: %v, %v", said, opened, err)
		}
	}
}

// Not every plan has drafts; the work is shown all the same.
func TestADraftWhereThereAreNone(t *testing.T) {
	var asked []string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method == http.MethodGet:
			_, _ = w.Write([]byte(`[]`))
		case strings.Contains(string(body), `"draft":true`):
			asked = append(asked, "draft")
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = w.Write([]byte(`{"message":"Draft pull requests are not supported in this repository."}`))
		default:
			asked = append(asked, "ready")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"number":7,"body":""}`))
		}
	}))
	defer hub.Close()
	p := requests(t, hub.URL)
	opened, err := p.Ensure(t.Context(), &agentapi.Assignment{Branch: "codexk8s/issue-1", BaseBranch: "main"}, "Done.", true)
	if err != nil || opened.GetNumber() != 7 || !slices.Equal(asked, []string{"draft", "ready"}) {
		t.Errorf("%v, %v after %v", opened, err, asked)
	}
}
