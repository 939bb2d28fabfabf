//go:build cluster

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local/stack"
)

// TestTheDoctorFindsADeadLetterAndAReplayHealsIt runs the operator's commands: on a platform that is well, on one that
// owes a comment in a repository where the App lacks the permission, and after it was granted.
func TestTheDoctorFindsADeadLetterAndAReplayHealsIt(t *testing.T) {
	it.settled(t)
	out, err := it.make(t.Context(), "doctor")
	t.Logf("make doctor:\n%s", out)
	if err != nil {
		t.Fatalf("the doctor is not content with a platform that is well: %v", err)
	}
	repo := it.repo("doctor")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	forbidden := fakegithub.Fault{Kind: "refusal", Message: "Resource not accessible by integration", Method: http.MethodPost, Path: repo + "/issues", Requests: -1}
	if err := it.github.FailNext(forbidden); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(it.github.ClearFaults)
	if err := it.github.AddLabel(repo, issue, stack.LabelDev, reader); err != nil {
		t.Fatal(err)
	}
	type letter struct{ Function, Source, ID, Type, Error string }
	var letters []letter
	until(t, 5*time.Minute, func(ctx context.Context) (string, error) {
		out, err := it.make(ctx, "dead-letters", "O=json")
		if err == nil {
			err = json.Unmarshal([]byte(out), &letters)
		}
		if len(letters) == 0 {
			return "a dead letter", err
		}
		return "", err
	})
	if len(letters) != 1 || letters[0].Function != "github-caller" {
		t.Fatalf("the dead letters are %+v, want one of github-caller", letters)
	}
	if out, err := it.make(t.Context(), "doctor"); err == nil || !strings.Contains(out, "dead letter") {
		t.Errorf("the doctor does not speak of the dead letter (%v):\n%s", err, out)
	}
	it.github.ClearFaults()
	l := letters[0]
	out, err = it.make(t.Context(), "replay", "QUERY="+url.Values{"function": {l.Function}, "source": {l.Source}, "id": {l.ID}}.Encode())
	if err != nil {
		t.Fatalf("replaying: %v\n%s", err, out)
	}
	until(t, 3*time.Minute, func(context.Context) (string, error) {
		if n := len(it.github.Comments(repo, issue)); n != 1 {
			return fmt.Sprintf("one comment, there are %d", n), nil
		}
		return "", nil
	})
	until(t, time.Minute, func(ctx context.Context) (string, error) {
		if out, err := it.make(ctx, "dead-letters"); err != nil || strings.TrimSpace(out) != "No dead letters." {
			return "the dead letter to go: " + out, err
		}
		return "", nil
	})
	if out, err := it.make(t.Context(), "doctor"); err != nil {
		t.Errorf("the doctor is not content after the replay: %v\n%s", err, out)
	}
}

// make returns what a target prints.
func (w *world) make(ctx context.Context, args ...string) (string, error) {
	var problems strings.Builder
	cmd := exec.CommandContext(ctx, "make", append([]string{"--no-print-directory", "-s"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stderr = w.root, os.Environ(), &problems
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("make %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(problems.String()))
	}
	return string(out), err
}
