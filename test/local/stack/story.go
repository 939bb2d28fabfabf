package stack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	fakegithub "codexk8s.dev/test/fakes/github"
)

// Labels of the process that the story sets and waits for, see shared/stage/process.yaml.
const (
	LabelDev      = "run:dev"
	LabelInReview = "state:in-review"
	LabelApproved = "state:approved"
)

// The review that asks for a change, and its comment on the new file.
const (
	ReviewBody    = "Please also greet friends, with the line `Salut les amis !`."
	InlineComment = "Put the informal one below this line."
	greetingFile  = "greetings/french.txt"
)

// Story is the demonstration of one issue, on any platform that hears this GitHub's webhooks: that of this package, or
// one in a cluster.
type Story struct {
	GitHub      *fakegithub.Server
	DatabaseURL string // of the platform's Postgres, as this process reaches it
	Repository  string
	Issue       int
}

func (s *Stack) story() Story { return Story{s.GitHub, s.Platform.DatabaseURL(), Repository, Issue} }

// Play plays the demonstration on this platform.
func (s *Stack) Play(ctx context.Context, say func(format string, args ...any)) (End, error) {
	return s.story().Play(ctx, say)
}

// End is how the story ended.
type End struct {
	Runs     []Run // oldest first
	Pull     fakegithub.Issue
	Issue    fakegithub.Issue
	Comments []fakegithub.Comment // in the issue's conversation
	Greeting string               // the new file on the pull request's branch; "" = there is none
	Diff     string               // of the pull request
	Usage    Usage
}

// Play plays the demonstration on the fake GitHub: a label makes a run, a run a pull request; a review that asks for
// changes makes a second run, which resumes the first one's conversation; an approving review ends it. say is told of
// each step.
func (s Story) Play(ctx context.Context, say func(format string, args ...any)) (End, error) {
	issue, err := s.GitHub.Issue(s.Repository, s.Issue)
	if err != nil {
		return End{}, fmt.Errorf("reading the issue: %w", err)
	}
	say("%s labels %s#%d %q with %s", Owner, s.Repository, s.Issue, issue.Title, LabelDev)
	if err := s.GitHub.AddLabel(s.Repository, s.Issue, LabelDev, Owner); err != nil {
		return End{}, fmt.Errorf("labelling the issue: %w", err)
	}
	pull, err := s.awaitRun(ctx, 1)
	if err != nil {
		return End{}, fmt.Errorf("after the label: %w", err)
	}
	say("pull request #%d %q is in review: %s", pull.Number, pull.Title, s.page("pull", pull.Number))
	say("%s asks for changes: %s", Owner, ReviewBody)
	comments := []fakegithub.InlineComment{{Path: greetingFile, Line: 1, Body: InlineComment}}
	if _, err := s.GitHub.Review(s.Repository, pull.Number, "REQUEST_CHANGES", ReviewBody, comments, Owner); err != nil {
		return End{}, fmt.Errorf("asking for changes: %w", err)
	}
	if pull, err = s.awaitRun(ctx, 2); err != nil {
		return End{}, fmt.Errorf("after the review: %w", err)
	}
	say("pull request #%d has %d commits and is in review again", pull.Number, pull.Pull.Commits)
	say("%s approves", Owner)
	if _, err := s.GitHub.Review(s.Repository, pull.Number, "APPROVE", "Thank you.", nil, Owner); err != nil {
		return End{}, fmt.Errorf("approving: %w", err)
	}
	if err := s.awaitLabel(ctx, pull.Number, LabelApproved); err != nil {
		return End{}, fmt.Errorf("after the approval: %w", err)
	}
	say("pull request #%d is approved and may be merged", pull.Number)
	e, err := s.end(ctx, pull)
	if err != nil {
		return End{}, err
	}
	return e, e.check(s)
}

