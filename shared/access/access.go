// Package access says who may do what: the roles that people have in a project, and the rights that go with each.
//
// A role is given to an account of GitHub in the projects file, for one project or, to owners of the platform, for all.
// Who has several has the strongest. An account without a role has no right at all, and a program has none whatever its
// role: that second rule stands where the right is asked for, as only GitHub's event says what is a program.
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
	Answers Right = iota // to be answered where a label or a review had no effect; strangers learn nothing
	Runs                 // to start, stop and revise runs
)

// weakest is the weakest role that has the right.
var weakest = map[Right]Role{Answers: Reader, Runs: Maintainer}

// May reports whether the role has the right. What is no role has none.
func (r Role) May(right Right) bool { return r.AtLeast(weakest[right]) }

// AtLeast reports whether the role is least, or a stronger one. What is no role is neither.
func (r Role) AtLeast(least Role) bool {
	i := slices.Index(Roles, r)
	return i >= 0 && i <= slices.Index(Roles, least)
}
