// Package look is what the pages of all fakes have in common: the style, the script that keeps a page current, the
// headers, and who may act on them.
package look

import (
	_ "embed"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

//go:embed style.css
var style []byte

//go:embed live.js
var live []byte

// Handle serves the style and the script, for the head of every page.
func Handle(mux *http.ServeMux) {
	mux.HandleFunc("GET /-/style.css", asset("text/css; charset=utf-8", style))
	mux.HandleFunc("GET /-/live.js", asset("text/javascript; charset=utf-8", live))
}

func asset(contentType string, data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(data) // the browser may have gone
	}
}

// Write sends a page that may run and load nothing but what Handle serves.
func Write(w http.ResponseWriter, status int, page []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "+
		"connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(page) // the browser may have gone
}

// OwnBrowser refuses who may not act on pages without a token: another machine, and a page of somebody else whose name
// leads here. The base is the server's own URL.
func OwnBrowser(r *http.Request, base string) error {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return errors.New("it is not known where this request comes from")
	}
	if from, err := netip.ParseAddr(host); err != nil || !from.IsLoopback() {
		return errors.New("the pages act for their own machine only; from elsewhere use the API with a token")
	}
	name := (&url.URL{Host: r.Host}).Hostname()
	_, notAddress := netip.ParseAddr(name)
	if own, err := url.Parse(base); err == nil && name != own.Hostname() && name != "localhost" && notAddress != nil {
		return errors.New("the server is not known as " + name)
	}
	return nil
}

// LocalPath is a path of this server, whatever a form says.
func LocalPath(text string) string {
	u, err := url.Parse(text)
	if err != nil || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(u.Path, "\\") {
		return "/"
	}
	return u.EscapedPath()
}
