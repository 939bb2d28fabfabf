package stack

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"codexk8s.dev/shared/stage"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// The idea, and what becomes of it when its people have thought again. The agent that thinks it through finds where to
// begin.
const (
	ideaTitle    = "Let people send greetings to each other"
	ideaRethinks = "Let people send greetings to groups"
	ideaBody     = "People greet the world. They would rather greet each other.\n\nBegin again at: run:prd"
	quickTitle   = "Add a greeting in Italian"

	labelSuperseded = "state:superseded"
	main            = "main"
)

// Idea is how the story of an idea ended.
type Idea struct {
	Issue, Quick fakegithub.Issue // the idea, and the issue beside it
	Runs         []Run            // of the idea, oldest first
	Pulls        []fakegithub.Issue
	Documents    map[string]string // on main, by path
	Comment      string            // the issue's status comment
	Usage        Usage
}

// idea is the story while it is told.
type idea struct {
	Story
	say  func(format string, args ...any)
	runs int // that have succeeded
}

// PlayIdea plays the demonstration of one idea through all eleven stages, with the profile new-service, and of an issue
// beside it that is quickly done. Each stage opens its pull request upon that of the one before. In the middle people
// think again: an agent says where to begin, and what was made after that no longer counts. A reviewer reads the code
// before people do. In the end all documents are on the main branch, and the issue is closed. say is told of each step.
func (s *Stack) PlayIdea(ctx context.Context, say func(format string, args ...any)) (end Idea, err error) {
	big, quick := idea{Story: s.story(), say: say}, idea{Story: s.story(), say: say}
	if big.Issue, err = s.GitHub.CreateIssue(Repository, ideaTitle, ideaBody, Owner); err != nil {
		return end, fmt.Errorf("opening the issue: %w", err)
	}
	if quick.Issue, err = s.GitHub.CreateIssue(Repository, quickTitle, "Someone from Rome asks.", Owner); err != nil {
		return end, fmt.Errorf("opening the other issue: %w", err)
	}
	beside, both := errgroup.WithContext(ctx)
	beside.Go(func() error { return quick.through(both, "profile:quick-fix", "intake", "plan", "dev") })
	beside.Go(func() error { return big.tell(both) })
	if err := beside.Wait(); err != nil {
		return end, err
	}
	return big.end(ctx, quick.Issue)
}

// tell goes the idea's way.
func (i *idea) tell(ctx context.Context) error {
	if err := i.through(ctx, "profile:new-service", "intake", "vision", "prd", "arch"); err != nil {
		return err
	}
	if err := i.rethink(ctx); err != nil {
		return fmt.Errorf("thinking again: %w", err)
	}
	if err := i.through(ctx, "", "prd", "arch", "design", "plan"); err != nil {
		return err
	}
	if err := i.merge(ctx, "intake", "vision", "prd", "arch", "design", "plan"); err != nil {
		return err
	}
	if err := i.through(ctx, "", "dev"); err != nil {
		return err
	}
	if err := i.review(ctx); err != nil {
		return fmt.Errorf("the review: %w", err)
	}
	if err := i.through(ctx, "", "qa", "release", "postdeploy", "ops"); err != nil {
		return err
	}
	return i.merge(ctx, "dev", "qa", "release", "postdeploy", "ops")
}

// through has one stage after the other work on the issue, by its label.
func (i *idea) through(ctx context.Context, profile string, stages ...string) error {
	if profile != "" {
		if err := i.GitHub.AddLabel(i.Repository, i.Issue, profile, Owner); err != nil {
			return fmt.Errorf("setting %s on #%d: %w", profile, i.Issue, err)
		}
	}
	for _, of := range stages {
		if err := i.run(ctx, i.Issue, "run:"+of); err != nil {
			return err
		}
		pull, err := i.pull(of)
		if err != nil {
			return err
		}
		i.say("#%d %-10s pull request #%d into %s, %d files: %s", i.Issue, of, pull.Number, pull.Pull.Base, pull.Pull.ChangedFiles, i.page("pull", pull.Number))
	}
	return nil
}

// run sets the label, and waits until the run that it starts has succeeded and the label is gone.
func (i *idea) run(ctx context.Context, on int, label string) error {
	if err := i.GitHub.AddLabel(i.Repository, on, label, Owner); err != nil {
		return fmt.Errorf("setting %s on #%d: %w", label, on, err)
	}
	db, err := i.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	err = wait(ctx, func() (bool, string, error) {
		runs, err := readRuns(ctx, db, i.Repository, i.Issue)
		if err != nil {
			return false, "", err
		}
		for _, r := range runs {
			if slices.Contains([]string{"failed", "cancelled", "timed_out"}, r.State) {
				return false, "", fmt.Errorf("run %s of %s %s (%s): %s", r.ID, r.Stage, r.State, r.Reason, r.Message)
			}
		}
		is, err := i.GitHub.Issue(i.Repository, on)
		if err != nil {
			return false, "", fmt.Errorf("reading #%d: %w", on, err)
		}
		done := len(runs) == i.runs+1 && runs[i.runs].State == "succeeded" && !slices.Contains(is.Labels, label)
		return done, fmt.Sprintf("%s on #%d; there are %d runs, #%d has %q", label, i.Issue, len(runs), on, is.Labels), nil
	})
	i.runs++
	return err
}

// pull is the stage's newest pull request.
func (i *idea) pull(of string) (newest fakegithub.Issue, err error) {
	branch := stage.Branch(i.Issue)
	if of != "dev" {
		branch += "-" + of
	}
	for _, p := range i.GitHub.PullRequests(i.Repository) {
		if (p.Pull.Head == branch || strings.HasPrefix(p.Pull.Head, branch+"-") && of != "dev") && p.Number > newest.Number {
			newest = p
		}
	}
	if newest.Number == 0 {
		return newest, fmt.Errorf("issue #%d has no pull request of the stage %s", i.Issue, of)
	}
	return newest, nil
}

