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
	ReadRuns      Operation = "runs.read"
	StartRuns     Operation = "runs.start"  // what a label would start, or what a storm holds
	CancelRuns    Operation = "runs.cancel" // or what a storm holds
	ReadApprovals Operation = "approvals.read"
	Vote          Operation = "approvals.vote" // whether the vote counts is for the request's policy to say
)

// anyone is whoever is signed in, with whatever role.
const anyone = Reader

// least is the weakest role that an operation takes, in the project of what it is about.
var least = map[Operation]Role{
	ReadMe:        anyone,
	ReadRuns:      Reader,
	StartRuns:     weakest[Runs],
	CancelRuns:    weakest[Runs],
	ReadApprovals: Reader,
	Vote:          Reader,
}

// Operations are all operations, sorted.
func Operations() []Operation { return slices.Sorted(maps.Keys(least)) }

// Least is the weakest role that the operation takes; "" if there is no such operation, so that nobody may.
func (o Operation) Least() Role { return least[o] }

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
