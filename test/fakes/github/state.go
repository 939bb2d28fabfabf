package fakegithub

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// saveDelay is how long a change may wait before state.json is written, so that a burst is one write. A large state
// waits twenty times as long as it took to encode.
const saveDelay = 500 * time.Millisecond

// state is what state.json holds.
type state struct {
	NextID int64                  `json:"next_id"`
	Users  map[string]*User       `json:"users"`           // by lower-case login
	Tokens map[string]*token      `json:"tokens"`          // by value
	Repos  map[string]*repository `json:"repos"`           // by lower-case full name
	Moved  map[string]int64       `json:"moved,omitempty"` // ids of repositories by their former lower-case full names
	App    *app                   `json:"app"`
	Writes []string               `json:"writes"`
}

// User is an account. Type is "User", "Organization" or "Bot".
type User struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Type  string `json:"type"`
	Name  string `json:"name,omitempty"`
}

type repository struct {
	ID            int64               `json:"id"`
	Owner         string              `json:"owner"`
	Name          string              `json:"name"`
	Description   string              `json:"description,omitempty"`
	Private       bool                `json:"private"`
	DefaultBranch string              `json:"default_branch"`
	CreatedAt     time.Time           `json:"created_at"`
	PushedAt      time.Time           `json:"pushed_at"`
	UpdatedAt     time.Time           `json:"updated_at"`
	Collaborators map[string]string   `json:"collaborators"` // lower-case login → permission
	Labels        []*Label            `json:"labels"`
	Issues        []*Issue            `json:"issues"` // issue n is at n-1; pull requests are issues
	Comments      []*Comment          `json:"comments"`
	Reviews       []*Review           `json:"reviews"`
	Remarks       []*ReviewComment    `json:"review_comments"`
	Events        []*Event            `json:"events"`
	Statuses      map[string][]Status `json:"statuses"` // by commit
	CheckRuns     []*CheckRun         `json:"check_runs"`
	Hooks         []*hook             `json:"hooks"`

	// Checks that a branch requires: by its protection, and by a ruleset.
	Required map[string][]string `json:"required,omitempty"`
	Ruled    map[string][]string `json:"ruled,omitempty"`
}

func (r *repository) fullName() string { return r.Owner + "/" + r.Name }

// app is the GitHub App.
type app struct {
	ID            int64             `json:"id"`
	Slug          string            `json:"slug"`
	CreatedAt     time.Time         `json:"created_at"`
	Permissions   map[string]string `json:"permissions"`
	Hook          *hook             `json:"hook"`
	Installations []*installation   `json:"installations"`
	ClientSecret  string            `json:"client_secret,omitempty"` // "" = nobody signs in by it
	Callback      string            `json:"callback,omitempty"`      // where who signs in is sent back to
}

// installation is the App on one account.
type installation struct {
	ID           int64     `json:"id"`
	Owner        string    `json:"owner"`
	Repositories []string  `json:"repositories"` // lower-case full names; nil = all of the account
	CreatedAt    time.Time `json:"created_at"`
}

// load reads state.json, or begins a state with the App and nothing else.
func (s *Server) load(o AppOptions) error {
	s.st = &state{NextID: 1_000_000_000, Users: map[string]*User{}, Tokens: map[string]*token{}, Repos: map[string]*repository{}}
	path := filepath.Join(s.dir, "state.json")
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("reading the state of the fake GitHub: %w", err)
	default:
		if err := json.Unmarshal(data, s.st); err != nil {
			return fmt.Errorf("reading %s (remove the directory to start over): %w", path, err)
		}
	}
	s.prepareApp(o)
	return nil
}

// changed has the state saved soon. The mutex must be held.
func (s *Server) changed() {
	if s.timer != nil {
		return
	}
	s.timer = time.AfterFunc(max(saveDelay, 20*s.encoding), s.saveDue)
}

// saveDue saves unless another save, as that of Close, was faster: nothing is written after it.
func (s *Server) saveDue() {
	s.saved.Lock()
	defer s.saved.Unlock()
	s.mu.Lock()
	due := s.timer != nil
	s.mu.Unlock()
	if !due {
		return
	}
	if err := s.write(); err != nil {
		s.log.Error("fake github: saving failed", "error", err)
	}
}

func (s *Server) save() error {
	s.saved.Lock()
	defer s.saved.Unlock()
	return s.write()
}

// write writes state.json: first beside it, then over it, so that a kill in between leaves the old one. The mutex saved
// must be held.
func (s *Server) write() error {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	began := time.Now()
	data, err := json.Marshal(s.st)
	s.encoding = time.Since(began)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encoding the state of the fake GitHub: %w", err)
	}
	path := filepath.Join(s.dir, "state.json")
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("saving the state of the fake GitHub: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("saving the state of the fake GitHub: %w", err)
	}
	return nil
}

// loadKey reads app.pem or makes it.
func (s *Server) loadKey() error {
	path := filepath.Join(s.dir, "app.pem")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return fmt.Errorf("making the key of the GitHub App: %w", err)
		}
		data = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return fmt.Errorf("saving the key of the GitHub App: %w", err)
		}
		s.key, s.keyPEM = key, data
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the key of the GitHub App: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return fmt.Errorf("reading %s: no PEM block in it (remove the file to get a new key)", path)
	}
	if s.key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	s.keyPEM = data
	return nil
}

// find returns the repository "owner/name", or nil. The mutex must be held.
func (s *Server) find(fullName string) *repository {
	return s.st.Repos[strings.ToLower(fullName)]
}

// issue returns issue or pull request n of r, or nil.
func (r *repository) issue(n int) *Issue {
	if n < 1 || n > len(r.Issues) {
		return nil
	}
	return r.Issues[n-1]
}
