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

// decide replaces a place that can't show the message by the next stand-in.
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

// at is what is known about a place. If a target means several places, or the channel's default, events name the actual
// ones.
func (t *Ticket) at(target Target) *Place {
	t.place([]Target{target})
	return &t.Places[slices.IndexFunc(t.Places, func(p Place) bool { return p.Target == target })]
}
