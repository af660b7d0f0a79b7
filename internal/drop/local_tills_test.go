package drop_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"caisseauto/internal/drop"
)

// A listing of tills has an end too, also when nothing in it is a till.
func TestTillsTooMany(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 100,001 files")
	}
	root := t.TempDir()
	up := filepath.Join(root, "ACME", "up")
	if err := os.MkdirAll(up, 0o777); err != nil {
		t.Fatal(err)
	}
	first := ""
	for i := range drop.MaxEntries + 1 {
		name := filepath.Join(up, fmt.Sprint("junk.", i))
		make := func() error { return os.Link(first, name) } // a fifth of the time of a new file
		if i%50_000 == 0 {                                   // ext4 ends at 65,000 links
			make = func() error { return os.WriteFile(name, nil, 0o666) }
			first = name
		}
		if err := make(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := drop.OpenLocal(root)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got, err := l.Tills(t.Context(), "ACME"); !errors.Is(err, drop.ErrTooMany) {
		t.Errorf("%d tills, %v", len(got), err)
	}
}

// A folder up that is a link to another dossier's would mix their tickets.
func TestTillsThroughLink(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"ACME", "OTHER/up/300"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../OTHER/up", filepath.Join(root, "ACME", "up")); err != nil {
		t.Skip(err)
	}
	l, err := drop.OpenLocal(root)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got, err := l.Tills(t.Context(), "ACME"); !errors.Is(err, drop.ErrConflict) {
		t.Errorf("%q, %v", got, err)
	}
}
