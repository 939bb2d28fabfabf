package approval

import "slices"

func (in Delivered) decide(d *decision) error {
	p := d.t.at(in.ApprovalTarget)
	if in.Version < p.Version {
		d.audit(platform, "approval.ignored", OlderDelivery, "%s shows version %d, not %d any more", in.Channel, p.Version, in.Version)
		return nil
	}
	if p.Version == 0 {
		d.audit(platform, "approval.delivered", "", "to %s", in.Channel)
	}
	p.Version, p.Failed = in.Version, ""
	return nil
}

// decide of a place that can't show the message brings in the next place of those that stand by.
func (in Undeliverable) decide(d *decision) error {
	p := d.t.at(in.ApprovalTarget)
	if in.Version < p.Version {
		d.audit(platform, "approval.ignored", OlderDelivery, "%s shows version %d already", in.Channel, p.Version)
		return nil
	}
	known := p.Failed != ""
	p.Failed = in.Reason
	d.audit(platform, "approval.undeliverable", in.Reason, "to %s", in.Channel)
	if known || d.t.State.Final() {
		return nil
	}
	for _, target := range d.t.Terms.Fallback {
		if d.t.place([]Target{target}) {
			d.changed = true
			return nil
		}
	}
	if !slices.ContainsFunc(d.t.Places, func(p Place) bool { return p.Failed == "" && p.Channel != All }) {
		d.audit(platform, "approval.unreachable", in.Reason, "nobody is told anywhere, and there is no fallback left")
	}
	return nil
}

// at is what is known of a place. A target that stands for several, or for the one of the channel's own, has its places
// told by the events.
func (t *Ticket) at(target Target) *Place {
	t.place([]Target{target})
	return &t.Places[slices.IndexFunc(t.Places, func(p Place) bool { return p.Target == target })]
}
