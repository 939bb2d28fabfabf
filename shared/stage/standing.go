package stage

import "slices"

// A Standing is how far an item has got with one stage of its process.
type Standing struct {
	Stage
	Is      string   // of the words below
	Beside  bool     // the stage is on no profile's way
	Pull    Pull     // of the stage; the zero Pull = there is none
	Needs   []Piece  // what it works from, as far as the item's profile makes it
	Makes   []Piece  // what it leaves
	Leads   []string // stages that may follow
	Entered bool     // a run has worked on it
}

// What a Standing may be.
const (
	Ahead      = "ahead"      // nothing has happened
	Skipped    = "skipped"    // the item's profile does not have it
	AtWork     = "active"     // a run is under way
	Waits      = "waiting"    // for people, or for a limit
	InReview   = "review"     // its pull request is
	IsApproved = "approved"   // its pull request is, and may be merged
	Done       = "done"       // merged, or what it makes is there
	Unfinished = "failed"     // its last run was
	Stopped    = "stopped"    // its last run was, or its pull request was closed
	Overtaken  = "superseded" // by a rethink
)

// A Piece is a file that a stage makes, and whether it is there.
type Piece struct {
	Name, Path string
	Made       bool // a run has reported it, and it holds
}

// Way is the profile by which the item goes; the zero Profile = none was chosen.
func (i *Item) Way() Profile { return i.profile(i.process()) }

// Standings are those at all stages, in their order. last are the states of each stage's newest run that works on it.
// The item must be loaded with its artefacts.
func (i *Item) Standings(last map[string]State) []Standing {
	p := i.process()
	profile := i.profile(p)
	all := make([]Standing, 0, len(p.Stages))
	for _, s := range p.Stages {
		state, entered := last[s.Name]
		st := Standing{Stage: s, Beside: !p.inProfiles(s.Name), Pull: i.lastPull(s.Name), Entered: entered}
		st.Is = st.is(state, p.skips(profile, s.Name))
		along, beside := p.ways(s.Name, profile)
		for _, w := range slices.Concat(along, beside) {
			st.Leads = append(st.Leads, w.stage)
		}
		for _, a := range p.Required(s.Name, profile.Name) {
			st.Needs = append(st.Needs, i.piece(a))
		}
		for _, name := range s.Makes {
			if a := p.Artefact(name); a.Path != "" {
				st.Makes = append(st.Makes, i.piece(a))
			}
		}
		all = append(all, st)
	}
	return all
}

// lastPull is the stage's pull request, a superseded one if it has no other.
func (i *Item) lastPull(stage string) (last Pull) {
	if last = i.pullOf(stage); last.Number != 0 {
		return last
	}
	for _, p := range i.Pulls {
		if p.Stage == stage && p.Number > last.Number {
			last = p
		}
	}
	return last
}

func (i *Item) piece(a ArtefactKind) Piece {
	made := slices.ContainsFunc(i.Artefacts, func(made Artefact) bool { return made.Name == a.Name && made.SupersededAt.IsZero() })
	return Piece{a.Name, a.PathFor(i.Issue), made}
}

// is says how the stage stands: what happens there at the moment counts most, then what has become of its pull request.
func (st *Standing) is(last State, skipped bool) string {
	_, approved := st.Pull.approval()
	switch {
	case last == Waiting:
		return Waits
	case st.Entered && last.Active():
		return AtWork
	case st.Pull.Merged:
		return Done
	case st.Pull.Superseded:
		return Overtaken
	case last == Failed || last == TimedOut:
		return Unfinished
	case approved:
		return IsApproved
	case st.Pull.isOpen():
		return InReview
	case last == Cancelled || st.Pull.Closed:
		return Stopped
	case last == Succeeded:
		return Done
	case skipped:
		return Skipped
	}
	return Ahead
}
