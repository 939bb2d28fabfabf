package words

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/reason"
)

var verbs = regexp.MustCompile(`%[a-z]`)

func TestBothLanguagesSayEverything(t *testing.T) {
	for f, en := range reflect.ValueOf(english).Fields() {
		ru := reflect.ValueOf(russian).FieldByName(f.Name)
		for key, pair := range pairs(en, ru) {
			if pair[0] == "" || pair[1] == "" {
				t.Errorf("%s %s: a language says nothing", f.Name, key)
			}
			if diff := cmp.Diff(verbs.FindAllString(pair[0], -1), verbs.FindAllString(pair[1], -1)); diff != "" {
				t.Errorf("%s %s (-English +Russian): %s", f.Name, key, diff)
			}
		}
	}
}

// pairs are the texts of a field in both languages, by key where it is a map.
func pairs(en, ru reflect.Value) map[string][2]string {
	if en.Kind() == reflect.String {
		return map[string][2]string{"": {en.String(), ru.String()}}
	}
	all := map[string][2]string{}
	for key, text := range en.Interface().(map[string]string) {
		all[key] = [2]string{text, ""}
	}
	for key, text := range ru.Interface().(map[string]string) {
		all[key] = [2]string{all[key][0], text}
	}
	return all
}

// Every reason for which a vote does not count has words, and no other has. Several open requests have a list.
func TestEveryRefusalHasWords(t *testing.T) {
	var reasons []string
	for _, e := range reason.Catalogue {
		if e.Kind == reason.Uncounted && !slices.Equal(e.Codes, []string{reason.SeveralOpen}) {
			reasons = append(reasons, e.Codes...)
		}
	}
	slices.Sort(reasons)
	if diff := cmp.Diff(reasons, slices.Sorted(maps.Keys(english.Refused))); diff != "" {
		t.Errorf("(-reasons +words):\n%s", diff)
	}
	for why, text := range english.Refused {
		if strings.HasPrefix(why, "request_") != strings.HasPrefix(text, "Too late:") {
			t.Errorf("%s: %s", why, text)
		}
	}
}
