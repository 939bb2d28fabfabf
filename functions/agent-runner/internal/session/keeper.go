package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/functions/agent-runner/internal/engine"
	"codexk8s.dev/functions/agent-runner/internal/gateway"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/words"
)

// ErrSuperseded says that another pod saved a session of this work item after we loaded it. Two pods must not work on
// one session; the Job decides which continues.
var ErrSuperseded = errors.New("another pod has saved this session meanwhile")

// Keeper saves the session while the engine works.
type Keeper struct {
	Gateway agentapi.SessionServiceClient
	Repo    *checkout.Repository
	Engine  engine.Engine
	Log     *gateway.Log
	Name    string // of the engine
	Task    string // see Snapshot.Task
	Head    string // commit that the run began with
	Version int64  // of the newest snapshot stored

	mu    sync.Mutex
	saved [sha256.Size]byte // of the newest snapshot stored
	tried [sha256.Size]byte // of a snapshot whose answer did not come: it may be stored
	kept  checkout.Kept     // the newest work that could be collected

	tooLarge int    // bytes of a conversation that left the files no room; 0 = none has
	told     string // what is left out, as the log has already named it
}

// Timeout bounds one save, within the 30 s that Kubernetes gives a pod to end.
const Timeout = 15 * time.Second

// Save stores the present state unless it is stored already. It is marked done only with every changed file in it.
func (k *Keeper) Save(ctx context.Context, done bool, summary string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.Engine.Conversation()
	if err != nil {
		return fmt.Errorf("reading the session: %w", err)
	}
	if c.ThreadID == "" {
		return nil
	}
	s := Snapshot{Engine: k.Name, ThreadID: c.ThreadID, Name: c.Name, Task: k.Task, Head: k.Head, Summary: summary, Memory: c.Data}
	if err := k.fill(ctx, &s); err != nil {
		return err
	}
	s.Done = done && len(s.Lost) == 0
	data, err := s.encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if sum == k.saved {
		return nil
	}
	return k.send(ctx, c.ThreadID, data, sum)
}

// aroundFiles is room for the names of what is left out, and for what compression adds to compressed data.
const aroundFiles = 256 << 10

// AllFiles stands for the changed files if none of them is kept.
const AllFiles = "all changed files"

// lastFiles stands for changes after a snapshot that is older than the conversation.
const lastFiles = "what changed last"

// maxLost bounds the files that are named as left out.
const maxLost = 100

// fill adds the agent's changed files to the snapshot. A conversation that leaves no room for them is left out, and
// since it only grows it is not packed again to see that: packing it takes most of a save's time.
func (k *Keeper) fill(ctx context.Context, s *Snapshot) error {
	const most = maxSnapshot - aroundFiles
	if k.tooLarge == 0 || len(s.Memory) < k.tooLarge {
		conversation, err := s.encode()
		if err != nil {
			return err
		}
		room := most - int64(len(conversation))
		fit := k.files(ctx, s, max(room, 0))
		if room >= 0 && (fit || room >= most/2) {
			k.tell(s)
			return nil
		}
		k.tooLarge = len(s.Memory)
	}
	s.Memory, s.Forgotten = nil, true
	k.files(ctx, s, most)
	k.tell(s)
	return nil
}

// files puts the agent's changed files into the snapshot as far as there is room, in bytes. It reports whether all that
// could be collected fit in.
func (k *Keeper) files(ctx context.Context, s *Snapshot, room int64) bool {
	work, err := k.Repo.Take(ctx, room)
	var kept checkout.Kept
	if err == nil {
		kept, err = k.Repo.Keep(ctx, work, room)
	}
	if err == nil {
		k.kept, s.Notes = kept, words.Few(work.Notes, words.MaxNamed)
		s.Work, s.Pack, s.Lost = kept.Commit, kept.Pack, words.Few(kept.Lost, maxLost)
		return len(kept.Lost) == 0
	}
	k.Log.Say("The changed files could not be collected, the snapshot has what was there before: %v", err)
	kept = k.kept
	if !slices.Contains(kept.Lost, lastFiles) {
		kept.Lost = append(slices.Clip(kept.Lost), lastFiles)
	}
	fits := int64(len(kept.Pack)) <= room
	if kept.Commit == "" || !fits {
		kept = checkout.Kept{Lost: []string{AllFiles}}
	}
	s.Work, s.Pack, s.Lost = kept.Commit, kept.Pack, words.Few(kept.Lost, maxLost)
	return fits
}

// tell says in the log what is left out, once.
func (k *Keeper) tell(s *Snapshot) {
	out := s.Lost
	if s.Forgotten {
		out = append([]string{"the conversation"}, out...)
	}
	if left := strings.Join(out, ", "); left != k.told {
		if k.told = left; left != "" {
			k.Log.Say("Too large for the snapshot, a lost pod would have to do without, or make it again: %s", left)
		}
	}
}

func (k *Keeper) send(ctx context.Context, threadID string, data []byte, sum [sha256.Size]byte) error {
	for again := false; ; again = true {
		unanswered := k.tried
		k.tried = sum
		res, err := k.Gateway.SaveSnapshot(ctx, &agentapi.SaveSnapshotRequest{
			ExpectedVersion: k.Version, ThreadId: threadID, Sha256: sum[:], Data: data,
		})
		switch {
		case err == nil:
			k.Version, k.saved = res.GetVersion(), sum
			return nil
		case connect.CodeOf(err) != connect.CodeAborted:
			return fmt.Errorf("saving the session: %w", err)
		}
		stored, loadErr := k.Gateway.LoadSnapshot(ctx, &agentapi.LoadSnapshotRequest{})
		if loadErr != nil {
			return fmt.Errorf("seeing who saved the session: %w", loadErr)
		}
		if again || !bytes.Equal(stored.GetSha256(), unanswered[:]) {
			return fmt.Errorf("%w: %w", ErrSuperseded, err)
		}
		k.Version = stored.GetVersion() // it was us
	}
}

// Run saves every interval until ctx ends. Losing one save is no reason to stop; losing the session to another pod is,
// and calls stop.
func (k *Keeper) Run(ctx context.Context, interval time.Duration, stop context.CancelCauseFunc) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// Not cancelled with ctx: the last save must know which version is stored.
			one, cancel := context.WithTimeout(context.WithoutCancel(ctx), Timeout)
			err := k.Save(one, false, "")
			cancel()
			switch {
			case errors.Is(err, ErrSuperseded):
				stop(err)
				return
			case err != nil && ctx.Err() == nil:
				k.Log.Say("The session could not be saved, trying again soon: %v", err)
			}
		}
	}
}
