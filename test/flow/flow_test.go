// Package flow_test plays the deciders over scripts, in one goroutine and without I/O. Each file in testdata is a
// specification: what happens, and all that the platform emits and audits because of it.
//
// A script has one act a line; the answer is compared with the file's want section, and written there by go test
// -update. Acts:
//
//	bind REPO PROJECT [parallel=N] [full-env] [day=DOLLARS] [fallback=MODEL]   the repository belongs to the
//	                                     project; full-env is the mode of role dev, day what the project may spend
//	                                     in one, fallback what may stand in for gpt-5.4
//	process PROJECT FILE|-                     it goes by a process of its own, a section after want; by none
//	storm PROJECT RUNS WITHIN POLICY           so many runs may be asked for in a repository of the project
//	member LOGIN ROLE
//	label REPO#N LABEL LOGIN [other labels on the issue …] [on=pr|on=other] [of=STAGE] [at=12:05:00]
//	command REPO#N COMMAND LOGIN KEY [LABEL] [seen=DIGEST] [WORDS …]   what a person asks for in the console: start,
//	                                     cancel (the newest run), release, drop; the key makes it one
//	observed REPO#N LABEL LOGIN [rewriter=…]   a label whose webhook never came; who else changed the text since
//	unlabel REPO#N LABEL LOGIN [at=…]
//	edit REPO#N ACTION LOGIN [at=…]      closed, reopened, …
//	review REPO#N STATE LOGIN ID [sha=…] [at=…]
//	comment REPO#N ID LOGIN WORDS … [created|edited|deleted] [at=…]   on the issue; deleted and edited by LOGIN
//	pull REPO#N ACTION LOGIN [number=…] [sha=…] [base=…] [merged] [draft] [of=STAGE] [at=…]   opened, closed, …
//	started|finished REPO#N [JOB]        what Kubernetes says of the run's Job, the first unless said
//	failed REPO#N REASON [JOB]
//	restart REPO#N                       the run's next Job starts
//	ask REPO#N approval|question TITLE [ACTION] [unheard]   the agent asks people, about tool:NAME or label:NAME, say;
//	                                     unheard: the news of that is yet to come
//	spent REPO#N DOLLARS                 the run's calls of models have cost that much more
//	short REPO#N SCOPE                   no further call fits into that budget, run or day, and people are asked
//	warned REPO#N SCOPE                  so much of that budget is used that people are told
//	limited REPO#N DURATION REASON [unheard]   the provider of the run's model does not answer for so long
//	executed REPO#N TITLE [REASON]       the platform has done what was approved, or can't for the reason
//	decided REPO#N TITLE|ACTION OUTCOME [WHO] [option=N]   what has become of it
//	lookup REPO#N none|REASON            there is no services.yaml, or it can't be had
//	lookup REPO#N found NAME=IMAGE … [JOB]     services.yaml, with these services
//	files REPO#N [from=BRANCH] [-FILE|-*] [FILE=FAULT|FILE=BRANCH] [outside=PATH] [says=LABEL] [unreadable=REASON]
//	                                     of what was asked; the rest is there, at the first place that was asked for
//	                                     unless said
//	exit REPO [CHECK=pending|passed|failed] [tip=SHA] [apart] [silent]   what GitHub shows of what is delivered there
//	                                     next: required checks, another commit of the branch, none that descends from
//	                                     the base, no answer
//	check REPO#N NAME pending|passed|failed [as=status|suite] [sha=SHA]   a required check begins or ends
//	rights REPO#N                        prints what its run may do
//	reviewed REPO#N [REASON]             the review is on the pull request, or can't be for the reason
//	report REPO#N OUTCOME [REASON]       the agent's word; of a success, explained: with lessons
//	advance DURATION                     time passes, timers come due
//	again                                the act before, delivered a second time
//
// A pull request is the newest of the issue's, or that of a stage. at is GitHub's time of what happened, if that is not
// now: the news comes late. The labels that the platform asks for are set and removed, and GitHub reports it.
package flow_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the want sections")

func TestFlow(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Files) < 2 || a.Files[0].Name != "script" || a.Files[1].Name != "want" {
				t.Fatalf("%s: want the sections script and want", file)
			}
			w := newWorld(t)
			w.files = map[string]string{}
			for _, f := range a.Files[2:] {
				w.files[f.Name] = string(f.Data)
			}
			for _, line := range strings.Split(strings.TrimSpace(string(a.Files[0].Data)), "\n") {
				w.play(line)
			}
			if *update {
				a.Files[1].Data = []byte(w.out.String())
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(a.Files[1].Data), w.out.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}
