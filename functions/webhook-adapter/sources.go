package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
)

// A source is another system that may send CloudEvents to POST /events. The file EVENT_SOURCES_FILE lists them:
//
//	sources:
//	- name: ci                            # for logs and the audit
//	  source: https://ci.example.com/     # the events' source is this, or begins with it
//	  types: [com.example.build.finished] # all that it may send
//	  tokenFile: /etc/sources/ci          # Authorization: Bearer …, or
//	  secretFile: /etc/sources/ci-hmac    # X-Hub-Signature-256 over the body (structured and batched mode only)
//
// Tokens and secrets are read from files, or from variables of the environment (tokenEnv, secretEnv), never from this
// list. There may be several, one per line or separated by commas, while one is being changed.
type source struct {
	Name       string   `json:"name"`
	Source     string   `json:"source"`
	Types      []string `json:"types"`
	TokenFile  string   `json:"tokenFile"`
	TokenEnv   string   `json:"tokenEnv"`
	SecretFile string   `json:"secretFile"`
	SecretEnv  string   `json:"secretEnv"`

	tokens, secrets webhook.Secrets
}

// loadSources reads the list; without a path there are no sources. Any mistake in it is an error: a source that was
// silently left out would lose its events.
func loadSources(path string) ([]source, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the event sources: %w", err)
	}
	var file struct {
		Sources []source `json:"sources"`
	}
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		return nil, fmt.Errorf("reading the event sources in %s: %w", path, err)
	}
	names := map[string]bool{}
	for i := range file.Sources {
		s := &file.Sources[i]
		if s.Name == "" || names[s.Name] {
			return nil, fmt.Errorf("event source %d in %s: its name %q is missing or taken", i+1, path, s.Name)
		}
		names[s.Name] = true
		if err := s.complete(); err != nil {
			return nil, fmt.Errorf("event source %s in %s: %w", s.Name, path, err)
		}
	}
	return file.Sources, nil
}

func (s *source) complete() error {
	if s.Source == "" || len(s.Types) == 0 {
		return errors.New("give the prefix of its events' source and the types it may send")
	}
	if ours := events.Source(""); strings.HasPrefix(s.Source, ours) || strings.HasPrefix(ours, s.Source) {
		return fmt.Errorf("source %q is the platform's own", s.Source)
	}
	for _, t := range s.Types {
		if len(events.Consumers(t)) == 0 {
			slog.Warn("no function consumes this type: its events are stored and ignored", "source", s.Name, "type", t)
		}
	}
	var err1, err2 error
	s.tokens, err1 = credential(s.TokenFile, s.TokenEnv)
	s.secrets, err2 = credential(s.SecretFile, s.SecretEnv)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if len(s.tokens)+len(s.secrets) == 0 {
		return errors.New("give a token (tokenFile, tokenEnv) or a secret (secretFile, secretEnv)")
	}
	return nil
}

// credential reads a setting from the file or the variable that the operator named in the list; without either there is
// no credential.
func credential(file, variable string) (webhook.Secrets, error) {
	var setting string
	switch {
	case file != "" && variable != "":
		return nil, fmt.Errorf("both the file %s and the variable %s are given", file, variable)
	case file != "":
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a credential: %w", err)
		}
		setting = string(data)
	case variable != "":
		setting = os.Getenv(variable)
	default:
		return nil, nil
	}
	secrets, err := webhook.ParseSecrets(setting)
	if err != nil {
		return nil, fmt.Errorf("the credential in %s%s is empty", file, variable)
	}
	return secrets, nil
}

// authenticate finds the source that sends, by its token or by its signature over the body.
func (h *handler) authenticate(r *http.Request, body []byte) (from *source, signed bool, err error) {
	if signature := r.Header.Get(webhook.HeaderSignature); signature != "" {
		for i := range h.sources {
			if h.sources[i].secrets.Verify(signature, body) == nil {
				return &h.sources[i], true, nil
			}
		}
		return nil, false, refuse(http.StatusUnauthorized, "wrong_signature", errors.New("the signature fits no registered source"))
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		w := "give a bearer token, or a signature in " + webhook.HeaderSignature
		return nil, false, refuse(http.StatusUnauthorized, "no_credential", errors.New(w))
	}
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	for i := range h.sources {
		for _, t := range h.sources[i].tokens {
			if want := sha256.Sum256(t); subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
				from = &h.sources[i]
			}
		}
	}
	if from == nil {
		return nil, false, refuse(http.StatusUnauthorized, "wrong_token", errors.New("the token belongs to no registered source"))
	}
	return from, false, nil
}

// mayNotSend says why the source may not send an event of this source and type; "" if it may.
func (s *source) mayNotSend(eventSource, eventType string) string {
	if rest, ok := strings.CutPrefix(eventSource, s.Source); !ok || !endsAPart(s.Source, rest) {
		return fmt.Sprintf("source %s may not send events of source %q, only of %s", s.Name, eventSource, s.Source)
	}
	if !slices.Contains(s.Types, eventType) {
		return fmt.Sprintf("source %s may not send events of type %q, only %s", s.Name, eventType, strings.Join(s.Types, ", "))
	}
	return ""
}

// endsAPart keeps https://ci.example.com from covering https://ci.example.com.evil.example.
func endsAPart(prefix, rest string) bool {
	return rest == "" || strings.ContainsAny(prefix[len(prefix)-1:], "/:#?") || strings.ContainsAny(rest[:1], "/:#?")
}
