package webhook

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/plain"
)

// Actor is who did something.
type Actor struct {
	Login string
	Type  string // "User", "Bot", "Organization"; "" = the payload lost it
	ID    int64  // stable across renames, so rights depend on it
}

// Bot reports whether the actor is a program. GitHubSource may lose the type, but not the suffix.
func (a Actor) Bot() bool { return a.Type == "Bot" || strings.HasSuffix(a.Login, "[bot]") }

// Repository is where something happened.
type Repository struct {
	Name          string // "owner/name"
	ID            int64
	DefaultBranch string // "" where the payload has lost it
	CloneURL      string // https, always filled
	Private       bool
}

// IssueEvent is what an `issues` payload says.
type IssueEvent struct {
	Action     string // "labeled", "unlabeled", "opened", "closed", …
	Label      string // the label that was set or removed; "" for other actions
	Repository Repository
	Number     int64
	Title      string
	Body       string
	URL        string // for people
	State      string // "open" or "closed"
	Labels     []string
	Author     Actor
	UpdatedAt  time.Time // zero where the payload has lost it
	Sender     Actor
}

// PullRequest is the part of a pull request that events share.
type PullRequest struct {
	Number         int64
	Title          string
	Body           string
	URL            string // for people
	State          string // "open" or "closed"
	Draft          bool
	Merged         bool
	MergeCommit    string
	Labels         []string
	HeadRef        string // branch
	HeadRepository string // "owner/name"; "" when the fork was deleted
	HeadSHA        string
	BaseRef        string
	BaseSHA        string
	Author         Actor
	UpdatedAt      time.Time
}

// FromFork reports whether the pull request's branch is in another repository, so that we did not push it.
func (p PullRequest) FromFork(repository string) bool {
	return !strings.EqualFold(p.HeadRepository, repository)
}

// PullRequestEvent is what a `pull_request` payload says. A merge is action "closed" with Merged.
type PullRequestEvent struct {
	Action      string
	Label       string // the label that was set or removed; "" for other actions
	Repository  Repository
	PullRequest PullRequest
	Sender      Actor
}

// Review is one review of a pull request.
type Review struct {
	ID          int64
	State       string // lower case: "approved", "changes_requested", "commented", "dismissed", "pending"
	Body        string
	Author      Actor
	URL         string
	CommitSHA   string // the head it was given for
	SubmittedAt time.Time
	Insider     bool // see Insider
}

// Insider reports whether an author is related to the repository in a way by which the author's reviews are meant for
// an agent. Anybody may review a public pull request.
// https://docs.github.com/graphql/reference/enums#commentauthorassociation
func Insider(association string) bool {
	return slices.Contains([]string{"OWNER", "MEMBER", "COLLABORATOR"}, association)
}

// ReviewEvent is what a `pull_request_review` payload says.
type ReviewEvent struct {
	Action      string // "submitted", "edited", "dismissed"
	Repository  Repository
	PullRequest PullRequest // Merged and Draft may be missing from it: GitHub sends a shorter form here
	Review      Review
	Sender      Actor
}

// CommentEvent is what an `issue_comment` payload says; GitHub uses it for pull requests too.
type CommentEvent struct {
	Action        string // "created", "edited", "deleted"
	Repository    Repository
	Number        int64
	OnPullRequest bool
	Labels        []string
	CommentID     int64
	Body          string
	URL           string
	Author        Actor
	ViaApp        bool // a program wrote it on the author's behalf
	UpdatedAt     time.Time
	Sender        Actor
}

// IssueFrom decodes an `issues` payload, from our adapter or from GitHubSource, which encodes the payload again with
// the fields it knows. Only the indispensable is required: the repository's name and the number. All texts can be
// stored: see plain.Unmarshal.
func IssueFrom(payload []byte) (IssueEvent, error) {
	p, err := decode("issues", payload)
	if err != nil {
		return IssueEvent{}, err
	}
	if !isNumber(p.Issue.Number) {
		return IssueEvent{}, missing("issues", "issue.number")
	}
	return IssueEvent{
		Action: p.Action, Label: p.Label.Name, Repository: p.repository(),
		Number: p.Issue.Number, Title: p.Issue.Title, Body: p.Issue.Body, State: p.Issue.State,
		URL:    cmp.Or(p.Issue.HTMLURL, fmt.Sprintf("%s/%s/issues/%d", sourceHost, p.Repository.FullName, p.Issue.Number)),
		Labels: names(p.Issue.Labels), Author: p.Issue.User.actor(), UpdatedAt: p.Issue.UpdatedAt.Time,
		Sender: p.Sender.actor(),
	}, nil
}

// PullRequestFrom decodes a `pull_request` payload; see IssueFrom.
func PullRequestFrom(payload []byte) (PullRequestEvent, error) {
	p, err := decode("pull_request", payload)
	if err != nil {
		return PullRequestEvent{}, err
	}
	pr := p.pullRequest()
	if !isNumber(pr.Number) {
		return PullRequestEvent{}, missing("pull_request", "pull_request.number")
	}
	return PullRequestEvent{
		Action: p.Action, Label: p.Label.Name, Repository: p.repository(), PullRequest: pr, Sender: p.Sender.actor(),
	}, nil
}

