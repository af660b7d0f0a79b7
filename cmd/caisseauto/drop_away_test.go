package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDropAway: an export whose drop cannot be opened, for whatever reason, seals
// all the same and says that it has not shipped.
func TestDropAway(t *testing.T) {
	w := newWorld(t)
	server := string(w.read(w.path("server/server.toml")))
	if err := os.Rename(w.path("drop"), w.path("away")); err != nil {
		t.Fatal(err)
	}
	w.write(w.path("drop"), nil)
	if code, _, stderr := w.exportNow(); code == 0 || !strings.Contains(stderr, "sealed, but not shipped") {
		t.Errorf("%d: %s", code, stderr)
	}
	if code, _, stderr := w.run("import", "--config", w.path("till/till.toml"), "--from", w.path("drop")); code == 0 {
		t.Errorf("%d: %s", code, stderr)
	}
	key := strings.Join(strings.Fields(string(w.read(w.path("server/keys/server.pub"))))[:2], " ")
	w.write(w.path("server/server.toml"), []byte(replaceOnce(server, `url = "file:../drop"`, fmt.Sprintf("url = \"sftp://server@127.0.0.1:1/\"\nhost_key = %q", key))))
	if code, _, stderr := w.exportNow(); code == 0 || !strings.Contains(stderr, "sealed, but not shipped") {
		t.Errorf("%d: %s", code, stderr)
	}
}
