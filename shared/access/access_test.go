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
