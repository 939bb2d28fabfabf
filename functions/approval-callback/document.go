package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"codexk8s.dev/shared/approval/contract"
)

// document serves the contract of HTTP approvers and executors, for people and programs who write one. It is public and
// changes with a release at most, so caches keep it for a while and then ask by its tag: nobody who polls it keeps this
// function awake.
func document(w http.ResponseWriter, r *http.Request) {
	text := contract.JSON()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(text)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
}
