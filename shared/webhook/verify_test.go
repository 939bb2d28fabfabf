package webhook

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVerifyAcceptsAnyOfTheSecrets(t *testing.T) {
	// GitHub's own example of a signature.
	// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
	const (
		secret = "It's a Secret to Everybody"
		body   = "Hello, World!"
		header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	)
	for _, tt := range []struct {
		name    string
		secrets Secrets
		header  string
		body    string
		want    error
	}{
		{"the one secret", Secrets{[]byte(secret)}, header, body, nil},
		{"second of two while rotating", Secrets{[]byte("new"), []byte(secret)}, header, body, nil},
		{"first of two while rotating", Secrets{[]byte(secret), []byte("new")}, header, body, nil},
		{"upper-case digits", Secrets{[]byte(secret)}, "sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17", body, nil},
		{"other secret", Secrets{[]byte("other")}, header, body, ErrWrongSignature},
		{"changed body", Secrets{[]byte(secret)}, header, body + " ", ErrWrongSignature},
		{"no header", Secrets{[]byte(secret)}, "", body, ErrNoSignature},
		{"SHA-1 header", Secrets{[]byte(secret)}, "sha1=0123456789012345678901234567890123456789", body, ErrNoSignature},
		{"too short", Secrets{[]byte(secret)}, header[:70], body, ErrWrongSignature},
		{"too long", Secrets{[]byte(secret)}, header + "00", body, ErrWrongSignature},
		{"no hex", Secrets{[]byte(secret)}, "sha256=" + string(bytes.Repeat([]byte("z"), 64)), body, ErrWrongSignature},
		{"no secrets", nil, header, body, ErrWrongSignature},
		{"an empty secret never matches", Secrets{nil}, Sign(nil, []byte(body)), body, ErrWrongSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.secrets.Verify(tt.header, []byte(tt.body)); !errors.Is(got, tt.want) {
				t.Errorf("Verify = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestParseSecretsRefusesNone(t *testing.T) {
	for _, setting := range []string{"", " ", ",", " , \n", "\uFEFF\r\n", ",,\n,"} {
		if _, err := ParseSecrets(setting); err == nil {
			t.Errorf("ParseSecrets(%q) accepted", setting)
		}
	}
}

func TestParseSecrets(t *testing.T) {
	for setting, want := range map[string][]string{
		"one":                          {"one"},
		"\uFEFFone\r\n":                {"one"},
		" one \r\n\r\n two\n":          {"one", "two"},
		"one, two":                     {"one, two", "one", "two"},
		"with,comma":                   {"with,comma", "with", "comma"},
		"with,comma\nother":            {"with,comma", "other"}, // a line is exact
		"long-enough-1,long-enough-2":  {"long-enough-1,long-enough-2", "long-enough-1", "long-enough-2"},
		"long-enough-1,\n":             {"long-enough-1,", "long-enough-1"},
		"f3,a8d9c0ffee1234567890abcde": {"f3,a8d9c0ffee1234567890abcde"}, // "f3" would be guessed in no time
	} {
		got, err := ParseSecrets(setting)
		if err != nil {
			t.Errorf("%q: %v", setting, err)
		}
		var texts []string
		for _, s := range got {
			texts = append(texts, string(s))
		}
		if diff := cmp.Diff(want, texts); diff != "" {
			t.Errorf("%q: %s", setting, diff)
		}
	}
}

// A signature made with one of the secrets is accepted, and nothing else is: in particular no header that a fuzzer
// finds.
func FuzzVerify(f *testing.F) {
	f.Add("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", []byte("Hello, World!"))
	f.Add("sha1=00", []byte("{}"))
	f.Add("", []byte(nil))
	secret := []byte("fuzz: the fuzzer cannot know it")
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		secrets := Secrets{[]byte("old"), secret}
		if err := secrets.Verify(Sign(secret, body), body); err != nil {
			t.Errorf("own signature refused: %v", err)
		}
		if secrets.Verify(header, body) == nil && header != Sign(secret, body) && header != Sign([]byte("old"), body) {
			// The hex digits may be in upper case; anything else must be ours.
			if !bytes.EqualFold([]byte(header), []byte(Sign(secret, body))) && !bytes.EqualFold([]byte(header), []byte(Sign([]byte("old"), body))) {
				t.Errorf("header %q accepted", header)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 7<<10)
	secrets := Secrets{[]byte("0123456789abcdef0123456789abcdef")}
	header := Sign(secrets[0], body)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := secrets.Verify(header, body); err != nil {
			b.Fatal(err)
		}
	}
}
