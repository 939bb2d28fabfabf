package checkout

import (
	"strings"
	"testing"
)

func TestTheCredentialIsForTheOwnRepositoryOnly(t *testing.T) {
	t.Setenv(credentialURLVariable, "https://github.com/acme/shop.git")
	t.Setenv(credentialUserVariable, "x-access-token")
	t.Setenv(credentialPasswordVariable, "acme-token")
	for _, c := range []struct{ command, in, want string }{
		{"get", "protocol=https\nhost=github.com\npath=acme/shop.git\n", "username=x-access-token\npassword=acme-token\n"},
		{"get", "protocol=https\nhost=github.com\npath=acme/shop\n", "username=x-access-token\npassword=acme-token\n"},
		{"get", "protocol=https\nhost=github.com\npath=acme/other.git\n", ""},
		{"get", "protocol=https\nhost=evil.example\npath=acme/shop.git\n", ""},
		{"get", "protocol=http\nhost=github.com\npath=acme/shop.git\n", ""},
		{"store", "protocol=https\nhost=github.com\npath=acme/shop.git\npassword=x\n", ""},
	} {
		var out strings.Builder
		if code := Help(t.Context(), []string{c.command}, strings.NewReader(c.in), &out); code != 0 || out.String() != c.want {
			t.Errorf("%s %q: exit %d, %q, want %q", c.command, c.in, code, out.String(), c.want)
		}
	}
}
