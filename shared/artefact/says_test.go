package artefact

import "testing"

func TestWhatADocumentSays(t *testing.T) {
	words := []string{"run:prd", "run:plan"}
	for document, want := range map[string]string{
		"": "", "# Begin again at\n\n`run:prd`\n": "run:prd", "- **run:plan**.\n": "run:plan", "run:prd\r\n": "run:prd",
		"We begin at `run:prd` again.\n": "", "run:prd\n\nrun:plan\n": "", "run:prd\n\nrun:prd\n": "run:prd", "run:qa": "",
	} {
		if got := Says([]byte(document), words); got != want {
			t.Errorf("%q says %q, want %q", document, got, want)
		}
	}
}
