// Package outcome is how a failed run ends.
package outcome

// Failure is a result for the report: the run failed, and a new pod would fail as well.
type Failure struct {
	Reason  string // see package reason
	Summary string // for people
}

func (f *Failure) Error() string { return f.Reason + ": " + f.Summary }
