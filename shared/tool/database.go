package tool

import (
	"encoding/json"
	"fmt"
)

// What database_lifecycle may do.
const (
	CreateDatabase   = "create"
	DescribeDatabase = "describe"
	DeleteDatabase   = "delete"
)

// A DatabaseRequest is with what database_lifecycle is carried out: which database is the run's is not the agent's to
// say.
type DatabaseRequest struct {
	Action string `json:"action"`
}

// DatabaseSecret is the Secret in the run's namespace that says how to connect.
const DatabaseSecret = "database"

var databases = Tool{
	Name: DatabaseLifecycle, Action: ActionPrefix + DatabaseLifecycle,
	Description: `Have the platform create a PostgreSQL database for your task, describe it (name, size, tables), or delete it. There is one, on the server that the project names. How to connect stands in the Kubernetes Secret "database" beside you, for services and tests; nobody is told the password, you neither. Creating one that is there changes nothing. It goes when your environment goes.`,
	Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["action"],"properties":{
			"action":{"type":"string","enum":["create","describe","delete"]},
			` + why + `}}`),
	call: databaseLifecycle,
}

func databaseLifecycle(run Run, arguments json.RawMessage) (Outcome, error) {
	var a struct {
		DatabaseRequest
		Why
	}
	if err := read(arguments, &a); err != nil {
		return Outcome{}, err
	}
	var title string
	switch a.Action {
	case CreateDatabase:
		title = "Create a database for the run on the project's Postgres"
	case DeleteDatabase:
		title = "Delete the run's database on the project's Postgres, with all that is in it"
	case DescribeDatabase:
		title = "Describe the run's database on the project's Postgres"
		run.Free = []string{DatabaseLifecycle} // looking at one's own needs nobody's yes
	default:
		return Outcome{}, fmt.Errorf("action: %q is none of create, describe, delete", a.Action)
	}
	return run.do(DatabaseLifecycle, title, a.DatabaseRequest, a.Why)
}
