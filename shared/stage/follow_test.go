package stage

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reviewed is the default process with a label by which agents review.
func reviewed() *Process {
	p := Default()
	return p
}

// TestWhatFollowsAStage of the default process, for people to choose from: after each stage by any profile, with a pull
// request in review.
func TestWhatFollowsAStage(t *testing.T) {
	p := reviewed()
	for stage, want := range map[string]string{
		"intake":     "run:intake:revise run:vision(new-service) run:prd(feature) run:plan(quick-fix) need:reviewer#",
		"vision":     "run:vision:revise run:prd(feature,new-service) run:plan(quick-fix) need:reviewer# run:rethink",
		"prd":        "run:prd:revise run:arch(new-service) run:design(feature) run:plan(quick-fix) need:reviewer# run:rethink",
		"arch":       "run:arch:revise run:design(feature,new-service) run:plan(quick-fix) need:reviewer# run:rethink",
		"design":     "run:design:revise run:plan(quick-fix,feature,new-service) run:dev need:reviewer# run:rethink",
		"plan":       "run:plan:revise run:dev(quick-fix,feature,new-service) need:reviewer# run:rethink",
		"dev":        "run:dev:revise run:qa(quick-fix,feature,new-service) need:reviewer# run:rethink run:doc-audit",
		"qa":         "run:qa:revise run:release(quick-fix,feature,new-service) need:reviewer# run:rethink run:doc-audit",
		"release":    "run:release:revise run:postdeploy(quick-fix,feature,new-service) need:reviewer# run:rethink run:doc-audit",
		"postdeploy": "run:postdeploy:revise run:ops(quick-fix,feature,new-service) need:reviewer# run:rethink run:doc-audit run:self-improve",
		"ops":        "run:ops:revise need:reviewer# run:rethink run:doc-audit run:self-improve",

		// Beside the profiles.
		"doc-audit":    "run:plan run:dev run:qa",
		"self-improve": "run:qa",
		"rethink":      "run:intake run:prd run:plan",
		"discussion":   "",
	} {
		if got := spell(p.Following(stage, "", true)); got != want {
			t.Errorf("after %s:\ngot  %s\nwant %s", stage, got, want)
		}
	}
}

// TestWhatEndsAnIssue: merging the pull request of its profile's last stage or, without a profile, of one that is not
// about documents.
func TestWhatEndsAnIssue(t *testing.T) {
	p := Default()
	for _, c := range []struct {
		stage, profile string
		goesOn         bool
	}{
		{"dev", "", false}, {"dev", "quick-fix", true}, {"ops", "quick-fix", false}, {"ops", "", true},
		{"intake", "", true}, {"prd", "feature", true}, {"doc-audit", "feature", true}, {"rethink", "", true},
	} {
		if got := p.goesOn(p.Stage(c.stage), p.Profile(c.profile)); got != c.goesOn {
			t.Errorf("an issue of profile %q goes on after %s: %t", c.profile, c.stage, got)
		}
	}
}

// TestWhatFollowsByAProfile: the others' stages are not offered, and nothing is reworked or reviewed that is not there.
func TestWhatFollowsByAProfile(t *testing.T) {
	p := reviewed()
	for _, c := range []struct {
		stage, profile string
		pull           bool
		want           string
	}{
		{"intake", "quick-fix", true, "run:intake:revise run:plan(quick-fix) need:reviewer#"},
		{"intake", "feature", true, "run:intake:revise run:prd(feature) need:reviewer#"},
		{"intake", "New-Service", true, "run:intake:revise run:vision(new-service) need:reviewer#"},
		{"arch", "feature", true, "run:arch:revise run:design(feature) need:reviewer# run:rethink"},
		{"design", "feature", true, "run:design:revise run:plan(feature) run:dev need:reviewer# run:rethink"},
		{"design", "feature", false, "run:plan(feature) run:dev run:rethink"},
		{"rethink", "quick-fix", true, "run:intake run:plan"},
		{"intake", "unheard-of", false, "run:vision(new-service) run:prd(feature) run:plan(quick-fix)"},
	} {
		if got := spell(p.Following(c.stage, c.profile, c.pull)); got != c.want {
			t.Errorf("after %s by %s:\ngot  %s\nwant %s", c.stage, c.profile, got, c.want)
		}
	}
}

// TestWhatAStageTakes: the longer an issue's way, the more must be there.
func TestWhatAStageTakes(t *testing.T) {
	for _, c := range []struct{ stage, profile, want string }{
		{"intake", "new-service", ""},
		{"dev", "", ""},
		{"dev", "quick-fix", "delivery_plan definition_of_done"},
		{"dev", "feature", "prd nfr design_doc api_contract data_model migrations_policy delivery_plan definition_of_done"},
		{"plan", "quick-fix", "brief scope"},
		{"design", "feature", "prd nfr user_stories"},
		{"design", "new-service", "prd nfr user_stories c4_context c4_container adr alternatives"},
		{"doc-audit", "feature", ""},
		{"nothing", "feature", ""},
	} {
		var got []string
		for _, a := range Default().Required(c.stage, c.profile) {
			got = append(got, a.Name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s by %s takes %s, want %s", c.stage, c.profile, got, c.want)
		}
	}
}

func spell(steps []Step) string {
	var all []string
	for _, s := range steps {
		label := s.Label
		if s.Profiles != nil {
			label += "(" + strings.Join(s.Profiles, ",") + ")"
		}
		if s.OnPull {
			label += "#"
		}
		all = append(all, label)
	}
	return strings.Join(all, " ")
}

// TestCatalogue: every label once, whatever its case, as GitHub takes it.
func TestCatalogue(t *testing.T) {
	all := Default().Catalogue()
	seen := map[string]bool{}
	var starting []string
	for _, l := range all {
		if seen[fold(l.Name)] || len(l.Name) > maxLabel || len(l.Description) > maxDescription || l.Description == "" || len(l.Colour) != 6 {
			t.Errorf("%+v", l)
		}
		seen[fold(l.Name)] = true
		if Default().IsTrigger(l.Name) {
			starting = append(starting, l.Name)
		}
	}
	want := []string{"run:abort"}
	for _, s := range []string{"intake", "vision", "prd", "arch", "design", "plan", "dev", "qa", "release", "postdeploy", "ops", "doc-audit", "self-improve", "rethink"} {
		want = append(want, "run:"+s, "run:"+s+":revise")
	}
	if diff := cmp.Diff(sorted(want), sorted(starting)); diff != "" {
		t.Errorf("what starts or stops (-want +got):\n%s", diff)
	}
	for _, l := range []string{
		"state:blocked", "state:in-review", "state:approved", "state:superseded", "state:abandoned", "need:input", "need:pm", "need:sa", "need:em", "need:qa",
		"need:sre", "need:km", "profile:quick-fix", "profile:feature", "profile:new-service",
		"[ai-model-gpt-5.4]", "[ai-reasoning-low]", "[ai-reasoning-medium]", "[ai-reasoning-high]", "[ai-reasoning-extra-high]",
	} {
		if !seen[l] {
			t.Errorf("%s is not among them", l)
		}
	}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}
