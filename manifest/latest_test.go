package manifest_test

import (
	"slices"
	"testing"

	"caisseauto/manifest"
)

// TestLatest: what a stream comes to, release after release and back, for each
// kind of machine.
func TestLatest(t *testing.T) {
	var list []manifest.Latest
	n := int64(0)
	for _, c := range []struct {
		product, os   string
		release, from int64
		want          []string
	}{
		{"caisse", "linux", 6, 0, []string{"caisse v (6) for linux/any, batch 1"}},
		{"base", "any", 4, 0, []string{"base v (4) for any/any, batch 2", "caisse v (6) for linux/any, batch 1"}},
		{"caisse", "windows", 7, 0, []string{"base v (4) for any/any, batch 2", "caisse v (6) for linux/any, batch 1", "caisse v (7) for windows/any, batch 3"}},
		{"base", "any", 3, 0, []string{"base v (4) for any/any, batch 2", "caisse v (6) for linux/any, batch 1", "caisse v (7) for windows/any, batch 3"}},
		{"base", "any", 3, 4, []string{"base v (3) for any/any, batch 5, the way back from release 4", "caisse v (6) for linux/any, batch 1", "caisse v (7) for windows/any, batch 3"}},
		{"caisse", "windows", 2, 5, []string{"base v (3) for any/any, batch 5, the way back from release 4", "caisse v (6) for linux/any, batch 1", "caisse v (7) for windows/any, batch 3"}},
	} {
		n++
		m := &manifest.Manifest{Sequence: n, Package: &manifest.Package{Product: c.product, Version: "v", Release: c.release, OS: c.os, Arch: manifest.Any}}
		if c.from > 0 {
			m.Rollback = &manifest.Rollback{From: c.from, To: c.release}
		}
		list = manifest.AddLatest(list, m.Latest())
		var got []string
		for _, l := range list {
			got = append(got, l.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("after batch %d: %q, want %q", n, got, c.want)
		}
	}
	windows, back := list[2], list[0]
	for _, c := range []struct {
		latest            manifest.Latest
		product, os       string
		release, sequence int64
		want              bool
	}{
		{windows, "caisse", "windows", 6, 1, true},
		{windows, "caisse", "windows", 7, 3, false},
		{windows, "caisse", "windows", 6, 4, false}, // brought by a later batch
		{windows, "caisse", "linux", 6, 1, false},
		{windows, "base", "windows", 6, 1, false},
		{back, "base", "linux", 4, 2, true},
		{back, "base", "any", 5, 2, false},
	} {
		p := manifest.Installed{Product: c.product, Version: "v", Release: c.release, Sequence: c.sequence}
		if got := c.latest.Replaces(p, c.os, manifest.Any); got != c.want {
			t.Errorf("%s replaces %s of batch %d on %s: %t", c.latest, p, c.sequence, c.os, got)
		}
	}
}
