package access_test

import (
	"testing"

	"codexk8s.dev/shared/access"
)

func TestWhoMayWhat(t *testing.T) {
	for role, want := range map[access.Role][2]bool{ // to be answered, runs
		access.Owner: {true, true}, access.Admin: {true, true}, access.Maintainer: {true, true}, access.Reader: {true, false},
		"": {}, "Owner": {}, "king": {},
	} {
		if got := [2]bool{role.May(access.Answers), role.May(access.Runs)}; got != want {
			t.Errorf("%q may be answered and control runs: %v, want %v", role, got, want)
		}
	}
}

func TestAtLeast(t *testing.T) {
	for _, c := range []struct {
		role, least access.Role
		want        bool
	}{
		{access.Owner, access.Maintainer, true}, {access.Maintainer, access.Maintainer, true}, {access.Reader, access.Maintainer, false},
		{"", access.Reader, false}, {"", "", false}, {access.Owner, "king", false},
	} {
		if got := c.role.AtLeast(c.least); got != c.want {
			t.Errorf("%q is at least %q: %v", c.role, c.least, got)
		}
	}
}
