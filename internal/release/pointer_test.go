package release

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPointers: both kinds of pointer do the same, the one for Windows here too.
func TestPointers(t *testing.T) {
	for kind, f := range map[string]struct {
		point  func(name, target string) error
		target func(name string) (string, error)
		remove func(name string) error
	}{"link": {linkTo, linkTarget, unlink}, "note": {noteTo, noteTarget, unnote}} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, "current")
			if _, err := f.target(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("none: %v", err)
			}
			if err := f.remove(name); err != nil {
				t.Errorf("removing none: %v", err)
			}
			for _, want := range []string{"releases/1.0-r1-b1", "releases/1.1-r2-b2", "releases/1.0-r1-b1"} {
				if err := f.point(name, want); err != nil {
					t.Fatal(err)
				}
				if got, err := f.target(name); err != nil || strings.ReplaceAll(got, `\`, "/") != want {
					t.Errorf("%q, %v, want %q", got, err, want)
				}
			}
			if err := f.remove(name); err != nil {
				t.Error(err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("%v, %v", left, err)
			}
			if err := os.Mkdir(name, 0o755); err != nil {
				t.Fatal(err)
			}
			if _, err := f.target(name); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a folder in its place: %v", err)
			}
			if err := f.point(name, "releases/1.0-r1-b1"); err == nil {
				t.Error("a folder was replaced")
			}
		})
	}
}

// TestCurrent: what current leads to is one of the releases, or an error.
func TestCurrent(t *testing.T) {
	p := Product{Name: "caisse", Folder: t.TempDir()}
	name := filepath.Join(p.Folder, currentName)
	for target, want := range map[string]string{
		"releases/1.0-r1-b1":     "1.0",
		`releases\1.0-r1-b1`:     "1.0",
		"releases/1.0-r1-b2":     "", // not there
		"releases/.new-1.0":      "",
		"other/1.0-r1-b1":        "",
		"../releases/1.0-r1-b1":  "",
		"/etc":                   "",
		"releases/1.0-r1-b1/lib": "",
	} {
		if err := os.MkdirAll(filepath.Join(p.Folder, "releases", "1.0-r1-b1", "lib"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := linkTo(name, target); err != nil {
			t.Fatal(err)
		}
		if at, err := p.Current(); at.Version != want || (err == nil) != (want != "") {
			t.Errorf("%s: %+v, %v", target, at, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	for _, at := range []Place{{"1.0", 1, 1}, {"2.0-r3-b4", 5, 6}, {"x~y+z_1", 9007199254740991, 9999999999}} {
		if got, ok := parsePlace(at.Name()); !ok || got != at {
			t.Errorf("%s: %+v, %v", at.Name(), got, ok)
		}
	}
	for _, name := range []string{"", "1.0", "1.0-r1", "1.0-r0-b1", "1.0-r01-b1", "1.0-r1-b1.manifest.json", ".new-1.0-r1-b1", "a b-r1-b1", "1.0-r1-b99999999999"} {
		if at, ok := parsePlace(name); ok {
			t.Errorf("%q is %+v", name, at)
		}
	}
}
