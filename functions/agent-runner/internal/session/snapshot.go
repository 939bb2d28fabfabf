// Package session is the run's memory outside the pod: a snapshot with the engine's conversation and the agent's
// changed files, saved while the engine works, from which another pod continues.
package session

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Snapshot is everything that a new pod needs to continue: a gzipped tar of three files, so that a person can look into
// it.
//
//	meta.json      the fields below that are not tagged "-"
//	conversation   the engine's memory; empty if it was too large to keep
//	work.pack      the objects of commit Work, which holds the changed files, on top of Head (git index-pack --fix-thin)
type Snapshot struct {
	Engine   string `json:"engine"`
	ThreadID string `json:"threadId"`
	Name     string `json:"name,omitempty"`
	Task     string `json:"task"`              // occurs in Memory once the engine was told the run's task
	Head     string `json:"head"`              // commit that the run began with
	Done     bool   `json:"done,omitempty"`    // the engine has finished; what remains is commit, push, pull request
	Summary  string `json:"summary,omitempty"` // the agent's last message, when Done
	Work     string `json:"work,omitempty"`    // commit in the pack; empty = no file had changed, or all are Lost

	// Forgotten says that Memory is empty because it left no room for the files, which are the work itself.
	Forgotten bool `json:"forgotten,omitempty"`

	Lost  []string `json:"lost,omitempty"`  // Markdown: changed files that are not in the pack; never with Done
	Notes []string `json:"notes,omitempty"` // Markdown: files of the agent that no pod can take

	Memory []byte `json:"-"`
	Pack   []byte `json:"-"`
}

// maxSnapshot is the gateway's limit for the compressed snapshot.
const maxSnapshot = 16 << 20

func (s Snapshot) encode() ([]byte, error) {
	meta, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding the snapshot: %w", err)
	}
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	archive := tar.NewWriter(packed)
	for _, f := range []struct {
		name string
		data []byte
	}{{"meta.json", meta}, {"conversation", s.Memory}, {"work.pack", s.Pack}} {
		err = errors.Join(err, archive.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.data))}))
		_, werr := archive.Write(f.data)
		err = errors.Join(err, werr)
	}
	if err = errors.Join(err, archive.Close(), packed.Close()); err != nil {
		return nil, fmt.Errorf("packing the snapshot: %w", err)
	}
	return out.Bytes(), nil
}

// maxUnpacked bounds an unpacked snapshot, because it comes from outside this process.
const maxUnpacked = 512 << 20

// Decode reads what a Keeper has saved.
func Decode(data []byte) (Snapshot, error) {
	var s Snapshot
	packed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return s, fmt.Errorf("unpacking the snapshot: %w", err)
	}
	archive := tar.NewReader(io.LimitReader(packed, maxUnpacked))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, fmt.Errorf("unpacking the snapshot: %w", err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			return s, fmt.Errorf("unpacking the snapshot's %s: %w", h.Name, err)
		}
		switch h.Name {
		case "meta.json":
			if err := json.Unmarshal(body, &s); err != nil {
				return s, fmt.Errorf("reading the snapshot: %w", err)
			}
		case "conversation":
			s.Memory = body
		case "work.pack":
			s.Pack = body
		case "work.patch": // of an older release
			if len(body) > 0 {
				s.Done, s.Lost = false, []string{AllFiles}
			}
		}
	}
	if s.Engine == "" {
		return s, errors.New("the snapshot has no meta.json")
	}
	return s, nil
}
