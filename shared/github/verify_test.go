package github

import (
	"bytes"
	"errors"
	"testing"
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
	for _, setting := range []string{"", " ", ",", " , \n"} {
		if _, err := ParseSecrets(setting); err == nil {
			t.Errorf("ParseSecrets(%q) accepted", setting)
		}
	}
	got, err := ParseSecrets(" one ,two\nthree\r\n")
	if err != nil || len(got) != 3 || string(got[0]) != "one" || string(got[1]) != "two" || string(got[2]) != "three" {
		t.Errorf("ParseSecrets = %q, %v", got, err)
	}
}

// A signature made with one of the secrets is accepted, and nothing else is: in particular no header that a fuzzer finds.
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
