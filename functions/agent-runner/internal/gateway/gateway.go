// Package gateway is the pod's access to agent-gateway: a patient client of the Session API, and the run's log.
package gateway

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/cenkalti/backoff/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/plain"
)

// attemptTimeout bounds one call. It is longer than the gateway's scale from zero.
const attemptTimeout = 30 * time.Second

// Dial returns a client of the Session API that sends the run token and tries a call again, for at most retryFor,
// while the gateway cannot answer. Every call of the API may be repeated (see session.proto), so none is special.
// retryFor 0 means one attempt. pod is this pod's secret, see agentapi.PodHeader; empty for calls that need none.
func Dial(url, token, pod string, retryFor time.Duration) agentapi.SessionServiceClient {
	return agentapi.NewSessionServiceClient(&http.Client{}, url, connect.WithInterceptors(
		connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
				req.Header().Set("Authorization", "Bearer "+token)
				if pod != "" {
					req.Header().Set(agentapi.PodHeader, pod)
				}
				if message, ok := req.Any().(proto.Message); ok {
					fit(message.ProtoReflect())
				}
				call := func() (connect.AnyResponse, error) {
					attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
					defer cancel()
					res, err := next(attempt, req)
					if err != nil && (retryFor == 0 || !tryAgain(err)) {
						return nil, backoff.Permanent(err)
					}
					return res, err
				}
				pause := backoff.NewExponentialBackOff()
				pause.MaxInterval = 10 * time.Second
				return backoff.Retry(ctx, call, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(retryFor))
			}
		})))
}

// tryAgain says whether a failed call may succeed later. Unknown is one of them: Connect uses it for a broken
// connection and for a plain 500.
func tryAgain(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeResourceExhausted, connect.CodeInternal, connect.CodeUnknown:
		return true
	}
	return false
}

// Refused says whether the gateway will never serve this pod: the token is invalid, or the run is over.
func Refused(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeNotFound:
		return true
	}
	return false
}

// fit makes every string of a message one that protobuf can carry and Postgres can store, so that callers may pass file
// names, command output and model texts, which are any bytes.
func fit(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		texts := field.Kind() == protoreflect.StringKind
		switch {
		case field.IsMap(): // the Session API has none
		case field.IsList() && texts:
			for i, list := 0, v.List(); i < list.Len(); i++ {
				list.Set(i, protoreflect.ValueOfString(plain.Text(list.Get(i).String())))
			}
		case field.IsList() && field.Message() != nil:
			for i, list := 0, v.List(); i < list.Len(); i++ {
				fit(list.Get(i).Message())
			}
		case texts:
			m.Set(field, protoreflect.ValueOfString(plain.Text(v.String())))
		case field.Message() != nil:
			fit(v.Message())
		}
		return true
	})
}
