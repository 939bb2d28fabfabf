package stage

import (
	"hash/fnv"
	"time"

	"codexk8s.dev/shared/events"
)

// spread is within what time runs go on that wait for the same limit, at most: all at once they would be over it again.
const spread = 2 * time.Minute

// limited makes the run wait until its model's provider answers again.
func (d *decision) limited(in events.LLMLimited) {
	run := d.item.Run
	switch {
	case d.ofEarlierJob("llm.limited", in.Attempt):
		return
	case !d.item.active() || !run.begun():
		d.audit(platform, "llm.limited.late", "run_"+string(run.State), "%s: %s", in.Reason, in.Message)
		return
	case run.Delivered != "":
		d.audit(platform, "llm.limited.late", "agent_reported", "%s: %s", in.Reason, in.Message)
		return
	case in.Fallback != "":
		d.redo = true
		d.audit(platform, "run.falls_back", in.Reason, "%s answers for %s until %s: %s", in.Fallback, in.Model, stamp(in.Until), in.Message)
		return
	case !in.Until.After(run.NotBefore) && !run.NotBefore.IsZero():
		d.audit(platform, "llm.limited.late", "known", "%s until %s", in.Reason, stamp(run.NotBefore))
		return
	}
	run.NotBefore = in.Until.Add(run.turn(in.Until.Sub(d.now)))
	run.Reason, run.Message = in.Reason, "The provider of "+in.Model+" says: "+in.Message
	if run.to(Waiting) {
		d.pause(d.now)
	}
	if len(run.Open()) == 0 {
		run.WaitingFor = ForRateLimit
	}
	d.audit(platform, "run.waiting", string(ForRateLimit), "%s, until %s: %s", in.Reason, stamp(run.NotBefore), in.Message)
	d.later(run.NotBefore.Sub(d.now), events.RunCheck{RunRef: d.item.Ref(), Namespace: run.Namespace, Attempt: run.Attempt})
}

// turn is how much later than others this run goes on after a wait: a tenth of it at most.
func (r *Run) turn(wait time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.ID)) // never fails
	return time.Duration(h.Sum64() % uint64(max(min(wait/10, spread), time.Second)))
}

// limitOver lets the run go on when the time has come that its model's provider named.
func (d *decision) limitOver() {
	if run := d.item.Run; !run.NotBefore.IsZero() && !d.now.Before(run.NotBefore) {
		d.goOn()
	}
}
