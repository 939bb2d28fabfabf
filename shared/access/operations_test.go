package access_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/access"
)

func TestEachOperationHasItsRole(t *testing.T) {
	for _, o := range access.Operations() {
		if !access.Owner.AtLeast(o.Least()) || access.Role("").AtLeast(o.Least()) {
			t.Errorf("%s takes %q", o, o.Least())
		}
	}
	if everybody := (access.Standing{access.Everywhere: access.Owner}); everybody.May("runs.invented", "shop") {
		t.Error("an owner may do what there is not")
	}
}

func TestRoles(t *testing.T) {
	for name, c := range map[string]struct {
		roles    access.Standing
		in       access.Role
		projects []string
	}{
		"nobody":               {nil, "", nil},
		"of another project":   {access.Standing{"api": access.Owner}, "", []string{"api"}},
		"of the project":       {access.Standing{"shop": access.Reader}, access.Reader, []string{"shop"}},
		"of the platform":      {access.Standing{"*": access.Owner}, access.Owner, []string{"*"}},
		"stronger here":        {access.Standing{"*": access.Reader, "shop": access.Admin}, access.Admin, []string{"*"}},
		"stronger everywhere":  {access.Standing{"*": access.Owner, "shop": access.Reader}, access.Owner, []string{"*"}},
		"a role of no meaning": {access.Standing{"shop": "king"}, "king", nil},
	} {
		if got := c.roles.In("shop"); got != c.in {
			t.Errorf("%s: in shop %q, want %q", name, got, c.in)
		}
		if diff := cmp.Diff(c.projects, c.roles.Projects(access.ReadRuns)); diff != "" {
			t.Errorf("%s: where they may read runs (-want +got):\n%s", name, diff)
		}
	}
}
