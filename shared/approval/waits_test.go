package approval

import "testing"

func TestWhoseAnswerIsWaitedFor(t *testing.T) {
	who := Who{Approvers: []string{"desk"}}
	ladder := []Rung{{Who: Who{Approvers: []string{"cab"}}}}
	for name, c := range map[string]struct {
		t    Ticket
		desk bool
		cab  bool
	}{
		"open":            {Ticket{State: Open, Terms: Terms{Who: who}}, true, false},
		"not told yet":    {Ticket{State: Requested, Terms: Terms{Who: who}}, false, false},
		"decided":         {Ticket{State: Denied, Terms: Terms{Who: who}}, false, false},
		"before the step": {Ticket{State: Open, Terms: Terms{Who: who, Ladder: ladder}}, true, false},
		"after the step":  {Ticket{State: Open, Terms: Terms{Who: who, Ladder: ladder}, Level: 1}, true, true},
		"it has voted":    {Ticket{State: Open, Terms: Terms{Who: who, Ladder: ladder}, Level: 1, Votes: []Cast{{Who: "http:desk"}}}, false, true},
	} {
		if desk, cab := c.t.WaitsFor("desk"), c.t.WaitsFor("cab"); desk != c.desk || cab != c.cab {
			t.Errorf("%s: desk %t, cab %t", name, desk, cab)
		}
	}
}
