package exporter_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"caisseauto/exporter"
	"caisseauto/manifest"
)

// A carrier takes the files of an outbox to a folder that stands for the drop,
// the way cmd does, and stops where it is told to.
type carrier struct {
	t       *testing.T
	e       *exporter.Exporter
	drop    string
	steps   int // until it stops; negative: never
	shipped []string
	oldest  int64 // as the drop's head said last
}

// step reports whether there is time for one more step, and first whether what
// the head on the drop names is there.
func (c *carrier) step() bool {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.drop, manifest.HeadName))
	if err == nil {
		var h manifest.Head
		if err := json.Unmarshal(data, &h); err != nil {
			c.t.Fatal(err)
		}
		if h.Oldest < c.oldest {
			c.t.Errorf("the head on the drop went back from oldest %d to %d", c.oldest, h.Oldest)
		}
		c.oldest = h.Oldest
		for n := h.Oldest; n <= h.Sequence; n++ {
			if !slices.Contains(c.numbers(c.drop), n) {
				c.t.Errorf("the head on the drop names %d to %d, the archive %d is not there", h.Oldest, h.Sequence, n)
			}
		}
	}
	c.steps--
	return c.steps != -1
}

// numbers returns the numbers of a folder's archives, ascending.
func (c *carrier) numbers(dir string) (list []int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, entry := range entries {
		if n, ext, ok := manifest.ParseFileName(entry.Name()); ok && ext == manifest.ArchiveExt {
			list = append(list, n)
		}
	}
	return list
}

// run does what an export does, a step at a time.
func (c *carrier) run(o exporter.Options) {
	c.t.Helper()
	there := c.numbers(c.drop)
	if len(there) > 0 {
		o.Oldest, o.Seen = there[0], there[len(there)-1]
	}
	if !c.step() {
		return
	}
	r, err := c.e.Run(c.t.Context(), o)
	if err != nil {
		c.t.Fatal(err)
	}
	if !c.ship() || !c.step() {
		return
	}
	for _, n := range there {
		if n < r.Oldest {
			c.remove(c.drop, n)
			if !c.step() {
				return
			}
		}
	}
	for _, n := range c.numbers(c.e.Outbox) { // Prune, killed in between
		if c.steps >= 0 && n < r.Oldest {
			c.remove(c.e.Outbox, n)
			if !c.step() {
				return
			}
		}
	}
	if _, err := c.e.Prune(r.Oldest); err != nil {
		c.t.Fatal(err)
	}
}

func (c *carrier) remove(dir string, n int64) {
	if err := os.Remove(filepath.Join(dir, manifest.FileName(n, manifest.ArchiveExt))); err != nil {
		c.t.Fatal(err)
	}
}

// ship copies the batches from the outbox's first archive on, and then the head.
func (c *carrier) ship() bool {
	from := c.numbers(c.e.Outbox)[0]
	var batches, heads []string
	entries, err := os.ReadDir(c.e.Outbox)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		n, _, ok := manifest.ParseFileName(name)
		if _, err := os.Stat(filepath.Join(c.drop, name)); ok && n >= from && err != nil {
			batches = append(batches, name)
		} else if name == manifest.HeadName || name == manifest.HeadSignatureName {
			heads = append(heads, name)
		}
	}
	for _, name := range append(batches, heads...) {
		if !c.step() {
			return false
		}
		data, err := os.ReadFile(filepath.Join(c.e.Outbox, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(c.drop, name), data, 0o644)
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if slices.Contains(batches, name) {
			c.shipped = append(c.shipped, name)
		}
	}
	return true
}

// TestRetentionStopped stops an export that removes archives at every step.
// The next one completes it: the head on the drop never goes back, names
// nothing that is not there, and nothing that was removed is shipped again.
func TestRetentionStopped(t *testing.T) {
	e, db := days(t)
	o := exporter.Options{Retention: 24 * time.Hour, Confirmed: manifest.Position{Epoch: 1, Sequence: 5}}
	for steps, done := 0, false; !done; steps++ {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			e, db := another(t, e, db)
			c := &carrier{t: t, e: e, drop: t.TempDir(), steps: -1}
			c.run(exporter.Options{})
			change(db, "UPDATE article SET price=99")
			c.shipped, c.steps = nil, steps
			c.run(o)
			done = c.steps >= 0
			o := o
			if len(c.numbers(c.drop)) > 0 && c.numbers(c.drop)[0] > 1 {
				o.Confirmed = manifest.Position{} // cmd looks no more, since nothing seems to lie before the baseline
			}
			c.steps = -1
			c.run(o)
			c.run(o)
			for _, dir := range []string{c.drop, e.Outbox} {
				if got := c.numbers(dir); !slices.Equal(got, []int64{5, 6, 7}) {
					t.Errorf("%s holds the archives %v", dir, got)
				}
			}
			if _, manifests := archives(t, e); manifests != "1 2 3 4 5 6 7" {
				t.Errorf("manifests %s", manifests)
			}
			slices.Sort(c.shipped)
			if got := slices.Compact(slices.Clone(c.shipped)); len(got) != 3 || len(c.shipped) != 3 {
				t.Errorf("shipped %q", c.shipped)
			}
		})
		if steps > 40 {
			t.Fatal("it never ends")
		}
	}
}

// What the head in the outbox names is not removed, whatever the caller says.
func TestPruneKeepsWhatTheHeadNames(t *testing.T) {
	e, _ := days(t)
	if n, err := e.Prune(1 << 40); n != 0 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	if got, _ := archives(t, e); got != "1 2 3 4 5 6" {
		t.Errorf("archives %s", got)
	}
}
