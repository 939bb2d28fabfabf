package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"codexk8s.dev/functions/agent-launcher/internal/postgres"
	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/tool"
)

// Why there is no database.
const (
	databaseUnknown   = "database_unknown" // the project names no server, or nobody has made its Secret
	refusedByDatabase = "database_refused"
)

// keepDatabase creates, describes or deletes the run's database.
func (h *handler) keepDatabase(ctx context.Context, t events.ToolApproved) (string, error) {
	var q tool.DatabaseRequest
	if err := tool.Read(t.Arguments, &q); err != nil {
		return "", &agentpod.Refusal{Reason: reason.InvalidRequest, Message: err.Error()}
	}
	r := agentpod.Home(t)
	switch q.Action {
	case tool.CreateDatabase:
		return h.createDatabase(ctx, r)
	case tool.DescribeDatabase:
		return h.describeDatabase(ctx, r.Namespace)
	case tool.DeleteDatabase:
		if err := h.dropDatabase(ctx, r.Namespace); err != nil {
			return "", err
		}
		if err := h.home(ctx, r); err != nil {
			return "", err
		}
		if err := h.put(ctx, agentpod.DatabasePolicy(r, nil, 0)); err != nil {
			return "", err
		}
		// We may write Secrets, and not delete them.
		return "The database is deleted, and the Secret " + tool.DatabaseSecret + " is empty.", h.put(ctx, agentpod.Secret(r, tool.DatabaseSecret, nil))
	}
	return "", &agentpod.Refusal{Reason: reason.InvalidRequest, Message: fmt.Sprintf("action %q is not known", q.Action)}
}

func (h *handler) createDatabase(ctx context.Context, r events.AgentRequested) (string, error) {
	if err := h.home(ctx, r); err != nil {
		return "", err
	}
	d, err := h.db.PlanDatabase(ctx, r.Namespace, r.Project)
	switch {
	case err != nil:
		return "", err
	case d.Server == "":
		return "", &agentpod.Refusal{Reason: databaseUnknown, Message: "The project names no Postgres for databases of its runs."}
	}
	how := fmt.Sprintf("How to connect stands in the Secret %s, under url and as PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD.", tool.DatabaseSecret)
	fresh, err := h.furnishDatabase(ctx, r, d)
	if !fresh {
		return "The database is there already and stays as it is. " + how, err
	}
	return "The database is created. " + how, err
}

// furnishDatabase makes the database, and the Secret that says how to connect. It reports false if both were there;
// then they stay as they are. Nobody can read the Secret, so a database is on record as made only while its password
// is certainly the Secret's.
func (h *handler) furnishDatabase(ctx context.Context, r events.AgentRequested, d store.RunDatabase) (fresh bool, err error) {
	s, err := h.hold(ctx, r.Namespace, d.Server)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	way, err := s.way(ctx, r)
	if err == nil {
		err = h.put(ctx, way)
	}
	if err != nil {
		return false, err
	}
	password := random()
	secret := agentpod.Secret(r, tool.DatabaseSecret, s.Connection(password))
	if d.Made {
		if err := h.db.DatabaseMade(ctx, r.Namespace, false); err != nil {
			return false, err
		}
		err := h.cluster.Create(ctx, secret.Resource, secret.Value)
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return false, err
		}
		existed := err != nil
		there, err := s.Exists(ctx)
		if err != nil {
			return false, databaseRefused(err)
		}
		if there && existed {
			return false, h.db.DatabaseMade(ctx, r.Namespace, true)
		}
	}
	if err := databaseRefused(s.Create(ctx, password)); err != nil {
		return false, err
	}
	if err := h.put(ctx, secret); err != nil {
		return false, err
	}
	return true, h.db.DatabaseMade(ctx, r.Namespace, true)
}

