package checkout

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Refused is an answer of the server that another attempt would not change.
type Refused struct {
	Access bool   // to the repository: 401, 403, 404. Otherwise the push is refused.
	Words  string // the server's, for people
}

func (e *Refused) Error() string { return "the server refused: " + e.Words }

// errMoved says that the server's branch has moved.
var errMoved = errors.New("the branch has moved")

// A verdict says what a failed command that talks to the server means.
type verdict int

const (
	unknown   verdict = iota
	temporary         // the server may be back in a moment
	moved             // the branch is not where we expected it
	noAccess          // to the repository
	noPush            // of this push
)

var (
	quoted = regexp.MustCompile(`'[^']*'`) // URLs, paths and refs, which may contain any word
	status = regexp.MustCompile(`(?:HTTP|returned error:) (\d{3})\b`)
	// What git and curl say about servers that may be back.
	away = regexp.MustCompile(`(?i)could not resolve|connection (refused|reset|timed out|was aborted)|failed to connect|couldn't connect|` +
		`early EOF|RPC failed|unexpected disconnect|timed out|timeout|too slow|Empty reply|hung up unexpectedly|` +
		`could not read (Username|Password)|(gnutls|SSL)_\w+|HTTP/2 stream|bad line length|invalid index-pack output`)
	// Reasons that git gives for a ref that it did not write.
	races = regexp.MustCompile(`is at [0-9a-f]{40} but expected|reference already exists|Unable to create|^failed to (update ref|lock)|^Internal Server Error|` +
		`unpacker error|^unable to migrate objects`)
	// The same of a ref that is not where it was expected; the last two are git's from 2.50 on:
	// https://github.com/git/git/blob/v2.50.0/refs.c (ref_transaction_error_msg)
	raced = regexp.MustCompile(`but expected|reference already exists$|^reference does not exist$|^incorrect old value provided$`)
	// ailing is what GitHub says beside a bare "failure" when its own storage fails. No hook has spoken then.
	ailing = regexp.MustCompile(`(?m)^remote: (?:fatal error in commit_refs|Internal Server Error)`)
	clash  = regexp.MustCompile(`exists; cannot create|directory file conflict`)
)

// judge reads git's own lines. What follows "remote:" is a hook's text and may contain any word; so may names.
func judge(g *gitError) verdict {
	for line := range strings.Lines(g.told) {
		line = strings.TrimSpace(line)
		at := strings.Index(line, "[remote rejected] (")
		switch {
		case !strings.HasPrefix(line, "!"):
		case strings.Contains(line, "\t[rejected] ("):
			return moved
		case at >= 0:
			why := strings.TrimSuffix(line[at+len("[remote rejected] ("):], ")")
			switch {
			case clash.MatchString(why):
				return noPush
			case raced.MatchString(why):
				return moved
			case why == "failure" && ailing.MatchString(g.said):
				return temporary
			case races.MatchString(quoted.ReplaceAllString(why, "")):
				return temporary
			}
			return noPush
		}
	}
	said := own(g.said)
	for _, m := range status.FindAllStringSubmatch(said, -1) {
		code, _ := strconv.Atoi(m[1])
		switch {
		case code == 401 || code == 403 || code == 404 || code == 410 || code == 451:
			return noAccess
		case code == 408 || code == 425 || code == 429 || code >= 500:
			return temporary
		case code >= 400:
			return noPush
		}
	}
	switch {
	case strings.Contains(said, "Authentication failed for") || strings.Contains(said, "fatal: repository  not found"):
		return noAccess
	case away.MatchString(said):
		return temporary
	}
	return unknown
}

// own is git's own lines without what they quote.
func own(said string) string {
	var b strings.Builder
	for line := range strings.FieldsFuncSeq(said, func(c rune) bool { return c == '\n' || c == '\r' }) {
		if !strings.HasPrefix(line, "remote:") {
			b.WriteString(quoted.ReplaceAllString(line, "") + "\n")
		}
	}
	return b.String()
}

// words are what a person wants to read about it: the server's lines and git's reason, not its progress.
func (g *gitError) words() string {
	var lines []string
	for line := range strings.FieldsFuncSeq(g.said+"\n"+g.told, func(c rune) bool { return c == '\n' || c == '\r' }) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "remote:"))
		reason := strings.HasPrefix(line, "!")
		if reason {
			line = line[strings.LastIndexByte(line, '\t')+1:]
		}
		if line != "" && line != "Done" && !strings.HasPrefix(line, "To ") && !strings.HasPrefix(line, "error: failed to push some refs") && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return tailOf(strings.Join(lines, "\n"))
}

// beliefs are the waits before access that was refused is tried again: a credential that is seconds old is not known to
// all of a server's machines.
var beliefs = []time.Duration{time.Second, 3 * time.Second}

// remote runs a command that talks to the server, again and again while that cannot be reached. Only here does git get
// what the credential helper needs. Errors are *Refused, errMoved, or temporary.
func (r *Repository) remote(ctx context.Context, args ...string) (string, error) {
	helper := []string{"-c", "credential.helper=", "-c", "credential.helper=" + r.Helper, "-c", "credential.useHttpPath=true"}
	doubted := 0
	var last *gitError
	out, err := backoff.Retry(ctx, func() (string, error) {
		environ, err := r.Access(ctx)
		if err != nil {
			return "", backoff.Permanent(err)
		}
		cmd := r.command(ctx, environ, args...)
		cmd.Args = slices.Insert(cmd.Args, 1, helper...)
		out, err := r.text(ctx, cmd)
		if !errors.As(err, &last) {
			return out, err
		}
		last.command = args[0]
		switch judge(last) {
		case temporary:
			return out, err
		case moved:
			return out, backoff.Permanent(errMoved)
		case noAccess:
			if doubted < len(beliefs) {
				doubted++
				return out, fmt.Errorf("%w: %w", err, &backoff.RetryAfterError{Duration: beliefs[doubted-1]})
			}
		}
		return out, backoff.Permanent(err)
	}, backoff.WithMaxElapsedTime(r.RetryFor))
	if err == nil || ctx.Err() != nil || errors.Is(err, errMoved) || last == nil {
		return out, err
	}
	switch v := judge(last); {
	case v == noAccess:
		return out, &Refused{Access: true, Words: last.words()}
	case v == noPush, v == temporary && strings.Contains(last.told, "[remote rejected]"):
		return out, &Refused{Words: last.words()}
	}
	return out, err
}
