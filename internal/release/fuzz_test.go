package release

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzPlace: a folder's name is of one release or of none.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"1.0-r1-b1", "1.0-r1-b1-r2-b2", "-r1-b1", "1.0-r9999999999999999-b1", "../x-r1-b1", "1.0-r1-b10000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		at, ok := parsePlace(name)
		if ok && (at.Name() != name || filepath.Base(name) != name || at.Release < 1 || at.Sequence < 1) {
			t.Errorf("%q is %+v, which is %q", name, at, at.Name())
		}
	})
}

// FuzzNotes: whatever stands in the files that a till keeps, there is no panic,
// and what runs is left alone.
func FuzzNotes(f *testing.F) {
	for _, s := range []string{"", "{", "null", `{"to":{"Version":"1.0","Release":1,"Sequence":1}}`, `{"to":null,"from":{"Version":"../x"}}`, `{"stream":"ACME/packages","given_up":[{}],"attempts":[null]}`, `[1]`} {
		f.Add([]byte(s), []byte(s))
	}
	dir := f.TempDir()
	p := Product{Name: "caisse", Folder: filepath.Join(dir, "caisse")}
	if err := os.MkdirAll(p.path(Place{"1.0", 1, 1}), 0o755); err != nil {
		f.Fatal(err)
	}
	if err := p.point(Place{"1.0", 1, 1}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, notes, trial []byte) {
		till := &Till{Stream: "ACME/packages", Inbox: filepath.Join(dir, "inbox"), Folder: dir, Keep: 3, Products: []Product{p}}
		for name, data := range map[string][]byte{filepath.Join(dir, stateName): notes, p.trialPath(): trial} {
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = till.Software()
		_, _ = till.Standing()
		_, _ = till.Run(t.Context())
		if _, err := p.Current(); err != nil {
			t.Errorf("%v", err)
		}
	})
}
