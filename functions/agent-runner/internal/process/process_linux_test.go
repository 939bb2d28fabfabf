package process

import "testing"

// What waits for a processor has had no turn, however long that takes.
func TestATurnIsTheirsToTake(t *testing.T) {
	asleep, waits, worked := stat{1, 'S', "5", "1"}, stat{1, 'R', "5", "1"}, stat{1, 'R', "6", "1"}
	for name, c := range map[string]struct {
		was, now map[int]stat
		had      bool
	}{
		"nobody is there":     {nil, nil, true},
		"all are asleep":      {map[int]stat{7: asleep}, map[int]stat{7: asleep}, true},
		"one has worked":      {map[int]stat{7: waits}, map[int]stat{7: worked}, true},
		"one was started":     {map[int]stat{7: waits}, map[int]stat{7: waits, 8: waits}, true},
		"one has ended":       {map[int]stat{7: asleep, 8: waits}, map[int]stat{7: asleep}, true},
		"one still waits":     {map[int]stat{7: asleep, 8: waits}, map[int]stat{7: asleep, 8: waits}, false},
		"one waits for disks": {map[int]stat{7: {1, 'D', "5", "1"}}, map[int]stat{7: {1, 'D', "5", "1"}}, false},
	} {
		if got := hadTurn(c.was, c.now); got != c.had {
			t.Errorf("%s: %v", name, got)
		}
	}
}