// ReviewFrom decodes a `pull_request_review` payload; see IssueFrom.
func ReviewFrom(payload []byte) (ReviewEvent, error) {
	p, err := decode("pull_request_review", payload)
	if err != nil {
		return ReviewEvent{}, err
	}
	pr := p.pullRequest()
	if !isNumber(pr.Number) {
		return ReviewEvent{}, missing("pull_request_review", "pull_request.number")
	}
	if p.Review.ID == 0 {
		return ReviewEvent{}, missing("pull_request_review", "review.id")
	}
	return ReviewEvent{
		Action: p.Action, Repository: p.repository(), PullRequest: pr, Sender: p.Sender.actor(),
		Review: Review{
			// The webhook has "changes_requested", the REST API "CHANGES_REQUESTED".
			ID: p.Review.ID, State: strings.ToLower(p.Review.State), Body: p.Review.Body, Author: p.Review.User.actor(),
			URL: p.Review.HTMLURL, CommitSHA: p.Review.CommitID, SubmittedAt: p.Review.SubmittedAt.Time,
			Insider: Insider(p.Review.Association),
		},
	}, nil
}

// CommentFrom decodes an `issue_comment` payload; see IssueFrom.
func CommentFrom(payload []byte) (CommentEvent, error) {
	p, err := decode("issue_comment", payload)
	if err != nil {
		return CommentEvent{}, err
	}
	if !isNumber(p.Issue.Number) {
		return CommentEvent{}, missing("issue_comment", "issue.number")
	}
	if p.Comment.ID == 0 {
		return CommentEvent{}, missing("issue_comment", "comment.id")
	}
	return CommentEvent{
		Action: p.Action, Repository: p.repository(), Number: p.Issue.Number, OnPullRequest: p.Issue.PullRequest != nil,
		Labels: names(p.Issue.Labels), CommentID: p.Comment.ID, Body: p.Comment.Body, URL: p.Comment.HTMLURL,
		Author: p.Comment.User.actor(), ViaApp: p.Comment.App != nil, UpdatedAt: p.Comment.UpdatedAt.Time, Sender: p.Sender.actor(),
	}, nil
}

// CheckEvent is what a `check_run`, `check_suite` or `status` payload says.
type CheckEvent struct {
	Repository Repository
	SHA        string
	Name       string   // of the check run, or the status's context; "" = a whole suite
	Branches   []string // that are at the commit, as far as GitHub names them
	Reported   bool     // it has come to an end
}

// CheckFrom decodes a payload of one of the three; see IssueFrom. A check of a fork's commit may name a branch that the
// repository has too, so a receiver compares the commit.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#check_run
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#status
func CheckFrom(payload []byte) (CheckEvent, error) {
	p, err := decode("check", payload)
	if err != nil {
		return CheckEvent{}, err
	}
	c := CheckEvent{Repository: p.repository(), Name: p.CheckRun.Name, SHA: cmp.Or(p.CheckRun.HeadSHA, p.CheckSuite.HeadSHA, p.SHA)}
	switch {
	case p.CheckRun.HeadSHA != "":
		c.Branches, c.Reported = []string{p.CheckRun.Suite.HeadBranch}, p.CheckRun.Status == "completed"
	case p.CheckSuite.HeadSHA != "":
		c.Branches, c.Reported = []string{p.CheckSuite.HeadBranch}, p.Action == "completed"
	case p.SHA == "":
		return CheckEvent{}, missing("check", "a commit")
	default:
		c.Name, c.Reported = p.Context, p.State != "pending"
		for _, b := range p.Branches {
			c.Branches = append(c.Branches, b.Name)
		}
	}
	return c, nil
}

func missing(event, field string) error {
	return fmt.Errorf("%s payload without %s", event, field)
}

// isNumber reports whether an issue or a pull request can have the number: GitHub's GraphQL API has 32 bits for it, and
// so has our database.
// https://docs.github.com/en/graphql/reference/objects#issue (number: Int!)
func isNumber(n int64) bool { return n > 0 && n <= math.MaxInt32 }

func decode(event string, data []byte) (*payload, error) {
	p := new(payload)
	if err := plain.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("decoding the %s payload: %w", event, err)
	}
	if owner, name, ok := strings.Cut(p.Repository.FullName, "/"); !ok || !IsName(owner) || !IsName(name) {
		return nil, missing(event, "a repository.full_name of the form owner/name")
	}
	return p, nil
}

// payload holds the fields we read of any webhook payload; what is absent or null stays zero.
type payload struct {
	Action      string         `json:"action"`
	Number      int64          `json:"number"`
	Label       label          `json:"label"`
	Issue       issue          `json:"issue"`
	PullRequest pullRequest    `json:"pull_request"`
	Review      review         `json:"review"`
	Comment     comment        `json:"comment"`
	Repository  repositoryJSON `json:"repository"`
	Sender      user           `json:"sender"`

	CheckRun struct {
		Name    string     `json:"name"`
		HeadSHA string     `json:"head_sha"`
		Status  string     `json:"status"`
		Suite   checkSuite `json:"check_suite"`
	} `json:"check_run"`
	CheckSuite checkSuite `json:"check_suite"`

	// Of a status, which has no object of its own.
	SHA      string  `json:"sha"`
	Context  string  `json:"context"`
	State    string  `json:"state"`
	Branches []label `json:"branches"`
}

