package main

import (
	"regexp"
	"strings"
	"sync"
)

// redactor replaces secrets in text that leaves the pod as log, summary or error. It knows the values it was told and
// the shapes of well-known tokens, since an agent may print one that it found.
type redactor struct {
	mu     sync.Mutex
	values []string
}

const redacted = "[redacted]"

// tokenShapes: GitHub (https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/), OpenAI, JWT,
// AWS access keys, private keys, and credentials in a URL.
var tokenShapes = regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{16,}` +
	`|\bgithub_pat_[A-Za-z0-9_]{20,}` +
	`|\bsk-[A-Za-z0-9_-]{20,}` +
	`|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*` +
	`|\bAKIA[0-9A-Z]{16}\b` +
	`|-----BEGIN [A-Z ]*PRIVATE KEY-----` +
	`|://[^/\s:@]+:[^/\s@]+@`)

// hide adds a value to replace. Short ones are ignored: they would blank out ordinary words.
func (r *redactor) hide(value string) {
	if len(value) < 8 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = append(r.values, value)
}

func (r *redactor) clean(text string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.values {
		text = strings.ReplaceAll(text, v, redacted)
	}
	return tokenShapes.ReplaceAllString(text, redacted)
}
