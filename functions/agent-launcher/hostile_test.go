package main

import (
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/hostile"
)

func TestHostileEvents(t *testing.T) {
	f := setup(t)
	r := request("7f1c8f5e-3b57-4c2e-9a3c-000000000001", 0)
	hostile.Function{Name: "agent-launcher", Handler: f.server.Handler(), DB: f.db, SQL: f.sql}.Hear(t, hostile.Templates(t, r,
		events.AgentStopRequested{RunRef: r.RunRef, Namespace: r.Namespace}, events.EnvironmentExpired{RunRef: r.RunRef, Namespace: r.Namespace},
		events.ToolApproved{RunRef: r.RunRef, Namespace: r.Namespace, Tool: "secret_sync", Arguments: []byte(`{"name":"key"}`)},
		events.ToolApproved{RunRef: r.RunRef, Namespace: r.Namespace, Tool: "database_lifecycle", Arguments: []byte(`{"action":"create"}`)}))
}
