package checkout

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// plants stores a tree with an evil file beside the agent's own work, under the name of the tree that its work will
// have.
const plants = french + `git add -A; good=$(git write-tree); echo evil >src/price.go; git add -A; evil=$(git write-tree); git checkout -q HEAD src/price.go
	cp -r .git/objects/?? ../git/objects/; cd ../git/objects; at() { echo $1 | sed 's,^..,&/,'; }; cp -f $(at $evil) $(at $good)`

// What the agent puts into the platform's git directory has no part in what is pushed, nor in what runs.
func TestTheAgentsHandsInOurGitDirectory(t *testing.T) {
	for name, script := range map[string]string{
		"an object under another's name": plants,
		"a filter":                       french + `echo '* filter=x' >../git/info.tmp; mkdir -p ../git/info; mv ../git/info.tmp ../git/info/attributes; printf '[filter "x"]\n\tclean = touch ../acted; cat\n\tsmudge = touch ../acted; cat\n' >>../git/config`,
		"hooks":                          french + `mkdir -p ../git/hooks; for h in pre-push reference-transaction post-index-change; do printf '#!/bin/sh\ntouch ../acted\n' >../git/hooks/$h; chmod +x ../git/hooks/$h; done; printf '[core]\n\thooksPath = ../git/hooks\n' >>../git/config`,
		"alternates":                     french + "mkdir -p ../git/objects/info; echo /tmp >../git/objects/info/alternates",
		"refs":                           french + "mkdir -p ../git/refs/kept; git rev-parse HEAD^{tree} >../git/refs/kept/base; echo x >../git/packed-refs; echo ref: refs/x >../git/HEAD",
		"a link":                         french + "rm -rf ../git/refs; ln -s /tmp ../git/refs; rm -f ../git/index; ln -s /tmp/none ../git/index",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, "")
			p.agent(script)
			work := p.ended()
			// Somebody else pushes meanwhile, so that the work is merged and objects are read.
			p.sh(t.TempDir(), "git clone -q "+p.server+" . && git switch -q -c codexk8s/issue-1 && echo more >>README.md && git commit -qam other && git push -q origin codexk8s/issue-1")
			if got := p.pushes(work); got != "M README.md\nA greetings/french.txt" {
				t.Errorf("the branch has:\n%s", got)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(p.Dir), "acted")); err == nil {
				t.Error("a program of the agent was run")
			}
		})
	}
}

// Where the server's packs themselves were touched, this pod goes no further.
func TestAlteredPacksAreSeen(t *testing.T) {
	for name, script := range map[string]string{
		"changed":       "cd ../git/objects/pack; chmod u+w *.pack; printf x | dd of=$(ls *.pack | head -1) bs=1 seek=40 conv=notrunc 2>/dev/null",
		"gone":          "rm -f ../git/objects/pack/*.pack",
		"all gone":      "rm -rf ../git",
		"index":         "cd ../git/objects/pack; chmod u+w *.idx; printf x >>$(ls *.idx | head -1)",
		"a pipe":        "cd ../git/objects/pack; i=$(ls *.idx | head -1); rm -f $i; mkfifo $i",
		"a link":        "cd ../git/objects/pack; i=$(ls *.idx | head -1); mv $i /tmp/$i.$$; ln -s /tmp/$i.$$ $i",
		"another place": "mv ../git ../other; ln -s other ../git",
	} {
		p := newPlace(t, "")
		p.agent(script)
		if err := p.Renew(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