func (h *handler) describeDatabase(ctx context.Context, namespace string) (text string, err error) {
	d, err := h.db.RunDatabase(ctx, namespace)
	switch {
	case err != nil:
		return "", err
	case d.Server == "":
		return "There is no database.", nil
	}
	s, err := h.hold(ctx, namespace, d.Server)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	size, tables, err := s.Describe(ctx)
	if err != nil {
		return "", databaseRefused(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Database %s, %s", databaseName(namespace), size)
	switch {
	case len(tables) == 0:
		b.WriteString(", has no tables.")
	case len(tables) > postgres.MaxTables:
		fmt.Fprintf(&b, ". The first %d of its tables:", postgres.MaxTables)
		tables = tables[:postgres.MaxTables]
	default:
		b.WriteString(". Its tables:")
	}
	for _, t := range tables {
		fmt.Fprintf(&b, "\n%s, %s", plain.Cut(plain.Text(t.Name), 130), t.Size)
	}
	return b.String(), nil
}

// dropDatabase removes the database of a namespace, if it has one.
func (h *handler) dropDatabase(ctx context.Context, namespace string) (err error) {
	d, err := h.db.RunDatabase(ctx, namespace)
	if err != nil || d.Server == "" {
		return err
	}
	s, err := h.hold(ctx, namespace, d.Server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	if err := databaseRefused(s.Drop(ctx)); err != nil {
		return err
	}
	return h.db.DatabaseGone(ctx, namespace)
}

// remakeDatabase sees to it that the Secret of a database is there which an earlier Job has had made. If the server
// refuses, the agent hears why when it asks for the database.
func (h *handler) remakeDatabase(ctx context.Context, r events.AgentRequested) error {
	d, err := h.db.RunDatabase(ctx, r.Namespace)
	if err != nil || d.Server == "" {
		return err
	}
	_, err = h.furnishDatabase(ctx, r, d)
	if refusal := new(agentpod.Refusal); errors.As(err, &refusal) {
		slog.WarnContext(ctx, "the run starts without its database", "run", r.RunID, "reason", refusal.Reason, "error", refusal.Message)
		return nil
	}
	return err
}

// A server is a project's Postgres, held for one database.
type server struct {
	*postgres.Session
	peers []agentpod.Peer // pods or ranges behind its address, where the operator names them
}

// way lets the pods of the run's services reach the server: the peers that its Secret names, else the addresses that
// its host has now.
func (s *server) way(ctx context.Context, r events.AgentRequested) (agentpod.Object, error) {
	host, port := s.Address()
	at := s.peers
	if len(at) == 0 {
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return agentpod.Object{}, fmt.Errorf("looking for the addresses of the project's Postgres: %w", err)
		}
		for _, address := range addresses {
			address = address.Unmap()
			at = append(at, agentpod.Peer{CIDR: netip.PrefixFrom(address, address.BitLen())})
		}
	}
	return agentpod.DatabasePolicy(r, at, port), nil
}

// hold opens the server that the Secret of that name lets us into.
func (h *handler) hold(ctx context.Context, namespace, named string) (*server, error) {
	secret, err := kube.Get[corev1.Secret](ctx, h.cluster, gvr.Secrets, agentpod.DatabasesNamespace, named)
	if err != nil {
		return nil, err
	}
	name := databaseName(namespace)
	if secret == nil || len(secret.Data["url"]) == 0 || name == "" {
		return nil, &agentpod.Refusal{Reason: databaseUnknown, Message: fmt.Sprintf(
			"The Secret %s in the namespace %s, which lets the platform into the project's Postgres, is not there or has no key url. An operator has to make it.", named, agentpod.DatabasesNamespace)}
	}
	peers, err := parsePeers(string(secret.Data["peers"]))
	if err != nil {
		return nil, &agentpod.Refusal{Reason: databaseUnknown, Message: fmt.Sprintf("The Secret %s in the namespace %s: %v. An operator has to correct it.", named, agentpod.DatabasesNamespace, err)}
	}
	s, err := postgres.Hold(ctx, string(secret.Data["url"]), name)
	if err != nil {
		return nil, databaseRefused(err)
	}
	return &server{s, peers}, nil
}

var ourNamespace = regexp.MustCompile(`^codexk8s-run-[a-z0-9-]{1,50}$`)

// databaseName is that of the database and of its role, "" for what is no run's namespace: never the agent's words.
func databaseName(namespace string) string {
	if !ourNamespace.MatchString(namespace) {
		return ""
	}
	return strings.ReplaceAll(namespace, "-", "_")
}

// databaseRefused is the refusal in which the server's last word is told.
func databaseRefused(err error) error {
	if refused := new(postgres.Refused); errors.As(err, &refused) {
		return &agentpod.Refusal{Reason: refusedByDatabase, Message: "The project's Postgres refuses it: " + refused.Message}
	}
	return err
}
