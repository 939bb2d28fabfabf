package fakegithub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/graph-gophers/graphql-go"
)

// graphSchema is the part of GitHub's schema that is served, by its names and types:
// https://docs.github.com/en/graphql/reference/objects#issue
const graphSchema = `
scalar DateTime
type Query { repository(owner: String!, name: String!): Repository }
type Repository { issue(number: Int!): Issue }
type Issue { number: Int!, title: String!, body: String!, lastEditedAt: DateTime, editor: Actor }
interface Actor { login: String! }
type User implements Actor { login: String!, databaseId: Int }
type Bot implements Actor { login: String!, databaseId: Int }
`

// graphRoutes are GitHub's one address for GraphQL. It stands beside the REST API, on an Enterprise Server too, whose
// is /api/v3.
var graphRoutes = []route{
	{pattern: "POST /graphql", run: (*Server).postQuery},
	{pattern: "POST /api/graphql", run: (*Server).postQuery},
}

var graph = graphql.MustParseSchema(graphSchema, &graphRoot{}, graphql.MaxDepth(10), graphql.MaxParallelism(1))

// asking is the key of a query's question in its context; the mutex is held.
type asking struct{}

type question struct {
	s *Server
	c *call
}

// postQuery answers 200 whatever is wrong with the question, as GitHub does.
func (s *Server) postQuery(c *call) (int, any, error) {
	var in struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if in.Query == "" {
		return 0, nil, refuse(http.StatusBadRequest, "A query attribute must be specified and must be a string.")
	}
	answer := graph.Exec(context.WithValue(c.r.Context(), asking{}, question{s, c}), in.Query, "", in.Variables)
	out := object{"data": answer.Data}
	var faults []object
	for _, e := range answer.Errors {
		fault := object{"message": e.Message, "path": e.Path, "locations": e.Locations}
		var refused *graphRefusal
		if errors.As(e.ResolverError, &refused) {
			fault["type"], fault["message"] = refused.kind, refused.message
		}
		faults = append(faults, fault)
	}
	if faults != nil {
		out["errors"] = faults
	}
	return http.StatusOK, out, nil
}

// graphRefusal is an error with GitHub's word for its sort.
type graphRefusal struct{ kind, message string }

func (e *graphRefusal) Error() string { return e.message }

type graphRoot struct{}

func (*graphRoot) Repository(ctx context.Context, args struct{ Owner, Name string }) (*graphRepository, error) {
	q := ctx.Value(asking{}).(question)
	r := q.s.find(args.Owner + "/" + args.Name)
	if r == nil || q.s.permits(q.c.who, r, onMetadata) != nil {
		return nil, &graphRefusal{"NOT_FOUND", "Could not resolve to a Repository with the name '" + args.Owner + "/" + args.Name + "'."}
	}
	return &graphRepository{q, r}, nil
}

type graphRepository struct {
	question
	r *repository
}

func (g *graphRepository) Issue(args struct{ Number int32 }) (*graphIssue, error) {
	if err := g.s.permits(g.c.who, g.r, onIssuesRead); err != nil {
		return nil, &graphRefusal{"FORBIDDEN", "Resource not accessible by integration"}
	}
	is := g.r.issue(int(args.Number))
	if is == nil || is.Pull != nil {
		return nil, &graphRefusal{"NOT_FOUND", fmt.Sprintf("Could not resolve to an Issue with the number of %d.", args.Number)}
	}
	return &graphIssue{g.question, is}, nil
}

type graphIssue struct {
	question
	is *Issue
}

func (g *graphIssue) Number() int32 { return int32(g.is.Number) }
func (g *graphIssue) Title() string { return g.is.Title }
func (g *graphIssue) Body() string  { return g.is.Body }

func (g *graphIssue) LastEditedAt() *graphTime {
	if g.is.EditedAt == nil {
		return nil
	}
	return &graphTime{*g.is.EditedAt}
}

// Editor is null once the account is gone.
func (g *graphIssue) Editor() *graphActor {
	u := g.s.st.Users[strings.ToLower(g.is.EditedBy)]
	if u == nil {
		return nil
	}
	return &graphActor{u}
}

type graphActor struct{ u *User }

func (a *graphActor) Login() string               { return strings.TrimSuffix(a.u.Login, "[bot]") }
func (a *graphActor) DatabaseID() *int32          { id := int32(a.u.ID); return &id }
func (a *graphActor) ToUser() (*graphActor, bool) { return a, a.u.Type != "Bot" }
func (a *graphActor) ToBot() (*graphActor, bool)  { return a, a.u.Type == "Bot" }

// graphTime is GitHub's DateTime, to the second.
type graphTime struct{ time.Time }

// ImplementsGraphQLType names the scalar.
func (graphTime) ImplementsGraphQLType(name string) bool { return name == "DateTime" }

// UnmarshalGraphQL refuses: no argument of the schema is a time.
func (graphTime) UnmarshalGraphQL(any) error { return errors.New("no argument is a DateTime") }

// MarshalJSON writes RFC 3339.
func (t graphTime) MarshalJSON() ([]byte, error) {
	return []byte(t.UTC().Format(`"` + time.RFC3339 + `"`)), nil
}
