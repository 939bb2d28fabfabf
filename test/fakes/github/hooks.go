package fakegithub

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// hook is a webhook of a repository, or that of the App.
type hook struct {
	ID          int64     `json:"id"`
	Active      bool      `json:"active"`
	Events      []string  `json:"events"`
	URL         string    `json:"url"`
	Secret      string    `json:"secret"`
	ContentType string    `json:"content_type"` // json or form
	InsecureSSL string    `json:"insecure_ssl"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	LastCode    int       `json:"last_code"`
	LastStatus  string    `json:"last_status"`
}

var (
	onHooks     = need{permissions: []string{"repository_hooks"}, write: true, role: administrator}
	onHooksRead = need{permissions: []string{"repository_hooks"}, role: administrator}
)

var hookRoutes = []route{
	{pattern: "GET /repos/{owner}/{repo}/hooks", need: onHooksRead, run: (*Server).listHooks},
	{pattern: "POST /repos/{owner}/{repo}/hooks", need: onHooks, run: (*Server).postHook},
	{pattern: "GET /repos/{owner}/{repo}/hooks/{hook}", need: onHooksRead, run: (*Server).getHook},
	{pattern: "PATCH /repos/{owner}/{repo}/hooks/{hook}", need: onHooks, run: (*Server).patchHook},
	{pattern: "DELETE /repos/{owner}/{repo}/hooks/{hook}", need: onHooks, run: (*Server).deleteHook},
	{pattern: "POST /repos/{owner}/{repo}/hooks/{hook}/pings", need: onHooks, run: (*Server).pingHook},
	{pattern: "GET /repos/{owner}/{repo}/hooks/{hook}/deliveries", need: onHooksRead, run: (*Server).listDeliveries},
	{pattern: "GET /repos/{owner}/{repo}/hooks/{hook}/deliveries/{delivery}", need: onHooksRead, run: (*Server).getDelivery},
	{pattern: "POST /repos/{owner}/{repo}/hooks/{hook}/deliveries/{delivery}/attempts", need: onHooks, run: (*Server).redeliver},
	{pattern: "GET /app/hook/deliveries", run: (*Server).listDeliveries},
	{pattern: "GET /app/hook/deliveries/{delivery}", run: (*Server).getDelivery},
	{pattern: "POST /app/hook/deliveries/{delivery}/attempts", run: (*Server).redeliver},
	{pattern: "GET /app/hook/config", run: (*Server).getAppHook},
	{pattern: "PATCH /app/hook/config", run: (*Server).patchAppHook},
}

func (h *hook) wants(event string) bool {
	return h.Active && h.URL != "" && (event == "ping" || slices.Contains(h.Events, "*") || slices.Contains(h.Events, event))
}

// hook finds the hook that the path names: one of a repository, or the App's, which GitHub shows to the App itself
// only.
// https://docs.github.com/en/rest/apps/webhooks
func (s *Server) hook(c *call) (*hook, error) {
	if c.repo == nil {
		if !c.who.app {
			return nil, errNoJWT
		}
		return s.st.App.Hook, nil
	}
	id, err := c.number("hook")
	if err != nil {
		return nil, err
	}
	for _, h := range c.repo.Hooks {
		if h.ID == id {
			return h, nil
		}
	}
	return nil, errNotFound
}

// config shows the configuration; GitHub never shows a secret again.
func (h *hook) config() object {
	o := object{"url": h.URL, "content_type": h.ContentType, "insecure_ssl": h.InsecureSSL}
	if h.Secret != "" {
		o["secret"] = "********"
	}
	return o
}

func (s *Server) hookObject(r *repository, h *hook) object {
	at := s.api("/repos/%s/hooks/%d", r.fullName(), h.ID)
	last := object{"code": nil, "status": "unused", "message": nil}
	if h.LastStatus != "" {
		last = object{"code": h.LastCode, "status": "active", "message": h.LastStatus}
	}
	return object{
		"type": "Repository", "id": h.ID, "name": "web", "active": h.Active, "events": h.Events, "config": h.config(), "updated_at": h.UpdatedAt,
		"created_at": h.CreatedAt, "url": at, "test_url": at + "/test", "ping_url": at + "/pings", "deliveries_url": at + "/deliveries", "last_response": last,
	}
}

func (s *Server) listHooks(c *call) (int, any, error) {
	return http.StatusOK, paged(s, c, c.repo.Hooks, func(h *hook) object { return s.hookObject(c.repo, h) }), nil
}

func (s *Server) getHook(c *call) (int, any, error) {
	h, err := s.hook(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.hookObject(c.repo, h), nil
}

// hookConfig is the config object of requests; GitHub takes insecure_ssl as text or number.
type hookConfig struct {
	URL         *string `json:"url"`
	Secret      *string `json:"secret"`
	ContentType *string `json:"content_type"`
	InsecureSSL any     `json:"insecure_ssl"`
}

func (h *hook) apply(in hookConfig) error {
	if in.URL != nil {
		u, err := url.Parse(*in.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return invalid("Hook", "url", "custom", "Config must contain a URL for webhooks")
		}
		h.URL = *in.URL
	}
	if in.Secret != nil {
		h.Secret = *in.Secret
	}
	if in.ContentType != nil {
		if *in.ContentType != "json" && *in.ContentType != "form" {
			return invalid("Hook", "content_type", "custom", "content_type must be one of json, form")
		}
		h.ContentType = *in.ContentType
	}
	switch v := in.InsecureSSL.(type) {
	case string:
		h.InsecureSSL = v
	case float64:
		h.InsecureSSL = strconv.Itoa(int(v))
	}
	return nil
}

func (s *Server) postHook(c *call) (int, any, error) {
	var in struct {
		Name   string
		Active *bool
		Events []string
		Config hookConfig
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if in.Name != "" && in.Name != "web" {
		return 0, nil, invalid("Hook", "name", "custom", "name must be passed as \"web\"")
	}
	if in.Config.URL == nil {
		return 0, nil, invalid("Hook", "url", "missing_field", "Config must contain URL for webhooks")
	}
	h := &hook{Active: in.Active == nil || *in.Active, Events: in.Events}
	h.ContentType, h.InsecureSSL = "form", "0" // GitHub's defaults
	if err := h.apply(in.Config); err != nil {
		return 0, nil, err
	}
	if err := s.addHook(c.repo, h, c.who.user); err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, s.hookObject(c.repo, h), nil
}

// addHook registers a hook and pings it.
func (s *Server) addHook(r *repository, h *hook, by *User) error {
	if len(h.Events) == 0 {
		h.Events = []string{"push"}
	}
	for _, other := range r.Hooks {
		if other.URL == h.URL && slices.Equal(other.Events, h.Events) {
			return invalid("Hook", "", "custom", "Hook already exists on this repository")
		}
	}
	h.ID, h.CreatedAt, h.UpdatedAt = s.id(), s.stamp(), s.stamp()
	r.Hooks = append(r.Hooks, h)
	s.wrote(by, "create hook in %s to %s", r.fullName(), h.URL)
	s.ping(r, h, by)
	return nil
}

func (s *Server) ping(r *repository, h *hook, by *User) {
	s.send(h, r, uuid.NewString(), "ping", "", s.payload(r, "", by, object{
		"zen": "Keep it logically awesome.", "hook_id": h.ID, "hook": s.hookObject(r, h),
	}))
}

func (s *Server) patchHook(c *call) (int, any, error) {
	h, err := s.hook(c)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Active       *bool
		Events       []string
		AddEvents    []string `json:"add_events"`
		RemoveEvents []string `json:"remove_events"`
		Config       hookConfig
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	changed := *h
	if err := changed.apply(in.Config); err != nil {
		return 0, nil, err
	}
	if in.Active != nil {
		changed.Active = *in.Active
	}
	if in.Events != nil {
		changed.Events = in.Events
	}
	for _, e := range in.AddEvents {
		changed.Events = append(without(changed.Events, e), e)
	}
	for _, e := range in.RemoveEvents {
		changed.Events = without(changed.Events, e)
	}
	changed.UpdatedAt = s.stamp()
	*h = changed
	s.wrote(c.who.user, "edit hook in %s to %s", c.repo.fullName(), h.URL)
	return http.StatusOK, s.hookObject(c.repo, h), nil
}

func (s *Server) deleteHook(c *call) (int, any, error) {
	h, err := s.hook(c)
	if err != nil {
		return 0, nil, err
	}
	c.repo.Hooks = slices.DeleteFunc(c.repo.Hooks, func(x *hook) bool { return x == h })
	s.wrote(c.who.user, "delete hook in %s to %s", c.repo.fullName(), h.URL)
	return http.StatusNoContent, nil, nil
}

func (s *Server) pingHook(c *call) (int, any, error) {
	h, err := s.hook(c)
	if err != nil {
		return 0, nil, err
	}
	s.ping(c.repo, h, c.who.user)
	return http.StatusNoContent, nil, nil
}

func (s *Server) getAppHook(c *call) (int, any, error) {
	h, err := s.hook(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, h.config(), nil
}

func (s *Server) patchAppHook(c *call) (int, any, error) {
	h, err := s.hook(c)
	if err != nil {
		return 0, nil, err
	}
	var in hookConfig
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	changed := *h
	if err := changed.apply(in); err != nil {
		return 0, nil, err
	}
	*h = changed
	s.wrote(c.who.user, "edit hook of the app to %s", h.URL)
	return http.StatusOK, h.config(), nil
}

// deliveryLife is how long GitHub shows a delivery.
// https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/viewing-webhook-deliveries
const deliveryLife = 3 * 24 * time.Hour

// listDeliveries pages by cursor, newest first; see
// https://docs.github.com/en/rest/repos/webhooks#list-deliveries-for-a-repository-webhook.
func (s *Server) listDeliveries(c *call) (int, any, error) {
	h, err := s.hook(c)
	if err != nil {
		return 0, nil, err
	}
	q := c.r.URL.Query()
	below := int64(0)
	if text := q.Get("cursor"); text != "" {
		if below, err = strconv.ParseInt(strings.TrimPrefix(text, "v1_"), 10, 64); err != nil {
			return 0, nil, refuse(http.StatusBadRequest, "Invalid cursor")
		}
	}
	size := perPage(q)
	found := s.attempts.list(h.ID, below, q.Get("status"), s.now().Add(-deliveryLife), size+1)
	if len(found) > size {
		found = found[:size]
		q.Set("cursor", "v1_"+strconv.FormatInt(found[size-1].ID, 10))
		c.head.Set("Link", "<"+s.base+c.r.URL.Path+"?"+q.Encode()+`>; rel="next"`)
	}
	out := []object{}
	for _, d := range found {
		out = append(out, d.object())
	}
	return http.StatusOK, out, nil
}

func (s *Server) getDelivery(c *call) (int, any, error) {
	d, err := s.delivery(c)
	if err != nil {
		return 0, nil, err
	}
	o := d.object()
	o["url"] = d.URL
	o["request"] = object{"headers": d.RequestHeaders, "payload": d.Payload}
	o["response"] = object{"headers": d.ResponseHeaders, "payload": d.ResponseBody}
	return http.StatusOK, o, nil
}

func (s *Server) delivery(c *call) (Delivery, error) {
	h, err := s.hook(c)
	if err != nil {
		return Delivery{}, err
	}
	id, err := c.number("delivery")
	if err != nil {
		return Delivery{}, err
	}
	d, err := s.attempts.read(id)
	if err != nil {
		return Delivery{}, err
	}
	if d.Hook != h.ID || d.DeliveredAt.Before(s.now().Add(-deliveryLife)) {
		return Delivery{}, errNotFound
	}
	return d, nil
}

// redeliver sends the same payload under the same GUID once more, as a new delivery.
func (s *Server) redeliver(c *call) (int, any, error) {
	d, err := s.delivery(c)
	if err != nil {
		return 0, nil, err
	}
	h, err := s.hook(c)
	if err != nil {
		return 0, nil, err
	}
	s.queue.add(s.job(h, Delivery{
		GUID: d.GUID, Event: d.Event, Action: d.Action, InstallationID: d.InstallationID, RepositoryID: d.RepositoryID, Payload: d.Payload, Redelivery: true,
	}))
	return http.StatusAccepted, object{}, nil
}
