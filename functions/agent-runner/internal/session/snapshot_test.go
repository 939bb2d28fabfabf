package session

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSnapshotComesBackAsItWas(t *testing.T) {
	t.Parallel()
	want := Snapshot{Engine: "codex", ThreadID: "t", Name: "sessions/x.jsonl", Task: "n", Head: "h", Done: true, Summary: "s", Work: "w", Lost: []string{"l"}, Notes: []string{"n"}, Memory: []byte("m\n"), Pack: []byte("p\x00")}
	data, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	for _, bad := range [][]byte{nil, []byte("x"), data[:len(data)/2]} {
		if _, err := Decode(bad); err == nil {
			t.Errorf("%d bytes were taken for a snapshot", len(bad))
		}
	}
}
