package github

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
)

// defaultURL is GitHub's own API; an Enterprise Server has https://HOST/api/v3.
const defaultURL = "https://api.github.com"

// Config says which GitHub to call and as whom: as an App (AppID and AppKey), or with a plain Token. If both are set
// the App is used.
type Config struct {
	URL     string        // of the REST API; "" is defaultURL
	Token   string        // personal or machine user's token
	AppID   int64         // of the GitHub App
	AppKey  []byte        // its private key, PEM
	Timeout time.Duration // of one call; 0 is 15 s
}

// Clients holds one go-github client per credential, which remembers its rate limit. It is safe for concurrent use.
type Clients struct {
	config    Config
	url       *url.URL
	transport http.RoundTripper
	plain     *Client // with Config.Token; nil for an App
	app       *Client // as the App itself; nil for a plain token

	mu            sync.Mutex
	login         string            // who we are; "" until asked
	installations map[string]int64  // by lower-case owner/name
	clients       map[int64]*Client // by installation
}

// Client calls GitHub with one credential.
type Client struct {
	*gh.Client
	// Credential names the caller and is no secret: "installation:123", "app:7" or "token:<hash>". GitHub's limits are
	// per credential, and so are pauses.
	Credential string
}

// Open checks the configuration; it makes no call.
func Open(c Config) (*Clients, error) {
	if c.URL == "" {
		c.URL = defaultURL
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	base, err := url.Parse(strings.TrimRight(c.URL, "/") + "/")
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("the GitHub API's address %q is not an http(s) URL", c.URL)
	}
	plain := http.DefaultTransport.(*http.Transport).Clone()
	plain.MaxIdleConnsPerHost = 16
	transport := following{measured{plain}}
	cs := &Clients{
		config: c, url: base, transport: transport,
		installations: map[string]int64{}, clients: map[int64]*Client{},
	}
	cs.config.AppKey = unfold(c.AppKey)
	switch {
	case c.AppID != 0:
		apps, err := ghinstallation.NewAppsTransport(transport, c.AppID, cs.config.AppKey)
		if err != nil {
			return nil, fmt.Errorf("reading the private key of GitHub App %d, it must be PEM (RSA): %w", c.AppID, err)
		}
		apps.BaseURL = strings.TrimRight(base.String(), "/")
		cs.app = &Client{Client: cs.client(apps), Credential: fmt.Sprintf("app:%d", c.AppID)}
	case c.Token != "":
		sum := sha256.Sum256([]byte(c.Token))
		cs.plain = &Client{
			Client:     cs.client(transport).WithAuthToken(c.Token),
			Credential: "token:" + hex.EncodeToString(sum[:6]),
		}
	default:
		return nil, errors.New("no GitHub credential: give a GitHub App (id and private key) or a token")
	}
	return cs, nil
}

func (cs *Clients) client(rt http.RoundTripper) *gh.Client {
	c := gh.NewClient(&http.Client{Transport: rt, Timeout: cs.config.Timeout, CheckRedirect: stay})
	c.BaseURL = cs.url
	c.UserAgent = "codex-k8s"
	return c
}

// oneLine is a PEM block whose line ends were lost in a variable, or turned into the two characters \n.
var oneLine = regexp.MustCompile(`^(-----BEGIN [A-Z ]+-----)(?:\\n|\s)*([A-Za-z0-9+/=\s]|\\n)*(-----END [A-Z ]+-----)`)

// unfold restores a key's line ends.
func unfold(key []byte) []byte {
	m := oneLine.FindSubmatch(key)
	if m == nil || bytes.Contains(key, []byte("\n-----END")) {
		return key
	}
	body := key[len(m[1]):bytes.LastIndex(key, m[3])]
	body = bytes.Join(bytes.Fields(bytes.ReplaceAll(body, []byte(`\n`), []byte("\n"))), []byte("\n"))
	return slices.Concat(m[1], []byte("\n"), body, []byte("\n"), m[3], []byte("\n"))
}

// stay leaves redirects to the transport (following).
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// URL is the REST API's address without a slash at the end.
func (cs *Clients) URL() string { return strings.TrimRight(cs.url.String(), "/") }

