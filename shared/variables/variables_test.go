package variables

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Inner is embedded, as agent-runner's places are.
type Inner struct {
	URL string `envconfig:"TEST_URL" required:"true"`
}

type env struct {
	Inner
	ID     int64         `envconfig:"TEST_ID"`
	Key    string        `envconfig:"TEST_KEY"`
	List   []string      `envconfig:"TEST_LIST"`
	Wait   time.Duration `envconfig:"TEST_WAIT" default:"1s"`
	On     bool          `envconfig:"TEST_ON"`
	Absent string        `envconfig:"TEST_ABSENT" default:"x"`
}

func TestRead(t *testing.T) {
	for name, value := range map[string]string{
		"TEST_URL":  "\uFEFFhttps://example.com \r\n",
		"TEST_ID":   "1234567\r\n",
		"TEST_KEY":  "-----BEGIN KEY-----\r\nab\r\n-----END KEY-----\r\n",
		"TEST_LIST": " a:1, b:2 \r\nc:3\n\n,,d:4\n",
		"TEST_WAIT": " 5s\n",
		"TEST_ON":   "true\n",
	} {
		t.Setenv(name, value)
	}
	var got env
	if err := Read(&got); err != nil {
		t.Fatal(err)
	}
	want := env{
		Inner: Inner{"https://example.com"}, ID: 1234567, Key: "-----BEGIN KEY-----\nab\n-----END KEY-----",
		List: []string{"a:1", "b:2", "c:3", "d:4"}, Wait: 5 * time.Second, On: true, Absent: "x",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyRequiredVariableIsRefused(t *testing.T) {
	for _, value := range []string{"", " ", "\r\n", "\uFEFF\n"} {
		t.Setenv("TEST_URL", value)
		if err := Read(&env{}); err == nil || !strings.Contains(err.Error(), "TEST_URL") {
			t.Errorf("%q: got %v", value, err)
		}
	}
}
