package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// callTime bounds one call. Slack and Mattermost give a trigger three seconds; all else may take longer.
const callTime = 10 * time.Second

// maxAnswer bounds how much of an answer is read, in bytes.
const maxAnswer = 1 << 20

// NewClient returns the HTTP client for the services that the platform's operator has connected. It follows no
// redirects, which would carry a credential elsewhere.
func NewClient() *http.Client {
	return &http.Client{Timeout: callTime, CheckRedirect: stay}
}

// NewGuardedClient returns the HTTP client for addresses that users configure. It connects only to the Internet and to
// what the operator allows, and looks at the address it dials, not at the name, which may mean another one a moment
// later. It uses no proxy, since that would do the dialling.
func NewGuardedClient(allowed []netip.Prefix) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		return outside(address, allowed)
	}}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.DialContext = nil, dialer.DialContext
	return &http.Client{Timeout: callTime, CheckRedirect: stay, Transport: transport}
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

var errInside = errors.New("the address is in a private or reserved network, which has to be allowed explicitly")

// reserved are networks that are not the Internet, beside those that netip knows, and Azure's own address on each of
// its machines (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
// https://www.iana.org/assignments/iana-ipv4-special-registry https://www.iana.org/assignments/iana-ipv6-special-registry
var reserved = prefixes("0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "fec0::/10")

// nat64 leads to the IPv4 address in its last 32 bits, where a network has IPv6 alone.
// https://www.rfc-editor.org/rfc/rfc6052#section-2.1
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// reached is the address at which a connection ends.
func reached(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		all := ip.As16()
		return netip.AddrFrom4([4]byte(all[12:]))
	}
	return ip
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

// outside is nil for an address ("ip:port") that may be dialled.
func outside(address string, allowed []netip.Prefix) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("reading the address %q: %w", address, err)
	}
	ip := reached(at.Addr())
	for _, p := range allowed {
		if p.Contains(ip) {
			return nil
		}
	}
	bad := !ip.IsGlobalUnicast() || ip.IsPrivate()
	for _, p := range reserved {
		bad = bad || p.Contains(ip)
	}
	if bad {
		return fmt.Errorf("%w: %s", errInside, ip)
	}
	return nil
}

// An answer is what a service said to a call.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call sends JSON, or nothing if body is nil. An error means that no answer came; it does not have the address in it,
// which may hold a secret.
func call(ctx context.Context, client *http.Client, method, address string, header http.Header, body any) (answer, error) {
	if body == nil {
		return send(ctx, client, method, address, header, nil)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return answer{}, fmt.Errorf("writing JSON: %w", err)
	}
	return send(ctx, client, method, address, header, text)
}

func send(ctx context.Context, client *http.Client, method, address string, header http.Header, body []byte) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return answer{}, withoutAddress(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("User-Agent", "codex-k8s")
	res, err := client.Do(r)
	if err != nil {
		return answer{}, withoutAddress(err)
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("reading the answer: %w", withoutAddress(err))
	}
	return answer{res.StatusCode, res.Header, withoutSecrets(said, address, header, body)}, nil
}

// botToken is Telegram's, in an address.
var botToken = regexp.MustCompile(`/bot([^/]+)/`)

// withoutSecrets takes out of an answer what it repeats of the secrets in the call: words of an answer get into errors,
// which are logged and kept.
func withoutSecrets(said []byte, address string, header http.Header, body []byte) []byte {
	secrets := sealed.FindAll(body, -1)
	if token := botToken.FindStringSubmatch(address); token != nil {
		secrets = append(secrets, []byte(token[1]))
	}
	r := http.Request{Header: header}
	if _, password, basic := r.BasicAuth(); basic {
		secrets = append(secrets, []byte(password))
	}
	if _, credential, given := strings.Cut(header.Get("Authorization"), " "); given {
		secrets = append(secrets, []byte(credential))
	}
	if signature := header.Get(HeaderSignature); signature != "" {
		secrets = append(secrets, []byte(signature))
	}
	for _, secret := range secrets {
		if len(secret) > 0 {
			said = bytes.ReplaceAll(said, secret, []byte("[secret]"))
		}
	}
	return said
}

// withoutAddress drops the URL from net/http's errors.
func withoutAddress(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", strings.ToUpper(failed.Op), failed.Err)
	}
	return err
}

// maxWait bounds what a header may ask for.
const maxWait = time.Hour

// retryAfter reads a header in its two forms, seconds and a date; without one it is a minute.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 {
		return time.Duration(min(seconds, maxWait.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(text); err == nil {
		if sent, err := http.ParseTime(h.Get("Date")); err == nil && at.After(sent) {
			return min(at.Sub(sent), maxWait)
		}
	}
	return time.Minute
}

// said is at most 300 bytes of an answer, for an error.
func said(body []byte) string { return oneLine(string(body), 300) }