type checkSuite struct {
	HeadBranch string `json:"head_branch"`
	HeadSHA    string `json:"head_sha"`
}

type label struct {
	Name string `json:"name"`
}

type user struct {
	Login string `json:"login"`
	ID    int64  `json:"id"`
	Type  string `json:"type"`
}

type repositoryJSON struct {
	ID            int64  `json:"id"`
	FullName      string `json:"full_name"`
	DefaultBranch string `json:"default_branch"`
	CloneURL      string `json:"clone_url"`
	Private       bool   `json:"private"`
}

type issue struct {
	Number      int64     `json:"number"`
	Title       string    `json:"title"`
	Body        string    `json:"body"`
	HTMLURL     string    `json:"html_url"`
	State       string    `json:"state"`
	Labels      []label   `json:"labels"`
	User        user      `json:"user"`
	UpdatedAt   timestamp `json:"updated_at"`
	PullRequest *struct{} `json:"pull_request"`
}

type branch struct {
	Ref  string         `json:"ref"`
	SHA  string         `json:"sha"`
	Repo repositoryJSON `json:"repo"`
}

type pullRequest struct {
	Number      int64     `json:"number"`
	Title       string    `json:"title"`
	Body        string    `json:"body"`
	HTMLURL     string    `json:"html_url"`
	State       string    `json:"state"`
	Draft       bool      `json:"draft"`
	Merged      bool      `json:"merged"`
	MergedAt    timestamp `json:"merged_at"`
	MergeCommit string    `json:"merge_commit_sha"`
	Labels      []label   `json:"labels"`
	Head        branch    `json:"head"`
	Base        branch    `json:"base"`
	User        user      `json:"user"`
	UpdatedAt   timestamp `json:"updated_at"`
}

type review struct {
	ID          int64     `json:"id"`
	State       string    `json:"state"`
	Body        string    `json:"body"`
	HTMLURL     string    `json:"html_url"`
	CommitID    string    `json:"commit_id"`
	User        user      `json:"user"`
	Association string    `json:"author_association"`
	SubmittedAt timestamp `json:"submitted_at"`
}

type comment struct {
	ID        int64     `json:"id"`
	Body      string    `json:"body"`
	HTMLURL   string    `json:"html_url"`
	User      user      `json:"user"`
	App       any       `json:"performed_via_github_app"`
	UpdatedAt timestamp `json:"updated_at"`
}

// timestamp is a time that may be absent, null, in seconds (some of GitHub's are) or unreadable: a delivery must not be
// refused because of a date that only orders things. A year beyond lastYear is unreadable too, because nothing would
// ever count as newer.
type timestamp struct{ time.Time }

// lastYear is the last plausible one.
const lastYear = 2199

func (t *timestamp) UnmarshalJSON(data []byte) error {
	var text string
	var seconds int64
	if json.Unmarshal(data, &text) == nil {
		if at, err := time.Parse(time.RFC3339, text); err == nil && at.Year() > 1 && at.Year() <= lastYear {
			t.Time = at.UTC()
		}
	} else if json.Unmarshal(data, &seconds) == nil && seconds > 0 {
		if at := time.Unix(seconds, 0).UTC(); at.Year() > 1 && at.Year() <= lastYear {
			t.Time = at
		}
	}
	return nil
}

func (u user) actor() Actor { return Actor{Login: u.Login, Type: u.Type, ID: u.ID} }

func (p *payload) repository() Repository {
	r := p.Repository
	return Repository{
		Name: r.FullName, ID: r.ID, DefaultBranch: r.DefaultBranch, Private: r.Private,
		CloneURL: cmp.Or(r.CloneURL, sourceHost+"/"+r.FullName+".git"),
	}
}

func (p *payload) pullRequest() PullRequest {
	pr := p.PullRequest
	if pr.Number == 0 {
		pr.Number = p.Number // GitHubSource's form has it only here for some actions
	}
	return PullRequest{
		Number: pr.Number, Title: pr.Title, Body: pr.Body, State: pr.State, Draft: pr.Draft,
		URL:    cmp.Or(pr.HTMLURL, fmt.Sprintf("%s/%s/pull/%d", sourceHost, p.Repository.FullName, pr.Number)),
		Merged: pr.Merged || !pr.MergedAt.IsZero(), MergeCommit: pr.MergeCommit, Labels: names(pr.Labels),
		HeadRef: pr.Head.Ref, HeadRepository: pr.Head.Repo.FullName, HeadSHA: pr.Head.SHA,
		BaseRef: pr.Base.Ref, BaseSHA: pr.Base.SHA, Author: pr.User.actor(), UpdatedAt: pr.UpdatedAt.Time,
	}
}

func names(labels []label) []string {
	out := make([]string, 0, len(labels))
	for _, l := range labels {
		out = append(out, l.Name)
	}
	return out
}
