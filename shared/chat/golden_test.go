package chat_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"html/template"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
)

var update = flag.Bool("update", false, "write what the channels show into testdata")

// TestWhatPeopleRead holds every channel to what it shows of a message: the files have the message, the comment on
// GitHub in its Markdown, and for each other channel its text, the markup with links in it, and the buttons.
func TestWhatPeopleRead(t *testing.T) {
	files, err := filepath.Glob("testdata/messages/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no messages in testdata", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			w := newWorld(t)
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var m events.ApprovalMessage
			if err := json.Unmarshal(archive.Files[0].Data, &m); err != nil {
				t.Fatal(err)
			}
			got := []txtar.File{archive.Files[0], {Name: approval.GitHub, Data: []byte(chat.GitHubComment(m) + "\n")}}
			for _, name := range slices.Sorted(maps.Keys(w.channels)) {
				got = append(got, txtar.File{Name: name, Data: []byte(w.shown(name, m))})
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(&txtar.Archive{Comment: archive.Comment, Files: got}), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(texts(archive.Files), texts(got)); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
		})
	}
}

func texts(files []txtar.File) map[string]string {
	out := map[string]string{}
	for _, f := range files {
		out[f.Name] = string(f.Data)
	}
	return out
}

// shown is what a channel makes of a message.
func (w *world) shown(name string, m events.ApprovalMessage) string {
	w.t.Helper()
	if _, err := w.channels[name].Post(ctx(w.t), targets[name], m); err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	if name == approval.HTTP && m.State.Final() {
		return "" // nobody is asked
	}
	p := w.newest(name)
	if name == approval.HTTP { // every attempt has another id
		p.View = template.HTML(strings.ReplaceAll(string(p.View), p.ID, "ID"))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", strings.TrimSpace(string(p.View)))
	for _, button := range p.Buttons {
		fmt.Fprintf(&b, "[%s]\n", button.Label)
	}
	return b.String()
}
