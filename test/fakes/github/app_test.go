package fakegithub

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v66/github"
)

// appClient is a client of the installation on acme, restricted as options say.
func appClient(t *testing.T, s *Server, options *github.InstallationTokenOptions) (*github.Client, *ghinstallation.Transport) {
	t.Helper()
	tr, err := ghinstallation.New(http.DefaultTransport, s.AppID(), s.InstallationID("acme"), s.AppPrivateKey())
	if err != nil {
		t.Fatal(err)
	}
	tr.BaseURL = strings.TrimSuffix(s.APIURL(), "/")
	tr.InstallationTokenOptions = options
	c := client(t, s, "")
	gh := github.NewClient(&http.Client{Transport: tr})
	gh.BaseURL = c.BaseURL
	return gh, tr
}

// jwtClient is a client of the App itself, by the clock of the server.
func jwtClient(t *testing.T, s *Server) *github.Client {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer: strconv.FormatInt(s.AppID(), 10), IssuedAt: jwt.NewNumericDate(s.now()), ExpiresAt: jwt.NewNumericDate(s.now().Add(time.Minute)),
	}).SignedString(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return client(t, s, text)
}

func TestInstallationToken(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	if err := s.CreateRepository("acme/other", map[string]string{"a": "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateIssue(repo, "One", "", "acme"); err != nil {
		t.Fatal(err)
	}
	gh, tr := appClient(t, s, &github.InstallationTokenOptions{
		Repositories: []string{"shop"}, Permissions: &github.InstallationPermissions{Contents: github.String("write"), Issues: github.String("read")},
	})
	if _, _, err := gh.Issues.Get(ctx, "acme", "shop", 1); err != nil {
		t.Fatal(err)
	}
	_, _, err := gh.Issues.CreateComment(ctx, "acme", "shop", 1, &github.IssueComment{Body: github.String("hi")})
	refused(t, err, http.StatusForbidden, "Resource not accessible by integration")
	_, _, err = gh.Repositories.Get(ctx, "acme", "other")
	refused(t, err, http.StatusNotFound, "Not Found")

	token, err := tr.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cloned(t, s, token).commit("work", "b.txt", "b\n")
	other := strings.Replace(cloneURL(s, token), "/shop.git", "/other.git", 1)
	if out, err := gitCommand(t, "", "ls-remote", other); err == nil {
		t.Errorf("a token for one repository read another: %s", out)
	}
	if want := "codexk8s[bot]: push acme/shop work (1 commits)"; s.Writes()[len(s.Writes())-1] != want {
		t.Errorf("writes end with %q, want %q", s.Writes()[len(s.Writes())-1], want)
	}
	s.ExpireTokens()
	_, _, err = gh.Issues.Get(ctx, "acme", "shop", 1)
	refused(t, err, http.StatusUnauthorized, "Bad credentials")
}

func TestTokensRunOutAfterAnHour(t *testing.T) {
	now := time.Now()
	s := open(t, Options{Now: func() time.Time { return now }})
	_, tr := appClient(t, s, nil)
	value, err := tr.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expires, _, err := tr.Expiry()
	if err != nil || expires.Sub(now.Truncate(time.Second)) != time.Hour {
		t.Errorf("expires in %v, %v", expires.Sub(now), err)
	}
	gh := client(t, s, value)
	if _, _, err := gh.Repositories.Get(t.Context(), "acme", "shop"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	_, _, err = gh.Repositories.Get(t.Context(), "acme", "shop")
	refused(t, err, http.StatusUnauthorized, "Bad credentials")
}

func TestJWTIsVerified(t *testing.T) {
	s, now := open(t, Options{}), time.Now()
	sign := func(issuer string, issued, expires time.Time) string {
		text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
			Issuer: issuer, IssuedAt: jwt.NewNumericDate(issued), ExpiresAt: jwt.NewNumericDate(expires),
		}).SignedString(s.key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	id := strconv.FormatInt(s.AppID(), 10)
	forged, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{Issuer: id}).SignedString([]byte("guess"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, text := range map[string]string{
		"good":         sign(id, now, now.Add(9*time.Minute)),
		"other app":    sign("77", now, now.Add(9*time.Minute)),
		"expired":      sign(id, now.Add(-time.Hour), now.Add(-time.Minute)),
		"too long":     sign(id, now, now.Add(time.Hour)),
		"from future":  sign(id, now.Add(time.Hour), now.Add(9*time.Minute)),
		"forged":       forged,
		"no signature": strings.Join(strings.Split(sign(id, now, now.Add(9*time.Minute)), ".")[:2], ".") + ".",
	} {
		_, resp, err := client(t, s, text).Apps.ListInstallations(t.Context(), nil)
		got[name] = strconv.Itoa(resp.StatusCode)
		if e := (*github.ErrorResponse)(nil); errors.As(err, &e) {
			got[name] += " " + e.Message
		}
	}
	want := map[string]string{
		"good":         "200",
		"other app":    "401 Integration not found",
		"expired":      "401 'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
		"too long":     "401 'Expiration time' claim ('exp') is too far in the future",
		"from future":  "401 'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
		"forged":       "401 A JSON web token could not be decoded",
		"no signature": "401 A JSON web token could not be decoded",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	_, _, err = client(t, s, sign(id, now, now.Add(time.Minute))).Apps.CreateInstallationToken(t.Context(), s.InstallationID("acme"),
		&github.InstallationTokenOptions{Repositories: []string{"elsewhere"}})
	refused(t, err, http.StatusUnprocessableEntity, "at least one repository that does not exist")
}

func TestStatusesAndCheckRuns(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	heads, err := s.Branches(repo)
	if err != nil {
		t.Fatal(err)
	}
	sha := heads["main"]
	gh, _ := appClient(t, s, nil)
	for _, state := range []string{"pending", "success"} {
		if _, _, err := gh.Repositories.CreateStatus(ctx, "acme", "shop", sha, &github.RepoStatus{State: &state, Context: github.String("codexk8s")}); err != nil {
			t.Fatal(err)
		}
	}
	combined, _, err := gh.Repositories.GetCombinedStatus(ctx, "acme", "shop", "main", nil)
	if err != nil || combined.GetState() != "success" || combined.GetTotalCount() != 1 || combined.GetSHA() != sha {
		t.Errorf("combined %v, %v", combined, err)
	}
	_, _, err = gh.Repositories.CreateStatus(ctx, "acme", "shop", zeroSHA, &github.RepoStatus{State: github.String("success")})
	refused(t, err, http.StatusUnprocessableEntity, "No commit found for SHA")

	run, _, err := gh.Checks.CreateCheckRun(ctx, "acme", "shop", github.CreateCheckRunOptions{
		Name: "agent", HeadSHA: sha, Status: github.String("in_progress"), Output: &github.CheckRunOutput{Title: github.String("Running"), Summary: github.String("…")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := gh.Checks.UpdateCheckRun(ctx, "acme", "shop", run.GetID(), github.UpdateCheckRunOptions{Name: "agent", Conclusion: github.String("success")}); err != nil {
		t.Fatal(err)
	}
	runs, _, err := gh.Checks.ListCheckRunsForRef(ctx, "acme", "shop", "main", nil)
	if err != nil || runs.GetTotal() != 1 || runs.CheckRuns[0].GetStatus() != "completed" || runs.CheckRuns[0].GetOutput().GetTitle() != "Running" {
		t.Errorf("check runs %v, %v", runs, err)
	}
	_, _, err = client(t, s, "acme-token").Checks.CreateCheckRun(ctx, "acme", "shop", github.CreateCheckRunOptions{Name: "x", HeadSHA: sha})
	refused(t, err, http.StatusForbidden, "You must authenticate via a GitHub App")
}