// awaitRun waits until the issue has had n runs that succeeded, all is in review, and the trigger labels are gone. A
// run that ended in another way is an error at once.
func (s Story) awaitRun(ctx context.Context, n int) (pull fakegithub.Issue, err error) {
	db, err := s.connect(ctx)
	if err != nil {
		return pull, err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	var runs []Run
	err = wait(ctx, func() (bool, string, error) {
		if runs, err = readRuns(ctx, db, s.Repository, s.Issue); err != nil {
			return false, "", err
		}
		states := make([]string, 0, len(runs))
		for _, r := range runs {
			states = append(states, r.Stage+" "+r.State)
			switch r.State {
			case "failed", "cancelled", "timed_out":
				return false, "", fmt.Errorf("run %s %s (%s): %s", r.ID, r.State, r.Reason, r.Message)
			}
		}
		issue, err := s.GitHub.Issue(s.Repository, s.Issue)
		if err != nil {
			return false, "", fmt.Errorf("reading the issue: %w", err)
		}
		pulls := s.GitHub.PullRequests(s.Repository)
		missing := fmt.Sprintf("%d runs that succeeded with a pull request and %s; runs are %q, the issue has labels %q, there are %d pull requests",
			n, LabelInReview, states, issue.Labels, len(pulls))
		done := len(runs) >= n && runs[len(runs)-1].State == "succeeded" && len(pulls) > 0 && settled(issue)
		if done {
			pull = pulls[0]
			done = settled(pull)
		}
		return done, missing, nil
	})
	if err == nil && len(runs) != n {
		err = fmt.Errorf("there are %d runs, not %d", len(runs), n)
	}
	return pull, err
}

// settled says that an issue or pull request is in review and nothing has been asked for.
func settled(i fakegithub.Issue) bool {
	return slices.Contains(i.Labels, LabelInReview) &&
		!slices.ContainsFunc(i.Labels, func(l string) bool { return strings.HasPrefix(l, "run:") })
}

func (s Story) awaitLabel(ctx context.Context, number int, label string) error {
	return wait(ctx, func() (bool, string, error) {
		i, err := s.GitHub.Issue(s.Repository, number)
		if err != nil {
			return false, "", fmt.Errorf("reading #%d: %w", number, err)
		}
		return slices.Contains(i.Labels, label), fmt.Sprintf("%s on #%d, which has %q", label, number, i.Labels), nil
	})
}

// wait asks until it is done or ctx ends; the error then says what was missing.
func wait(ctx context.Context, ask func() (done bool, missing string, err error)) error {
	missing := "the first answer"
	for {
		done, now, err := ask()
		if done || err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil {
			missing = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", missing, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// end collects how it ended, when the last changes on GitHub are made: the status comment is written while the labels
// are.
func (s Story) end(ctx context.Context, pull fakegithub.Issue) (End, error) {
	db, err := s.connect(ctx)
	if err != nil {
		return End{}, err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	// Longer than the broker's retries; what is still to be done then is stuck.
	settle, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = wait(settle, func() (bool, string, error) {
		n, err := pending(settle, db)
		return n == 0, fmt.Sprintf("%d changes to be made on GitHub", n), err
	})
	if err != nil {
		return End{}, err
	}
	e := End{Comments: s.GitHub.Comments(s.Repository, s.Issue)}
	if e.Runs, err = readRuns(ctx, db, s.Repository, s.Issue); err != nil {
		return End{}, err
	}
	if e.Usage, err = readUsage(ctx, db); err != nil {
		return End{}, err
	}
	if e.Issue, err = s.GitHub.Issue(s.Repository, s.Issue); err != nil {
		return End{}, fmt.Errorf("reading the issue: %w", err)
	}
	if e.Pull, err = s.GitHub.Issue(s.Repository, pull.Number); err != nil {
		return End{}, fmt.Errorf("reading the pull request: %w", err)
	}
	if e.Diff, err = s.diff(ctx, pull.Number); err != nil {
		return End{}, err
	}
	if !strings.Contains(e.Diff, greetingFile) {
		return e, nil // its issue wants something else
	}
	if e.Greeting, err = s.GitHub.File(s.Repository, e.Pull.Pull.Head, greetingFile); err != nil {
		return End{}, fmt.Errorf("reading %s: %w", greetingFile, err)
	}
	return e, nil
}

// diff asks as a person with curl would.
func (s Story) diff(ctx context.Context, number int) (string, error) {
	url := fmt.Sprintf("%srepos/%s/pulls/%d", s.GitHub.APIURL(), s.Repository, number)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("reading the diff: %w", err)
	}
	req.Header.Set("Accept", "application/vnd.github.diff")
	req.Header.Set("Authorization", "Bearer "+OwnerToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("reading the diff: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("reading the diff: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("reading the diff: %s", resp.Status)
	}
	return string(text), nil
}

// check says what of the story's promises was not kept.
func (e End) check(s Story) error {
	if len(e.Runs) != 2 {
		return fmt.Errorf("there are %d runs, not 2", len(e.Runs))
	}
	if first, second := e.Runs[0].ThreadID, e.Runs[1].ThreadID; first == "" || first != second {
		return fmt.Errorf("the second run did not resume the first one's conversation %q but had %q", first, second)
	}
	if n := len(s.GitHub.PullRequests(s.Repository)); n != 1 {
		return fmt.Errorf("there are %d pull requests, not 1", n)
	}
	if len(e.Comments) != 1 {
		return fmt.Errorf("there are %d comments on the issue, not 1", len(e.Comments))
	}
	if !strings.Contains(e.Greeting, "Salut les amis !") {
		return fmt.Errorf("the review was not followed, %s is %q", greetingFile, e.Greeting)
	}
	return nil
}

// page is the address of a page of the fake GitHub; kind is "issues" or "pull".
func (s Story) page(kind string, number int) string {
	return fmt.Sprintf("%s/%s/%s/%d", s.GitHub.URL(), s.Repository, kind, number)
}

// IssuePage is the address of the demonstration's issue.
func (s *Stack) IssuePage() string { return s.story().page("issues", Issue) }
