package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"codexk8s.dev/shared/llm"
)

// maxErrorBody bounds what of an error is read to understand it, in bytes.
const maxErrorBody = 64 << 10

// A passing is the body of OpenAI's answer as the pod gets it.
type passing struct {
	io.Reader
	passed int64 // bytes that were read
}

func (a *passing) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	a.passed += int64(n)
	return n, err
}

// open makes an answer readable for the meter and every pod: it unpacks what came compressed although we asked for it
// plain, and adds a wait to a rate limit that names none, because clients without one give up within seconds.
func open(res *http.Response, now time.Time) *passing {
	a := &passing{Reader: res.Body}
	if strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip") {
		a.Reader = &unzipped{packed: res.Body}
		res.Header.Del("Content-Encoding")
		res.Header.Del("Content-Length")
	}
	if res.StatusCode != http.StatusTooManyRequests {
		return a
	}
	head, err := io.ReadAll(io.LimitReader(a.Reader, maxErrorBody))
	rest := a.Reader
	if err != nil {
		rest = failing{err}
	}
	a.Reader = io.MultiReader(bytes.NewReader(head), rest)
	f := llm.Classify(res.StatusCode, res.Header, head, now)
	if named := res.Header.Get("Retry-After"); f.Kind != llm.RateLimited || named != "" && named != "0" {
		return a
	}
	wait := f.RetryAfter
	if wait == 0 {
		wait = limitPause
	}
	res.Header.Set("Retry-After", seconds(wait))
	return a
}

// failing is a reader that only returns an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// unzipped unpacks what it reads, from the first read on, so that the head of an answer does not wait for its body.
type unzipped struct {
	packed io.Reader
	plain  *gzip.Reader
}

func (u *unzipped) Read(p []byte) (int, error) {
	if u.plain == nil {
		plain, err := gzip.NewReader(u.packed)
		if err != nil {
			return 0, fmt.Errorf("unpacking the answer: %w", err)
		}
		u.plain = plain
	}
	return u.plain.Read(p)
}
