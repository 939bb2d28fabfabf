package build

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestImages(t *testing.T) {
	dir := t.TempDir()
	const echo = "codexk8s.dev/test/local/testdata/echo"
	got, err := Images(t.Context(), ".", dir, []string{echo}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"ko://" + echo: filepath.Join(dir, "echo")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("binaries (-want +got):\n%s", diff)
	}
}

func TestImagesShowsTheCompilersWords(t *testing.T) {
	_, err := Images(t.Context(), ".", t.TempDir(), []string{"codexk8s.dev/functions/nobody-wrote-this"}, false)
	if err == nil || !strings.Contains(err.Error(), "nobody-wrote-this") {
		t.Errorf("got %v", err)
	}
}

func TestPrebuiltRefusesTwoBinariesOfOneName(t *testing.T) {
	_, err := Prebuilt(t.TempDir(), []string{"a.dev/x/go", "a.dev/y/go"})
	if err == nil {
		t.Error("no error")
	}
}
