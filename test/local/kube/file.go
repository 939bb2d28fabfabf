package kube

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// state is the file's content.
type state struct {
	Version int64             `json:"version"`
	Applied map[string]string `json:"applied"`
	Objects []map[string]any  `json:"objects"`
}

// Open returns a store with the objects of the file, which need not exist; an empty path keeps nothing. Namespaces that
// were being deleted go on being so.
func Open(file string) (*Store, error) {
	s := &Store{
		objects: map[key]*unstructured.Unstructured{}, applied: map[string]string{}, watchers: map[*watcher]bool{},
		file: file, closed: make(chan struct{}),
	}
	if file != "" {
		if err := s.load(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, o := range s.objects {
		if at.resource == Namespaces && o.GetDeletionTimestamp() != nil {
			s.after(0, func() { s.emptyNamespace(at) })
		}
	}
	return s, nil
}

func (s *Store) load() error {
	content, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the cluster's state: %w", err)
	}
	var kept state
	if err := json.Unmarshal(content, &kept); err != nil {
		return fmt.Errorf("reading the cluster's state in %s; delete the file to begin anew: %w", s.file, err)
	}
	s.version = kept.Version
	if kept.Applied != nil {
		s.applied = kept.Applied
	}
	for _, object := range kept.Objects {
		// A round trip through the unstructured decoder makes whole numbers int64, as every reader expects.
		raw, err := json.Marshal(object)
		if err != nil {
			return fmt.Errorf("reading the cluster's state: %w", err)
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("reading the cluster's state in %s: %w", s.file, err)
		}
		for _, r := range resources {
			if r.APIVersion() == o.GetAPIVersion() && r.Kind == o.GetKind() {
				s.objects[key{r, o.GetNamespace(), o.GetName()}] = o
			}
		}
	}
	return nil
}

// save sees to it that the file is written soon: everything at once, so that a reader sees the old file or the new one.
// It waits in proportion to what the last writing cost; in a large cluster it would else be all that is done. The
// caller holds the lock.
func (s *Store) save() {
	if s.file == "" || s.saving != nil {
		return
	}
	s.saving = time.AfterFunc(max(20*time.Millisecond, 20*s.cost), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.write()
	})
}

// write writes what has been changed since it was called last. The caller holds the lock.
func (s *Store) write() {
	if s.saving == nil {
		return
	}
	s.saving.Stop()
	s.saving = nil
	began := time.Now()
	defer func() { s.cost = time.Since(began) }()
	kept := state{Version: s.version, Applied: s.applied}
	for _, o := range s.objects {
		kept.Objects = append(kept.Objects, o.Object)
	}
	content, err := json.Marshal(kept)
	if err == nil {
		// It holds Secrets.
		if err = os.WriteFile(s.file+".new", content, 0o600); err == nil {
			err = os.Rename(s.file+".new", s.file)
		}
	}
	if err != nil {
		slog.Error("kube: state not kept", "file", s.file, "error", err)
	}
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func formatVersion(v int64) string { return strconv.FormatInt(v, 10) }

// Data returns the content of a Secret, as package pod wants it; ok is false when there is none.
func (s *Store) Data(namespace, name string) (data map[string][]byte, ok bool) {
	o, err := s.Get(Secrets, namespace, name)
	if err != nil {
		return nil, false
	}
	texts, _, _ := unstructured.NestedStringMap(o.Object, "data")
	data = map[string][]byte{}
	for key, text := range texts {
		value, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err == nil {
			data[key] = value
		}
	}
	return data, true
}

// ConfigMap returns the data of a ConfigMap; ok is false when there is none.
func (s *Store) ConfigMap(namespace, name string) (data map[string]string, ok bool) {
	o, err := s.Get(ConfigMaps, namespace, name)
	if err != nil {
		return nil, false
	}
	data, _, _ = unstructured.NestedStringMap(o.Object, "data")
	return data, true
}