// For returns the client for a repository ("owner/name"). With an App it is the installation's, which is looked up
// once; a *Refused with 404 means that the App is not installed there.
func (cs *Clients) For(ctx context.Context, repository string) (*Client, error) {
	if cs.plain != nil {
		return cs.plain, nil
	}
	id, err := cs.installation(ctx, repository)
	if err != nil {
		return nil, err
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.clients[id]; c != nil {
		return c, nil
	}
	transport := &installation{
		make:   func() (*ghinstallation.Transport, error) { return cs.installationTransport(id) },
		forget: func() { cs.forget(id) }, pauses: pauses,
	}
	c := &Client{
		Client:     cs.client(transport),
		Credential: fmt.Sprintf("installation:%d", id),
	}
	cs.clients[id] = c
	return c, nil
}

// App returns the client that acts as the GitHub App itself, with a JSON web token; nil for a plain token. GitHub wants
// it for what belongs to the App itself, such as the deliveries of the App's own hook.
// https://docs.github.com/en/rest/apps/webhooks#list-deliveries-for-an-app-webhook
func (cs *Clients) App() *Client { return cs.app }

// Login is the author that GitHub shows for what we write: "<app>[bot]", or the token's user. It is looked up once.
func (cs *Clients) Login(ctx context.Context) (string, error) {
	cs.mu.Lock()
	login := cs.login
	cs.mu.Unlock()
	if login != "" {
		return login, nil
	}
	if cs.plain != nil {
		user, _, err := cs.plain.Users.Get(ctx, "")
		if err != nil {
			return "", fmt.Errorf("asking GitHub who we are: %w", ClassifyError(err, time.Now()))
		}
		login = user.GetLogin()
	} else {
		app, _, err := cs.app.Apps.Get(ctx, "")
		if err != nil {
			return "", fmt.Errorf("asking GitHub who we are: %w", ClassifyError(err, time.Now()))
		}
		login = app.GetSlug() + "[bot]"
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.login = login
	return login, nil
}

func (cs *Clients) installation(ctx context.Context, repository string) (int64, error) {
	owner, name, ok := strings.Cut(repository, "/")
	if !ok || !webhook.IsName(owner) || !webhook.IsName(name) {
		return 0, &Refused{Status: http.StatusNotFound, Message: fmt.Sprintf("no repository %q, want owner/name", repository)}
	}
	key := strings.ToLower(repository)
	cs.mu.Lock()
	id := cs.installations[key]
	cs.mu.Unlock()
	if id != 0 {
		return id, nil
	}
	found, _, err := cs.app.Apps.FindRepositoryInstallation(ctx, owner, name)
	if err != nil {
		return 0, fmt.Errorf("looking up the GitHub App's installation on %s: %w", repository, ClassifyError(err, time.Now()))
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.installations[key] = found.GetID()
	return found.GetID(), nil
}

// installationTransport makes a transport with an AppsTransport of its own: ghinstallation writes to the one it is
// given whenever it fetches a token, so sharing it between installations is a data race.
func (cs *Clients) installationTransport(id int64) (*ghinstallation.Transport, error) {
	tr, err := ghinstallation.New(cs.transport, cs.config.AppID, id, cs.config.AppKey)
	if err != nil {
		return nil, fmt.Errorf("reading the private key of GitHub App %d: %w", cs.config.AppID, err)
	}
	tr.BaseURL = cs.URL()
	tr.Client = &http.Client{Transport: cs.transport, Timeout: cs.config.Timeout, CheckRedirect: stay}
	return tr, nil
}

func (cs *Clients) forget(id int64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.clients, id)
	for repository, known := range cs.installations {
		if known == id {
			delete(cs.installations, repository)
		}
	}
}

// Token is a credential for Git over HTTPS (any user name, the token as password) and for the REST API.
type Token struct {
	Value   string
	Expires time.Time // zero for a plain token, which GitHub does not let us limit
}

// AgentPermissions are what an agent's run may do in its one repository: push a branch, open and update a pull request,
// read issues. No workflow files, no settings, no labels.
func AgentPermissions() *gh.InstallationPermissions {
	return &gh.InstallationPermissions{
		Contents:     gh.String("write"),
		PullRequests: gh.String("write"),
		Issues:       gh.String("read"),
		Metadata:     gh.String("read"),
	}
}

// ReadPermissions are what an agent's run may do until the agent has finished: read.
func ReadPermissions() *gh.InstallationPermissions {
	return &gh.InstallationPermissions{
		Contents:     gh.String("read"),
		PullRequests: gh.String("read"),
		Issues:       gh.String("read"),
		Metadata:     gh.String("read"),
	}
}

// RunPermissions are all that a run of the kind may do in its one repository, once its agent has ended. GitHub can't
// limit a token to paths or branches: what a stage may change is checked before the push, and looked at after it.
func RunPermissions(kind events.Kind) *gh.InstallationPermissions {
	if kind.Writes() {
		return AgentPermissions()
	}
	p := ReadPermissions()
	if kind == events.KindReview { // results of checks, too
		p.Statuses, p.Checks = gh.String("read"), gh.String("read")
	}
	return p
}

// Token fetches a fresh token for one repository with just these permissions; GitHub lets it live for an hour. id is
// the repository's number, which GitHub accepts after a rename, unlike an old name; with 0 it is looked up first. A
// configured plain token is returned as it is, with all its rights: good for trying out; use an App in production.
func (cs *Clients) Token(ctx context.Context, repository string, id int64, permissions *gh.InstallationPermissions) (Token, error) {
	if cs.plain != nil {
		return Token{Value: cs.config.Token}, nil
	}
	installation, err := cs.installation(ctx, repository)
	if err != nil {
		return Token{}, err
	}
	if id == 0 {
		if id, err = cs.number(ctx, repository); err != nil {
			return Token{}, err
		}
	}
	tr, err := cs.installationTransport(installation)
	if err != nil {
		return Token{}, err
	}
	tr.InstallationTokenOptions = &gh.InstallationTokenOptions{RepositoryIDs: []int64{id}, Permissions: permissions}
	value, err := tr.Token(ctx)
	if err != nil {
		err = settleTokenError(err, func() { cs.forget(installation) })
		return Token{}, fmt.Errorf("fetching a token for %s: %w", repository, ClassifyError(err, time.Now()))
	}
	expires, _, err := tr.Expiry()
	if err != nil {
		return Token{}, fmt.Errorf("reading the expiry of the token for %s: %w", repository, err)
	}
	return Token{Value: value, Expires: expires}, nil
}

// number looks up the repository's number. GitHub answers an old name with a redirect to the repository.
// https://docs.github.com/en/rest/repos/repos#get-a-repository
func (cs *Clients) number(ctx context.Context, repository string) (int64, error) {
	client, err := cs.For(ctx, repository)
	if err != nil {
		return 0, err
	}
	owner, name, _ := strings.Cut(repository, "/")
	found, _, err := client.Repositories.Get(ctx, owner, name)
	if err != nil {
		return 0, fmt.Errorf("asking for the number of %s: %w", repository, ClassifyError(err, time.Now()))
	}
	return found.GetID(), nil
}
