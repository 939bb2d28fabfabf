package approval

import "time"

// Policy has the rules by which requests are decided: the section approvals of the process, and of a project's
// settings.
type Policy struct {
	Lang     string              `yaml:"lang" json:"lang,omitempty"`         // of the messages: en or ru; "" = en
	Zone     string              `yaml:"zone" json:"zone,omitempty"`         // of its times of day and its dates, "Europe/Berlin"; "" = UTC
	Quiet    *Quiet              `yaml:"quiet" json:"quiet,omitempty"`       // when nothing new is sent; nil = never
	Teams    map[string][]string `yaml:"teams" json:"teams,omitempty"`       // name → logins
	Deputies []Deputy            `yaml:"deputies" json:"deputies,omitempty"` // who decides in whose place
	Rules    []Rule              `yaml:"rules" json:"rules,omitempty"`       // the first that fits applies
}

// Quiet are the hours in which nothing new is sent; messages already sent are kept current.
type Quiet struct {
	From  string   `yaml:"from" json:"from"`           // time of day, "22:00"
	Until string   `yaml:"until" json:"until"`         // time of day, of the next one if it is before From
	Days  []string `yaml:"days" json:"days,omitempty"` // on which it is quiet all day: "sat", "sun"
}

// Deputy is somebody who decides in another's place for some days.
type Deputy struct {
	For     string   `yaml:"for" json:"for"`                   // login
	By      string   `yaml:"by" json:"by"`                     // login
	Since   string   `yaml:"since" json:"since"`               // the first day, "2026-12-20"
	Until   string   `yaml:"until" json:"until"`               // the last day
	Actions []string `yaml:"actions" json:"actions,omitempty"` // as in Rule; none = all
}

// Rule says how the requests it fits are decided.
type Rule struct {
	Actions  []string        `yaml:"actions" json:"actions"`             // "tool:secret_sync", "label:*", "question", "*"
	Roles    []string        `yaml:"roles" json:"roles,omitempty"`       // of agents; none = all
	Free     bool            `yaml:"free" json:"free,omitempty"`         // of tools: nobody is asked; then the rule says nothing more
	Who      Who             `yaml:"who" json:"who"`                     // may decide
	Quorum   int             `yaml:"quorum" json:"quorum,omitempty"`     // how many must say yes; 0 = 1. A question takes one answer
	Veto     *bool           `yaml:"veto" json:"veto,omitempty"`         // one no decides; nil = yes. Otherwise it takes as many noes as yeses
	Self     string          `yaml:"self" json:"self,omitempty"`         // may the run's own requester say yes; "" = never
	Deadline time.Duration   `yaml:"deadline" json:"deadline"`           // after they were told
	Remind   []time.Duration `yaml:"remind" json:"remind,omitempty"`     // after they were told, rising
	Escalate []Step          `yaml:"escalate" json:"escalate,omitempty"` // rising by their time
	Expiry   string          `yaml:"expiry" json:"expiry,omitempty"`     // what happens if nobody decides in time; "" = expire
	Urgent   bool            `yaml:"urgent" json:"urgent,omitempty"`     // it is sent in quiet hours too
	Channels []string        `yaml:"channels" json:"channels,omitempty"` // "slack", "slack:C0123", "all"; none = all
	Fallback []string        `yaml:"fallback" json:"fallback,omitempty"` // stand-ins, one after the other, for a place that can't show it
}

// Who are the people and HTTP approvers who may decide.
type Who struct {
	Logins    []string `yaml:"logins" json:"logins,omitempty"`       // of GitHub, "alice" or "alice@583231"
	Roles     []string `yaml:"roles" json:"roles,omitempty"`         // who has the role in the project, or a stronger one
	Teams     []string `yaml:"teams" json:"teams,omitempty"`         // of the same policy
	Approvers []string `yaml:"approvers" json:"approvers,omitempty"` // by name; they don't say who answered there
}

// Step is one of a ladder: from then on these may decide too, and are asked there.
type Step struct {
	After    time.Duration `yaml:"after" json:"after"` // they were first asked
	Who      Who           `yaml:"who" json:"who,omitzero"`
	Channels []string      `yaml:"channels" json:"channels,omitempty"`
}

// Whether a person may say yes to what their own run asks. Saying no and answering a question is always allowed.
const (
	SelfNever = "never"
	SelfAlone = "alone" // if nobody else may decide
	SelfYes   = "yes"
)

// What happens if nobody decides in time.
const (
	ExpiryExpire = "expire" // the request has expired, and the agent is told so
	ExpiryDeny   = "deny"   // it counts as a no
)

// Terms are a policy's rule as it applies to one request, with nothing left to look up: teams are their logins,
// channels their targets, dates are times.
type Terms struct {
	Lang     string          `json:"lang"` // en or ru
	Free     bool            `json:"free,omitempty"`
	Who      Who             `json:"who"`
	Quorum   int             `json:"quorum"`
	Veto     bool            `json:"veto"`
	Self     string          `json:"self"`
	Deadline time.Duration   `json:"deadline"`
	Remind   []time.Duration `json:"remind,omitempty"`
	Ladder   []Rung          `json:"ladder,omitempty"`
	Expiry   string          `json:"expiry"`
	Quiet    *Quiet          `json:"quiet,omitempty"` // nil also if it is urgent
	Zone     string          `json:"zone,omitempty"`
	Targets  []Target        `json:"targets"`
	Fallback []Target        `json:"fallback,omitempty"`
	Deputies []Stand         `json:"deputies,omitempty"`
}

// Rung is a Step with nothing left to look up.
type Rung struct {
	After   time.Duration `json:"after"`
	Who     Who           `json:"who"`
	Targets []Target      `json:"targets,omitempty"`
}

// Stand is a Deputy with nothing left to look up, from Since until before Until.
type Stand struct {
	For   string    `json:"for"`
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}
