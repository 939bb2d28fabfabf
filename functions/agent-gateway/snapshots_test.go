package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"codexk8s.dev/shared/agentapi"
)

func TestSnapshotsAreComparedAndSwapped(t *testing.T) {
	f := setup(t)
	a := f.agent()
	none, err := a.LoadSnapshot(t.Context(), &agentapi.LoadSnapshotRequest{})
	if err != nil || none.GetVersion() != 0 {
		t.Fatalf("before the first: %v %v", none, err)
	}
	save := func(expected int64, data string) (int64, error) {
		sum := sha256.Sum256([]byte(data))
		res, err := a.SaveSnapshot(t.Context(), &agentapi.SaveSnapshotRequest{ExpectedVersion: expected, ThreadId: "t1", Sha256: sum[:], Data: []byte(data)})
		return res.GetVersion(), err
	}
	for _, c := range []struct {
		expected int64
		data     string
		version  int64
		code     connect.Code
	}{
		{1, "a", 0, connect.CodeAborted}, // nothing is there yet
		{0, "a", 1, 0},
		{0, "a", 1, 0}, // the answer was lost
		{0, "b", 0, connect.CodeAborted},
		{1, "b", 2, 0},
		{1, "c", 0, connect.CodeAborted},
		{3, "c", 0, connect.CodeAborted},
	} {
		version, err := save(c.expected, c.data)
		if version != c.version || (err != nil || c.code != 0) && connect.CodeOf(err) != c.code {
			t.Errorf("save %q over %d: version %d, %v", c.data, c.expected, version, err)
		}
	}
	_, err = a.SaveSnapshot(t.Context(), &agentapi.SaveSnapshotRequest{ExpectedVersion: 2, Sha256: []byte("wrong"), Data: []byte("d")})
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a damaged snapshot: %v", err)
	}
	sum := sha256.Sum256([]byte("b"))
	got, err := a.LoadSnapshot(t.Context(), &agentapi.LoadSnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &agentapi.LoadSnapshotResponse{Version: 2, ThreadId: "t1", Sha256: sum[:], Data: []byte("b"), RunId: runID}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	// Ten pods at once: one gets through.
	var wins sync.Map
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			if _, err := save(2, fmt.Sprint("x", i)); err == nil {
				wins.Store(i, true)
			}
		})
	}
	group.Wait()
	n := 0
	wins.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d of ten saves over the same version got through", n)
	}
}

func TestALargeSnapshotFits(t *testing.T) {
	f := setup(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), maxSnapshot/16)
	sum := sha256.Sum256(data)
	res, err := f.agent().SaveSnapshot(t.Context(), &agentapi.SaveSnapshotRequest{Sha256: sum[:], Data: data})
	if err != nil || res.GetVersion() != 1 {
		t.Fatalf("%v %v", res, err)
	}
}
