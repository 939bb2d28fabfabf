package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/prompt"
)

// What the prompt is written by: of the run, its process, its project and the installation.
func TestAnAgentIsTold(t *testing.T) {
	f := setup(t)
	f.h.house = house{language: "en", learning: true, prompts: prompt.Versioned{Version: "9f8e7d6c5b4a", Parts: prompt.Parts{"en": {"rules": "x"}, "ru": {"gate": "y"}}}}
	f.exec(`UPDATE projects SET settings = '{"language": "ru", "learners": {"olga": false}, "modes": {"pm": "full-env"}}'`)
	f.exec(`INSERT INTO project_prompts (project_id, version, parts, set_by, set_at)
		VALUES ('shop', 1, '{"ru": {"gate": "old"}}', 'm', now()), ('shop', 2, '{"ru": {"goal prd": "z"}}', 'm', now())`)
	f.exec(`UPDATE work_items SET labels = '{bug,run:prd}'`)
	f.exec(`UPDATE runs SET stage = 'prd', role = 'pm', kind = 'work'`)
	f.grant(`["status_report","labels_add","ask","secret_sync"]`, `["labels_add"]`)
	f.exec(`UPDATE runs SET granted = granted || '{"goesOn": true}'`)
	got, err := f.agent().GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &agentapi.Assignment{
		Mode: "full-env", Namespace: namespace, IssueLabels: []string{"bug", "run:prd"}, Language: "ru", Learning: false, GoesOn: true,
		Tools: []*agentapi.Tool{{Name: "ask", Free: true}, {Name: "status_report", Free: true}, {Name: "labels_add", Free: true}, {Name: "secret_sync"}},
		Wordings: []*agentapi.Wording{
			{Source: "installation", Version: "9f8e7d6c5b4a", Parts: map[string]string{"gate": "y"}},
			{Source: "project", Version: "2", Parts: map[string]string{"goal prd": "z"}},
		},
	}
	told := &agentapi.Assignment{
		Mode: got.GetMode(), Namespace: got.GetNamespace(), IssueLabels: got.GetIssueLabels(), Language: got.GetLanguage(), Learning: got.GetLearning(), GoesOn: got.GetGoesOn(),
		Tools: got.GetTools(), Wordings: got.GetWordings(),
	}
	if diff := cmp.Diff(want, told, protocmp.Transform()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	var files []string
	for _, a := range append(got.GetArtefacts(), got.GetDocuments()...) {
		files = append(files, a.GetName()+" "+a.GetPath())
	}
	if all := strings.Join(files, ", "); !strings.HasPrefix(all, "prd docs/work/12/prd.md, nfr docs/work/12/nfr.md") || !strings.Contains(all, "brief docs/work/12/brief.md") {
		t.Errorf("artefacts and documents: %s", all)
	}
}

// What the task was written from stays with the run as its first pod said.
func TestARunKeepsWhatItsTaskWasWrittenFrom(t *testing.T) {
	f := setup(t)
	for _, p := range []*agentapi.Prompt{nil, {Template: "work dev", Language: "ru", Source: "project", Version: "2\x00", Hash: strings.Repeat("a", 64)}, {Template: "other"}} {
		if _, err := f.agent().Heartbeat(t.Context(), &agentapi.HeartbeatRequest{Prompt: p}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{`{"hash": "` + strings.Repeat("a", 64) + `", "source": "project", "version": "2", "language": "ru", "template": "work dev"}`}
	if diff := cmp.Diff(want, f.sql.Lines(`SELECT prompt::text FROM runs WHERE prompt IS NOT NULL`)); diff != "" {
		t.Errorf("the run's prompt (-want +got):\n%s", diff)
	}
}
