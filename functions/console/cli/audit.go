package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) audit() *cobra.Command {
	audit := &cobra.Command{Use: "audit", Short: "What was done and decided, to keep and to verify"}
	var anchor string
	verify := &cobra.Command{
		Use: "verify FILE", Short: "Verify an export of the audit, without the platform or its database", Args: cobra.ExactArgs(1),
		Long: `Verify an export of the audit, without the platform or its database; - is standard input.

Each seal is SHA-256 over the hash of the seal before and its rows, so a row that was
changed, added or taken away breaks the chain. What was cut off at the end breaks nothing:
say --anchor, the hash of a seal that you know from outside of the database, as timekeeper
logs each ("audit sealed") and the doctor prints the last.`,
		RunE: func(_ *cobra.Command, args []string) error {
			in := a.in
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return ending{exitUsage, err}
				}
				defer f.Close()
				in = f
			}
			found, err := verifyAudit(in, anchor)
			if err != nil {
				return ending{exitFailed, err}
			}
			a.say("%d rows under %d seals, unbroken; the last seal is %d, %s\n", found.rows, found.seals, found.last, found.hash)
			if anchor == "" {
				a.warn("Whether the end was cut off is not known: say --anchor.\n")
			}
			return nil
		},
	}
	verify.Flags().StringVar(&anchor, "anchor", "", "hash of a seal that must be there, or its beginning of at least 16 digits")
	audit.AddCommand(verify, &cobra.Command{
		Use: "export", Short: "The sealed part of the audit, as lines of JSON", Args: cobra.NoArgs, Annotations: map[string]string{operation: "exportAudit"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			a.client.Client.(*http.Client).Timeout = 0 // it may be large
			resp, err := a.client.ExportAudit(cmd.Context())
			if err != nil {
				return ending{exitFailed, fmt.Errorf("the console does not answer: %w", err)}
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what is cut is no problem of ours, and told by its status
				return refusal(resp, body)
			}
			if _, err := io.Copy(a.out, resp.Body); err != nil {
				return ending{exitFailed, fmt.Errorf("the export broke off: %w", err)}
			}
			return nil
		},
	})
	return audit
}

// verified is what an export was found to hold.
type verified struct {
	rows, seals int
	last        int64  // number of the last seal
	hash        string // of the last seal
}

// verifyAudit follows the chain of an export, and looks for the anchor's seal in it.
func verifyAudit(r io.Reader, anchor string) (v verified, err error) {
	anchor = strings.ToLower(anchor)
	if _, err := hex.DecodeString(anchor + strings.Repeat("0", len(anchor)%2)); err != nil || anchor != "" && len(anchor) < 16 {
		return v, fmt.Errorf("the anchor %q is no hash: 64 hexadecimal digits, or the first 16 at least", anchor)
	}
	anchored := anchor == ""
	previous := []byte{}
	h, open := sha256.New(), 0
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0 && open == 0 && anchored:
			return v, nil
		case errors.Is(err, io.EOF) && len(line) == 0 && open == 0:
			return v, fmt.Errorf("no seal is %s: the end was cut off behind seal %d, or the anchor is of another audit", anchor, v.last)
		case errors.Is(err, io.EOF):
			return v, fmt.Errorf("the file ends within what follows seal %d: %d rows have no seal", v.last, open)
		case err != nil:
			return v, fmt.Errorf("reading the export: %w", err)
		}
		if !bytes.HasPrefix(line, []byte(`{"seal":`)) { // which no row begins with
			h.Write(line)
			open++
			continue
		}
		var s struct {
			Seal           int64
			Rows           int
			Previous, Hash string
		}
		if err := json.Unmarshal(line, &s); err != nil {
			return v, fmt.Errorf("what follows seal %d is no export: %w", v.last, err)
		}
		sum := hex.EncodeToString(h.Sum(nil))
		switch {
		case s.Previous != hex.EncodeToString(previous):
			return v, fmt.Errorf("seal %d follows on another seal than %d: seals are missing, or were changed", s.Seal, v.last)
		case s.Rows != open || s.Hash != sum:
			return v, fmt.Errorf("the %d rows of seal %d are other ones than were sealed (%d)", open, s.Seal, s.Rows)
		}
		v = verified{v.rows + open, v.seals + 1, s.Seal, sum}
		anchored = anchored || strings.HasPrefix(sum, anchor)
		if previous, err = hex.DecodeString(sum); err != nil {
			return v, err
		}
		h.Reset()
		h.Write(previous)
		open = 0
	}
}
