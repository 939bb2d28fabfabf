// Package access says who may do what: the roles that people have in a project, and the rights that go with each.
//
// A role is given to an account of GitHub in the projects file, for one project or, to owners of the platform, for all.
// Of several roles the strongest counts. An account without a role has no rights, and neither has a program, whatever
// its role. That second rule is where the right is checked, because only GitHub's event says what is a program.
//
// The package is pure.
package access

import "slices"

// Role is what a person is in a project; "" is a stranger.
type Role string

// The roles.
const (
	Owner      Role = "owner"      // of the whole platform or of a project
	Admin      Role = "admin"      // decides who belongs to the project
	Maintainer Role = "maintainer" // works with the agents
	Reader     Role = "reader"     // looks on
)

// Roles are all roles, the strongest first.
var Roles = []Role{Owner, Admin, Maintainer, Reader}

// Right is something that a person may do in a project.
type Right int

// The rights.
const (
	Answers Right = iota // to get an answer when a label or a review had no effect; strangers get none
	Runs                 // to start, stop and revise runs
)

// weakest is the weakest role that has the right.
var weakest = map[Right]Role{Answers: Reader, Runs: Maintainer}

// May reports whether the role has the right. An unknown role has none.
func (r Role) May(right Right) bool { return r.AtLeast(weakest[right]) }

// AtLeast reports whether the role is least, or a stronger one. An unknown role is neither.
func (r Role) AtLeast(least Role) bool {
	i := slices.Index(Roles, r)
	return i >= 0 && i <= slices.Index(Roles, least)
}
