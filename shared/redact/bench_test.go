package redact

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
)

// BenchmarkIssued looks through what agents push: data that looks like nothing, base64 in one line, and code.
func BenchmarkIssued(b *testing.B) {
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, data := range map[string][]byte{
		"noise":  noise,
		"base64": []byte(base64.StdEncoding.EncodeToString(noise))[:1<<20],
		"dots":   []byte(strings.Repeat(".", 1<<20)),
		"code":   []byte(strings.Repeat("	if err := s.store.Save(ctx, \"https://example.com/a/b.html\"); err != nil { return fmt.Errorf(\"x.y: %w\", err) }\n", 10_000))[:1<<20],
	} {
		b.Run(name, func(b *testing.B) {
			var s Secrets
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if found := s.Issued(data); len(found) > 0 {
					b.Fatalf("found %q", found)
				}
			}
		})
	}
}
