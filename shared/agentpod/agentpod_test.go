package agentpod

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func FuzzLabelValue(f *testing.F) {
	for _, s := range []string{"", "dev", "acme/shop", "-a-", "é", strings.Repeat("x", 63), strings.Repeat("x", 64), "////"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := labelValue(s)
		if problems := validation.IsValidLabelValue(got); problems != nil {
			t.Errorf("LabelValue(%q) = %q: %v", s, got, problems)
		}
		if again := labelValue(got); again != got {
			t.Errorf("LabelValue(%q) = %q, and of that %q", s, got, again)
		}
	})
}
