package llm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sashabaranov/go-openai"
)

// A Kind says what would help with a failure.
type Kind string

// The kinds, by what to do about them.
const (
	RateLimited    Kind = "rate_limited"    // wait, at least Failure.RetryAfter
	QuotaExhausted Kind = "quota_exhausted" // somebody has to pay or raise the limit; waiting helps if RetryAfter says so
	Permanent      Kind = "refused"         // nothing helps: the same request fails again
	Temporary      Kind = "temporary"       // repeat a little later
)

// A Failure is a model call that failed. It is an error.
type Failure struct {
	Kind       Kind
	Status     int           // HTTP status; 0 when no answer came
	Code       string        // OpenAI's code, such as rate_limit_exceeded; empty when it gave none
	Message    string        // OpenAI's words, at most maxMessage bytes
	RetryAfter time.Duration // 0 when it gave none
	cause      error
}

// maxMessage is how much of an error body goes into an error text, in bytes.
const maxMessage = 500

func (f *Failure) Error() string {
	var b strings.Builder
	b.WriteString("model call: " + string(f.Kind))
	if f.Status != 0 {
		fmt.Fprintf(&b, ", status %d", f.Status)
	}
	if f.Code != "" {
		b.WriteString(", " + f.Code)
	}
	if f.Message != "" {
		b.WriteString(": " + f.Message)
	}
	return b.String()
}

// Unwrap returns the error that the failure was made from, if any.
func (f *Failure) Unwrap() error { return f.cause }

// Classify reads an answer with a status of 400 and above. The body may be OpenAI's JSON error or anything else; now is
// for a Retry-After that is a date.
//
// The rule follows https://platform.openai.com/docs/guides/error-codes: 429 is the rate limit unless the code is about
// quota or billing; 408, 409 and 5xx pass; every other 4xx is the request's own fault.
func Classify(status int, h http.Header, body []byte, now time.Time) *Failure {
	f := &Failure{Status: status, Kind: Permanent}
	var e struct {
		Error struct {
			Message string `json:"message"`
			Type    string `json:"type"`
			Code    any    `json:"code"` // a string, at some providers a number
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil {
		f.Message = clip(e.Error.Message)
		f.Code = codeText(e.Error.Code, e.Error.Type)
	} else {
		f.Message = clip(string(body))
	}
	f.Kind = kindOf(status, f.Code, e.Error.Type)
	if f.Kind == RateLimited || f.Kind == QuotaExhausted || f.Kind == Temporary {
		f.RetryAfter = retryAfter(h, now)
	}
	if f.Kind == RateLimited && f.RetryAfter == 0 {
		f.RetryAfter = toldWait(f.Message)
	}
	return f
}

func kindOf(status int, code, kind string) Kind {
	switch {
	case status == http.StatusTooManyRequests:
		for _, word := range []string{code, kind} {
			switch word {
			case "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "usage_limit_reached":
				return QuotaExhausted
			}
		}
		return RateLimited
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooEarly, status >= 500:
		return Temporary
	}
	return Permanent
}

// codeText is the code, or the type where there is none.
func codeText(code any, kind string) string {
	switch c := code.(type) {
	case string:
		return c
	case float64:
		return strconv.FormatFloat(c, 'f', -1, 64)
	}
	return kind
}

func clip(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "")
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "…"
}

// maxWait is the longest wait of a header that is believed.
const maxWait = 31 * 24 * time.Hour

// retryAfter is the longest wait that the headers ask for: Retry-After-Ms, Retry-After in seconds or as a date, or the
// reset of a limit that is used up (https://platform.openai.com/docs/guides/rate-limits).
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait := time.Duration(0)
	take := func(d time.Duration) { wait = max(wait, min(d, maxWait)) }
	seconds := func(text string, unit time.Duration) {
		// A number may be a fraction; anything else is ignored.
		if n, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && n > 0 {
			take(time.Duration(min(n*float64(unit), float64(maxWait))))
		}
	}
	seconds(h.Get("Retry-After-Ms"), time.Millisecond)
	seconds(h.Get("Retry-After"), time.Second)
	if date, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		take(date.Sub(now))
	}
	for name := range h {
		// A limit that does not say what remains is taken as used up.
		if limit, ok := strings.CutPrefix(name, "X-Ratelimit-Reset"); ok && cmp.Or(h.Get("X-Ratelimit-Remaining"+limit), "0") == "0" {
			take(reset(h.Get(name), now))
		}
	}
	return wait
}

// reset reads when a limit is lifted: "6m0s" as OpenAI says it; as others do, in seconds, or as a time in seconds or
// milliseconds since 1970.
func reset(text string, now time.Time) time.Duration {
	if d, err := time.ParseDuration(text); err == nil {
		return d
	}
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || !(n > 0 && n < 1e14):
		return 0
	case n > 1e12:
		return time.UnixMilli(int64(n)).Sub(now)
	case n > 1e9:
		return time.Unix(int64(n), 0).Sub(now)
	}
	return time.Duration(min(n*float64(time.Second), float64(maxWait)))
}

// inWords is how messages name a wait: OpenAI's "Please try again in 1m9.6s.", Azure's "Try again in 17 seconds." and
// "Please retry after 26 seconds."
var inWords = regexp.MustCompile(`(?i)(?:try again in|retry after|retry in) ((?:[0-9.]+(?:ms|s|m|h))+|[0-9.]+ (?:second|minute|hour))`)

var unit = strings.NewReplacer(" second", "s", " minute", "m", " hour", "h")

// toldWait is the wait that a message names, or 0.
func toldWait(message string) time.Duration {
	found := inWords.FindStringSubmatch(message)
	if found == nil {
		return 0
	}
	d, err := time.ParseDuration(unit.Replace(strings.ToLower(found[1])))
	if err != nil {
		return 0
	}
	return min(max(d, 0), maxWait)
}

// AsFailure makes a Failure of any error of a call by NewClient's client. Whatever is not an answer of OpenAI is
// temporary, except for the end of the caller's own context.
func AsFailure(err error) *Failure {
	if f := (*Failure)(nil); errors.As(err, &f) {
		return f
	}
	if e := (*openai.APIError)(nil); errors.As(err, &e) {
		// An error event inside a stream has no status.
		code := codeText(e.Code, e.Type)
		f := &Failure{Status: e.HTTPStatusCode, Code: code, Message: clip(e.Message), cause: err}
		f.Kind = kindOf(e.HTTPStatusCode, code, e.Type)
		if e.HTTPStatusCode == 0 {
			f.Kind = Temporary
		}
		return f
	}
	f := &Failure{Kind: Temporary, Message: clip(err.Error()), cause: err}
	if errors.Is(err, context.Canceled) || slices.ContainsFunc(unsent, func(refusal error) bool { return errors.Is(err, refusal) }) {
		f.Kind = Permanent
	}
	return f
}

// unsent are what go-openai refuses before it sends anything.
var unsent = []error{
	openai.ErrChatCompletionInvalidModel,
	openai.ErrChatCompletionStreamNotSupported,
	openai.ErrContentFieldsMisused,
	openai.ErrReasoningEffortUnsupported,
	openai.ErrReasoningToolsRequireResponses,
	openai.ErrReasoningSamplingUnsupported,
	openai.ErrReasoningModelMaxTokensDeprecated,
	openai.ErrReasoningModelLimitationsLogprobs,
	openai.ErrReasoningModelLimitationsOther,
}
