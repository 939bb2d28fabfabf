package access

import (
	"maps"
	"slices"
)

// Operation is something that the console offers, by the same name to its pages, its API and its command line.
type Operation string

// The operations.
const (
	ReadMe        Operation = "me.read"
	ReadTokens    Operation = "tokens.read"
	WriteTokens   Operation = "tokens.write"
	ReadRuns      Operation = "runs.read"
	StartRuns     Operation = "runs.start"  // what a label would start, or what a storm holds
	CancelRuns    Operation = "runs.cancel" // or what a storm holds
	ReadApprovals Operation = "approvals.read"
	ExportAudit   Operation = "audit.export"   // of the whole platform
	Vote          Operation = "approvals.vote" // whether the vote counts is for the request's policy to say
)

// anyone is whoever is signed in, with whatever role.
const anyone = Reader

// A Scope is what a token may be good for.
type Scope string

// The scopes. A program that comes by a token needs its scope for an operation, and its person the right.
const (
	ScopeRead    Scope = "read"
	ScopeRuns    Scope = "runs"    // commands
	ScopeApprove Scope = "approve" // votes
)

// Scopes are all scopes.
var Scopes = []Scope{ScopeRead, ScopeRuns, ScopeApprove}

// A rule is what an operation takes.
type rule struct {
	least Role  // the weakest one, in the project of what it is about
	scope Scope // of a program; "" = no program may
}

var rules = map[Operation]rule{
	ReadMe:        {anyone, ScopeRead},
	ReadTokens:    {anyone, ""},
	WriteTokens:   {anyone, ""},
	ReadRuns:      {Reader, ScopeRead},
	StartRuns:     {weakest[Runs], ScopeRuns},
	CancelRuns:    {weakest[Runs], ScopeRuns},
	ReadApprovals: {Reader, ScopeRead},
	ExportAudit:   {Owner, ScopeRead},
	Vote:          {Reader, ScopeApprove},
}

// Operations are all operations, sorted.
func Operations() []Operation { return slices.Sorted(maps.Keys(rules)) }

// Least is the weakest role that the operation takes; "" if there is no such operation, so that nobody may.
func (o Operation) Least() Role { return rules[o].least }

// Scope is that which a token needs for the operation; "" if no program may do it, or there is no such operation.
func (o Operation) Scope() Scope { return rules[o].scope }

// Everywhere is the project of roles in the whole platform.
const Everywhere = "*"

// Standing is what a person is, by project.
type Standing map[string]Role

// In is the person's role in a project: theirs there or everywhere, whichever is stronger.
func (r Standing) In(project string) Role {
	here, everywhere := r[project], r[Everywhere]
	if everywhere.AtLeast(here) || here == "" {
		return everywhere
	}
	return here
}

// May reports whether the person may do it in the project.
func (r Standing) May(o Operation, project string) bool { return r.In(project).AtLeast(o.Least()) }

// Projects are those in which the person may do it, sorted; just Everywhere if that is all of them.
func (r Standing) Projects(o Operation) []string {
	if r.May(o, Everywhere) {
		return []string{Everywhere}
	}
	var may []string
	for _, project := range slices.Sorted(maps.Keys(r)) {
		if r.May(o, project) {
			may = append(may, project)
		}
	}
	return may
}
