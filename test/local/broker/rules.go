package broker

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/rickb777/date/period"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
)

// rules are a delivery spec worked out.
type rules struct {
	retries       int
	backoff       func(retry int) time.Duration // retry counts from 0
	timeout       time.Duration                 // of one request; 0 for none
	retryAfterMax *time.Duration                // nil: Retry-After is not looked at
	structured    bool
}

// parseRules reads a delivery spec. Durations are ISO 8601. A policy counts only together with a delay, and without
// them there is no pause between retries.
func parseRules(spec eventingduckv1.DeliverySpec) (rules, error) {
	r := rules{backoff: func(int) time.Duration { return 0 }}
	if spec.Retry != nil {
		r.retries = int(*spec.Retry)
	}
	if spec.BackoffPolicy != nil && spec.BackoffDelay != nil {
		delay, err := duration(*spec.BackoffDelay)
		if err != nil {
			return r, fmt.Errorf("backoffDelay: %w", err)
		}
		switch *spec.BackoffPolicy {
		case eventingduckv1.BackoffPolicyExponential:
			r.backoff = func(retry int) time.Duration { return delay * time.Duration(math.Exp2(float64(retry))) }
		case eventingduckv1.BackoffPolicyLinear:
			r.backoff = func(retry int) time.Duration { return delay * time.Duration(retry) }
		default:
			return r, fmt.Errorf("backoffPolicy %q is neither exponential nor linear", *spec.BackoffPolicy)
		}
	}
	if spec.Timeout != nil {
		timeout, err := duration(*spec.Timeout)
		if err != nil {
			return r, fmt.Errorf("timeout: %w", err)
		}
		r.timeout = timeout
	}
	if spec.RetryAfterMax != nil {
		most, err := duration(*spec.RetryAfterMax)
		if err != nil {
			return r, fmt.Errorf("retryAfterMax: %w", err)
		}
		r.retryAfterMax = &most
	}
	r.structured = spec.Format != nil && *spec.Format == eventingduckv1.DeliveryFormatJson
	return r, nil
}

// duration reads an ISO 8601 duration with Knative's own parser, which knows tenths of a second and cuts off what is
// finer: PT0.05S is nothing.
func duration(iso string) (time.Duration, error) {
	p, err := period.Parse(iso)
	if err != nil {
		return 0, err
	}
	d, _ := p.Duration()
	return d, nil
}

// retryable says whether a failed attempt may be repeated: there was no answer (code 0), or the code is one of
// SelectiveRetry's in pkg/kncloudevents/retries.go.
func retryable(code int) bool {
	switch code {
	case 0, http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return code >= 500
}

// pause is the time before the given retry (from 0). Retry-After counts only for 429 and 503, only where retryAfterMax
// opts in, at most that long, and never shortens the backoff; see generateBackoffFn in pkg/kncloudevents/retries.go.
func (r rules) pause(retry, code int, header http.Header) time.Duration {
	wait := r.backoff(retry)
	if r.retryAfterMax != nil && (code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable) {
		wait = max(wait, min(retryAfter(header), *r.retryAfterMax))
	}
	return wait
}

// retryAfter reads the header's seconds or date, 0 when there is none to be read.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return time.Until(at)
	}
	return 0
}