// rethink has an agent say where to begin again, after people have changed their mind. What no longer counts they
// close.
func (i *idea) rethink(ctx context.Context) error {
	i.say("%s thinks again: %q", Owner, ideaRethinks)
	if err := i.GitHub.EditIssue(i.Repository, i.Issue, ideaRethinks, ideaBody, Owner); err != nil {
		return fmt.Errorf("editing the issue: %w", err)
	}
	if err := i.run(ctx, i.Issue, "run:rethink"); err != nil {
		return err
	}
	gone, err := i.pull("arch")
	if err != nil {
		return err
	}
	if err := i.awaitLabel(ctx, gone.Number, labelSuperseded); err != nil {
		return err
	}
	err = wait(ctx, func() (bool, string, error) {
		said := i.comment()
		return strings.Contains(said, "`run:prd`: Begins again there"), "the status comment to offer run:prd, which says\n" + said, nil
	})
	if err != nil {
		return err
	}
	why, err := i.pull("rethink")
	if err != nil {
		return err
	}
	i.say("#%d rethink    pull request #%d says: begin again at run:prd; #%d is superseded", i.Issue, why.Number, gone.Number)
	for _, pull := range []int{gone.Number, why.Number} {
		if err := i.GitHub.CloseIssue(i.Repository, pull, Owner); err != nil {
			return fmt.Errorf("closing #%d: %w", pull, err)
		}
	}
	return nil
}

// review has a reviewer read the code, and a person approve it.
func (i *idea) review(ctx context.Context) error {
	code, err := i.pull("dev")
	if err != nil {
		return err
	}
	if err := i.run(ctx, code.Number, "need:reviewer"); err != nil {
		return err
	}
	reviews := i.GitHub.Reviews(i.Repository, code.Number)
	if len(reviews) != 1 {
		return fmt.Errorf("there are %d reviews of #%d, not the agent's one", len(reviews), code.Number)
	}
	i.say("#%d review     an agent has reviewed pull request #%d; %s approves it", i.Issue, code.Number, Owner)
	if _, err := i.GitHub.Review(i.Repository, code.Number, "APPROVE", "Thank you.", nil, Owner); err != nil {
		return fmt.Errorf("approving: %w", err)
	}
	return i.awaitLabel(ctx, code.Number, LabelApproved)
}

// merge merges the stages' pull requests, each once the platform has turned it to the main branch.
func (i *idea) merge(ctx context.Context, stages ...string) error {
	var merged []string
	for _, of := range stages {
		var pull fakegithub.Issue
		err := wait(ctx, func() (bool, string, error) {
			var err error
			pull, err = i.pull(of)
			return pull.Pull != nil && pull.Pull.Base == main, fmt.Sprintf("pull request #%d of the stage %s to go into %s", pull.Number, of, main), err
		})
		if err != nil {
			return err
		}
		if _, err := i.GitHub.Merge(i.Repository, pull.Number, Owner); err != nil {
			return fmt.Errorf("merging #%d of the stage %s: %w", pull.Number, of, err)
		}
		merged = append(merged, fmt.Sprintf("#%d", pull.Number))
	}
	i.say("#%d %s merges %s", i.Issue, Owner, strings.Join(merged, ", "))
	return nil
}

// comment is the issue's status comment.
func (i *idea) comment() string {
	for _, c := range i.GitHub.Comments(i.Repository, i.Issue) {
		return c.Body
	}
	return ""
}

// end collects how it ended, once all is shown on GitHub, and says what of the story's promises was not kept.
func (i *idea) end(ctx context.Context, quick int) (e Idea, err error) {
	db, err := i.connect(ctx)
	if err != nil {
		return e, err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	err = wait(ctx, func() (bool, string, error) {
		n, err := pending(ctx, db)
		return n == 0, fmt.Sprintf("%d changes to be made on GitHub", n), err
	})
	if err != nil {
		return e, err
	}
	e.Comment, e.Documents = i.comment(), map[string]string{}
	e.Runs, err = readRuns(ctx, db, i.Repository, i.Issue)
	usage, usageErr := readUsage(ctx, db)
	is, issueErr := i.GitHub.Issue(i.Repository, i.Issue)
	other, otherErr := i.GitHub.Issue(i.Repository, quick)
	if err := errors.Join(err, usageErr, issueErr, otherErr); err != nil {
		return e, err
	}
	e.Usage, e.Issue, e.Quick = usage, is, other
	for _, p := range i.GitHub.PullRequests(i.Repository) {
		if strings.HasPrefix(p.Pull.Head+"-", stage.Branch(i.Issue)+"-") {
			e.Pulls = append(e.Pulls, p)
		}
	}
	var missing []string
	for _, of := range stage.Default().Profile("new-service").Stages {
		for _, name := range stage.Default().Stage(of).Makes {
			file := stage.Default().Artefact(name).PathFor(i.Issue)
			if file == "" {
				continue
			}
			if e.Documents[file], err = i.GitHub.File(i.Repository, main, file); err != nil {
				missing = append(missing, path.Base(file))
			}
		}
	}
	prd := e.Documents[fmt.Sprintf("docs/work/%d/prd.md", i.Issue)]
	switch {
	case len(missing) > 0:
		return e, fmt.Errorf("these are not on %s: %s", main, strings.Join(missing, ", "))
	case !strings.Contains(prd, ideaRethinks):
		return e, fmt.Errorf("the requirements are of the first idea:\n%s", prd)
	case e.Issue.State != "closed":
		return e, fmt.Errorf("the issue is %s after its last stage was merged", e.Issue.State)
	}
	return e, nil
}
