package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/shared/agentapi"
)

// An engine is what does the thinking: the Codex CLI or our own tool loop.
type engine interface {
	// resume continues an earlier conversation instead of beginning one; called before run.
	resume(conversation) error
	// run says message in the conversation and works until the agent has finished. It returns the agent's last message.
	run(ctx context.Context, message string) (string, error)
	// forget leaves the conversation: the next run begins a new one.
	forget()
	// conversation is the present state, to be given to resume elsewhere. It may be called while run works. Empty before the start.
	conversation() (conversation, error)
}

// conversation is an engine's memory.
type conversation struct {
	ThreadID string // the engine's own name for it
	Name     string // where the engine keeps it, relative; for the Codex CLI a path below CODEX_HOME
	Data     []byte
}

// snapshot is all that a new pod needs to go on: a gzipped tar of three files, so that a person can look into it.
//
//	meta.json      the fields below that are not tagged "-"
//	conversation   the engine's memory
//	work.pack      the objects of commit Work, which holds the changed files, on top of Head (git index-pack --fix-thin)
type snapshot struct {
	Engine   string `json:"engine"`
	ThreadID string `json:"threadId"`
	Name     string `json:"name,omitempty"`
	Task     string `json:"task"`              // occurs in Memory once the engine was told the run's task
	Head     string `json:"head"`              // commit that the run began with
	Done     bool   `json:"done,omitempty"`    // the engine has finished; what remains is commit, push, pull request
	Summary  string `json:"summary,omitempty"` // the agent's last message, when Done
	Work     string `json:"work,omitempty"`    // commit in the pack; empty = no file had changed, or all are Lost

	Lost  []string `json:"lost,omitempty"`  // Markdown: changed files that are not in the pack; never with Done
	Notes []string `json:"notes,omitempty"` // Markdown: what no pod can take of the agent's files

	Memory []byte `json:"-"`
	Pack   []byte `json:"-"`
}

// maxSnapshot is the gateway's limit for the compressed snapshot.
const maxSnapshot = 16 << 20

func (s snapshot) encode() ([]byte, error) {
	meta, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the snapshot: %w", err)
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
		return nil, fmt.Errorf("pack the snapshot: %w", err)
	}
	return out.Bytes(), nil
}

// maxUnpacked bounds what a snapshot may grow to, since it comes from outside of this process.
const maxUnpacked = 512 << 20

func decodeSnapshot(data []byte) (snapshot, error) {
	var s snapshot
	packed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return s, fmt.Errorf("unpack the snapshot: %w", err)
	}
	archive := tar.NewReader(io.LimitReader(packed, maxUnpacked))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, fmt.Errorf("unpack the snapshot: %w", err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			return s, fmt.Errorf("unpack the snapshot's %s: %w", h.Name, err)
		}
		switch h.Name {
		case "meta.json":
			if err := json.Unmarshal(body, &s); err != nil {
				return s, fmt.Errorf("read the snapshot: %w", err)
			}
		case "conversation":
			s.Memory = body
		case "work.pack":
			s.Pack = body
		case "work.patch": // of an older release
			if len(body) > 0 {
				s.Done, s.Lost = false, []string{allFiles}
			}
		}
	}
	if s.Engine == "" {
		return s, errors.New("the snapshot has no meta.json")
	}
	return s, nil
}

// errSuperseded says that another pod saved a session of this work item after we loaded it. Two pods must not work on
// one session, and the Job decides which goes on.
var errSuperseded = errors.New("another pod has saved this session meanwhile")

// keeper saves the session while the engine works.
type keeper struct {
	gateway agentapi.SessionServiceClient
	repo    *checkout.Repository
	engine  engine
	name    string // of the engine
	task    string // see snapshot.Task
	head    string
	log     *runLog

	mu      sync.Mutex
	version int64             // of the newest snapshot stored
	saved   [sha256.Size]byte // of the newest snapshot stored
	tried   [sha256.Size]byte // of a snapshot whose answer did not come: it may be stored
	kept    checkout.Kept     // the newest work that could be collected
	told    string            // which files the log's readers know to be left out
}

