package github

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gh "github.com/google/go-github/v66/github"
)

// An outcome is a classified error in one line: "later 20s", "refused 422", "again".
func outcome(err error, now time.Time) string {
	var limited *RateLimited
	var refused *Refused
	switch {
	case errors.As(err, &limited):
		kind := "primary"
		if limited.Secondary {
			kind = "secondary"
		}
		if limited.Guessed {
			kind += ", guessed"
		}
		return fmt.Sprintf("later %s (%s)", limited.Until.Sub(now).Round(time.Second), kind)
	case errors.As(err, &refused):
		text := fmt.Sprint("refused ", refused.Status)
		if reason, moot := Moot(err); moot {
			text += " " + reason
		}
		return text
	}
	return "again"
}

func TestClassifyError(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	reset := fmt.Sprint(now.Add(30 * time.Minute).Unix())
	past := fmt.Sprint(now.Add(-time.Hour).Unix())
	message := func(text string) string {
		return fmt.Sprintf(`{"message":%q,"documentation_url":"https://docs.github.com/rest"}`, text)
	}
	type header = map[string]string
	for _, tt := range []struct {
		name     string
		status   int
		header   header
		body     string
		want     string
		doubtful bool
	}{
		// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
		{"primary", 403, header{"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, `{}`, "later 30m0s (primary)", false},
		{"primary as 429", 429, header{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, `{}`, "later 30m0s (primary)", false},
		{"primary without reset", 403, header{"X-RateLimit-Remaining": "0"}, `{}`, "later 1m0s (primary, guessed)", false},
		{"primary by another clock", 403, header{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": past}, `{}`, "later 1m0s (primary, guessed)", false},
		{"secondary", 403, header{"Retry-After": "20"}, `{"documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`, "later 20s (secondary)", false},
		{"secondary by its old address", 403, nil, `{"documentation_url":"https://developer.github.com/v3/#abuse-rate-limits"}`, "later 1m0s (secondary, guessed)", false},
		{"secondary without a time", 403, nil, `{"documentation_url":"https://docs.github.com/x/secondary-rate-limits"}`, "later 1m0s (secondary, guessed)", false},
		{"secondary by its address, in the middle", 403, nil, `{"documentation_url":"https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api?x#about-secondary"}`, "later 1m0s (secondary, guessed)", false},
		{"secondary told by the header alone", 403, header{"Retry-After": "20"}, `{}`, "later 20s (secondary)", false},
		{"secondary until a date", 403, header{"Retry-After": now.Add(90 * time.Second).UTC().Format(http.TimeFormat)}, `{}`, "later 1m30s (secondary)", false},
		{"secondary until next year", 403, header{"Retry-After": "31536000"}, `{}`, "later 2h0m0s (secondary)", false},
		{"a time that is none", 429, header{"Retry-After": "-1"}, `{}`, "later 1m0s (secondary, guessed)", false},
		{"secondary told by the message alone", 403, nil, message("You have exceeded a secondary rate limit. Please wait a few minutes before you try again."), "later 1m0s (secondary, guessed)", false},
		{"primary told by the message alone", 403, nil, message("API rate limit exceeded for installation ID 1."), "later 1m0s (secondary, guessed)", false},
		{"abuse detection", 403, nil, message("You have triggered an abuse detection mechanism."), "later 1m0s (secondary, guessed)", false},
		{"content creation", 403, nil, message("You have been temporarily blocked from content creation."), "later 1m0s (secondary, guessed)", false},
		{"throttled", 403, nil, message("This endpoint is temporarily being throttled. Please try again later. For more on scraping GitHub and how it may affect your rights, please review our Terms of Service"), "later 1m0s (secondary, guessed)", false},
		{"secondary as 429", 429, header{"Retry-After": "20"}, `{}`, "later 20s (secondary)", false},
		{"429 that says nothing", 429, nil, ``, "later 1m0s (secondary, guessed)", false},
		{"429 as HTML", 429, nil, `<html>Whoa there!`, "later 1m0s (secondary, guessed)", false},
		{"too quickly", 422, nil, `{"message":"Validation Failed","errors":[{"resource":"IssueComment","code":"unprocessable","field":"data","message":"was submitted too quickly"}]}`, "later 10s (secondary, guessed)", false},
		{"too quickly, as a string", 422, nil, `{"message":"Validation Failed","errors":["was submitted too quickly after another comment"]}`, "later 10s (secondary, guessed)", false},

		// https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
		{"bad credentials", 401, nil, message("Bad credentials"), "again", true},
		{"requires authentication", 401, nil, message("Requires authentication"), "again", true},
		{"the App's clock", 401, nil, message("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued."), "again", true},
		{"a permission is missing", 403, nil, message("Resource not accessible by integration"), "refused 403", true},
		{"of a personal token", 403, nil, message("Resource not accessible by personal access token"), "refused 403", true},
		{"a role is missing", 403, nil, message("Must have admin rights to Repository."), "refused 403", true},
		{"not found", 404, nil, message("Not Found"), "refused 404 github_gone", true},
		{"no such label", 404, nil, message("Label does not exist"), "refused 404 github_gone", false},
		{"deleted", 410, nil, message("This issue was deleted"), "refused 410 github_gone", false},
		{"locked", 403, nil, message("Unable to create comment because issue is locked."), "refused 403 github_locked", false},
		{"suspended", 403, nil, message("This installation has been suspended"), "refused 403 github_suspended", false},
		{"archived", 403, nil, message("Repository was archived so is read-only."), "refused 403 github_archived", false},
		{"blocked by law", 451, nil, message("Repository access blocked"), "refused 451 github_blocked", false},
		{"blocked", 403, nil, message("Repository access blocked"), "refused 403 github_blocked", false},
		{"full", 422, nil, `{"message":"Validation Failed","errors":[{"resource":"Issue","code":"custom","message":"Issues cannot have more than 100 labels"}]}`, "refused 422 github_full", false},
		{"a commit that is gone", 422, nil, message("No commit found for SHA: 0000"), "refused 422 github_gone", false},
		{"a pull request that is seconds old", 422, nil, message("Could not resolve to a node with the global id of 'PR_kwDOABCD'."), "again", false},
		{"exists", 422, nil, `{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"A pull request already exists for acme:b."}]}`, "refused 422", false},
		{"unprocessable", 422, nil, message("Validation Failed"), "refused 422", false},
		{"no JSON of ours", 400, nil, message("Problems parsing JSON"), "refused 400", false},
		{"a conflict passes", 409, nil, message("Conflict"), "again", false},
		{"a repository without a commit", 409, nil, message("Git Repository is empty."), "refused 409", false},
		{"too slow", 408, nil, ``, "again", false},
		{"too large", 413, nil, ``, "refused 413", false},
		{"elsewhere", 301, header{"Location": "https://elsewhere.example/x"}, message("Moved Permanently"), "refused 301 github_moved", false},
		{"not modified", 304, nil, ``, "refused 304 github_moved", false},
		{"server error", 500, nil, ``, "again", false},
		{"bad gateway", 502, nil, `<html>`, "again", false},
		{"unavailable", 503, header{"Retry-After": "5"}, ``, "again", false},
		{"HTML as success", 201, nil, `<html>`, "again", false},
		{"broken off", 201, nil, `{"id": 1`, "again", false},
		{"a list for an object", 200, nil, `[]`, "again", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer srv.Close()
			cs, err := Open(Config{URL: srv.URL, Token: "x"})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = cs.plain.Issues.CreateComment(t.Context(), "a", "b", 1, &gh.IssueComment{Body: gh.String("x")})
			if got := outcome(ClassifyError(ClassifyError(err, now), now), now); got != tt.want {
				t.Errorf("%v: %s, want %s", err, got, tt.want)
			}
			if Doubtful(err) != tt.doubtful {
				t.Errorf("doubtful: %v", Doubtful(err))
			}
		})
	}
	if ClassifyError(nil, now) != nil {
		t.Error("nil must stay nil")
	}
	if got := outcome(ClassifyError(io.ErrUnexpectedEOF, now), now); got != "again" {
		t.Errorf("the network: %s", got)
	}
}

func TestWhatGitHubSaysReachesPeople(t *testing.T) {
	for body, want := range map[string]string{
		`{"message":"Validation Failed","errors":[{"resource":"Issue","code":"custom","message":"Issues cannot have more than 100 labels"}]}`:                                    "Validation Failed: Issues cannot have more than 100 labels",
		`{"message":"Validation Failed","errors":[{"resource":"PullRequest","field":"head","code":"invalid"},{"resource":"PullRequest","field":"base","code":"missing_field"}]}`: "Validation Failed: PullRequest.head invalid; PullRequest.base missing_field",
		`{"message":"Validation Failed","errors":["a plain word"]}`: "Validation Failed: a plain word",
		`{"errors":[{"message":"without a message"}]}`:              "without a message",
		`{"message":"Body is too long (maximum is 65536 characters)","errors":[{"message":"Body is too long (maximum is 65536 characters)"}]}`: "Body is too long (maximum is 65536 characters)",
	} {
		resp := &http.Response{StatusCode: 422, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: &http.Request{Method: "POST"}}
		var refused *Refused
		if err := ClassifyError(gh.CheckResponse(resp), time.Now()); !errors.As(err, &refused) {
			t.Fatalf("%s: %v", body, err)
		}
		if diff := cmp.Diff(want, refused.Message); diff != "" {
			t.Error(diff)
		}
	}
}
