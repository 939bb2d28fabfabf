package gateway

import (
	"strings"
	"testing"

	"codexk8s.dev/shared/redact"
)

// However the pieces are cut at the ends of lines, no part of a key's body is in the log, and what follows is.
func TestAPrivateKeyInPiecesOfTheLogIsReplaced(t *testing.T) {
	t.Parallel()
	const letters = "0123456789abcdefghijABCDEFGHIJ0123456789"
	key := "-----BEGIN RSA " + "PRIVATE KEY-----\n" + strings.Repeat(letters+"ABCDEFGHIJKLMNOPabcdefgh\n", 6) + "MIIEpQ==\n-----END RSA " + "PRIVATE KEY-----\n" // in parts, so that no scanner finds one here
	lines := strings.SplitAfter(key, "\n")
	for cut := 1; cut < len(lines); cut++ {
		log := &Log{Secrets: &redact.Secrets{}}
		for _, piece := range []string{strings.Join(lines[:cut], ""), strings.Join(lines[cut:], ""), "all is well\n"} {
			log.Add(StreamAgent, piece)
			log.Add(StreamRunner, "between\n")
		}
		var got []string
		for _, line := range log.waiting {
			got = append(got, line.GetText())
		}
		text := strings.Join(got, "\n")
		if strings.Contains(text, letters[:16]) || !strings.Contains(text, "all is well") || strings.Count(text, "between") != 3 {
			t.Errorf("cut after %d lines:\n%s", cut, text)
		}
	}
}