// save stores the present state unless it is stored already. It is done only with every changed file in it.
func (k *keeper) save(ctx context.Context, done bool, summary string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.engine.conversation()
	if err != nil {
		return fmt.Errorf("read the session: %w", err)
	}
	if c.ThreadID == "" {
		return nil
	}
	s := snapshot{Engine: k.name, ThreadID: c.ThreadID, Name: c.Name, Task: k.task, Head: k.head, Done: done, Summary: summary, Memory: c.Data}
	data, err := s.encode()
	if err != nil {
		return err
	}
	if len(data) > maxSnapshot {
		return fmt.Errorf("the session has %d bytes compressed, more than the %d that can be kept", len(data), maxSnapshot)
	}
	k.files(ctx, &s, int64(maxSnapshot-len(data)-aroundFiles))
	if data, err = s.encode(); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if sum == k.saved {
		return nil
	}
	return k.send(ctx, c.ThreadID, data, sum)
}

// aroundFiles is room for the names of what is left out, and for what compression adds to what is compressed already.
const aroundFiles = 256 << 10

// allFiles stands for the changed files when none of them is kept.
const allFiles = "all changed files"

// lastFiles stands for changes after a snapshot that is older than the conversation.
const lastFiles = "what changed last"

// maxLost bounds the files that are named as left out.
const maxLost = 100

// files adds the agent's changed files to the snapshot, as far as there is room.
func (k *keeper) files(ctx context.Context, s *snapshot, room int64) {
	work, err := k.repo.Take(ctx, max(room, 0))
	var kept checkout.Kept
	if err == nil {
		kept, err = k.repo.Keep(ctx, work, max(room, 0))
	}
	if err != nil {
		k.log.say("The changed files could not be collected, the snapshot has what was there before: %v", err)
		kept = k.kept
		kept.Lost = union(kept.Lost, []string{lastFiles})
		if kept.Commit == "" {
			kept.Lost = []string{allFiles}
		}
	} else {
		k.kept = kept
		s.Notes = few(work.Notes, maxNamed)
	}
	s.Work, s.Pack, s.Lost = kept.Commit, kept.Pack, few(kept.Lost, maxLost)
	s.Done = s.Done && len(s.Lost) == 0
	if lost := strings.Join(s.Lost, ", "); err == nil && lost != k.told {
		if k.told = lost; lost != "" {
			k.log.say("Too large for the snapshot, a lost pod would have to make them again: %s", lost)
		}
	}
}

func (k *keeper) send(ctx context.Context, threadID string, data []byte, sum [sha256.Size]byte) error {
	for again := false; ; again = true {
		unanswered := k.tried
		k.tried = sum
		res, err := k.gateway.SaveSnapshot(ctx, &agentapi.SaveSnapshotRequest{
			ExpectedVersion: k.version, ThreadId: threadID, Sha256: sum[:], Data: data,
		})
		switch {
		case err == nil:
			k.version, k.saved = res.GetVersion(), sum
			return nil
		case connect.CodeOf(err) != connect.CodeAborted:
			return fmt.Errorf("save the session: %w", err)
		}
		stored, loadErr := k.gateway.LoadSnapshot(ctx, &agentapi.LoadSnapshotRequest{})
		if loadErr != nil {
			return fmt.Errorf("see who saved the session: %w", loadErr)
		}
		if again || !bytes.Equal(stored.GetSha256(), unanswered[:]) {
			return fmt.Errorf("%w: %w", errSuperseded, err)
		}
		k.version = stored.GetVersion() // it was us
	}
}

// run saves every interval until ctx ends. Losing one save is no reason to stop; losing the session to another pod is,
// and is told to stop.
func (k *keeper) run(ctx context.Context, interval time.Duration, stop context.CancelCauseFunc) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// Not cut off by the end of ctx: the last save must know which version is stored.
			one, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSaveTimeout)
			err := k.save(one, false, "")
			cancel()
			switch {
			case errors.Is(err, errSuperseded):
				stop(err)
				return
			case err != nil && ctx.Err() == nil:
				k.log.say("The session could not be saved, trying again soon: %v", err)
			}
		}
	}
}
