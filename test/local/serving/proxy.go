package serving

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// Requests go to the program in the protocol in which they came, since gRPC needs HTTP/2 from end to end and a
// WebSocket needs HTTP/1.1.
var (
	http1 = transport(func(p *http.Protocols) { p.SetHTTP1(true) })
	http2 = transport(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
)

func transport(speak func(*http.Protocols)) *http.Transport {
	t := &http.Transport{
		Protocols:           &http.Protocols{},
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true, // bodies pass as they are
	}
	speak(t.Protocols)
	return t
}

// proxy serves one request: wait for a slot and an instance, then hand over.
func (s *Service) proxy(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.options.Timeout)
	defer cancel()
	if s.slots != nil {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			http.Error(w, "no instance became free in time", http.StatusGatewayTimeout)
			return
		}
	}
	i, err := s.acquire(ctx)
	if err != nil {
		slog.Error("serving: no instance", "service", s.options.Name, "error", err)
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	defer s.release(i)
	target := &url.URL{Scheme: "http", Host: i.address}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
			p.SetXForwarded()
		},
		Transport:     http1,
		FlushInterval: -1, // a stream reaches the client as it is written
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				slog.Warn("serving: request broke", "service", s.options.Name, "path", r.URL.Path, "error", err)
			}
			http.Error(w, "the instance broke the connection", statusOf(err))
		},
	}
	if r.ProtoMajor == 2 {
		proxy.Transport = http2
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
}

// statusOf is what the activator and queue-proxy answer in the program's place.
func statusOf(err error) int {
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusGatewayTimeout
	}
	if errors.Is(err, ErrStopped) {
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}
