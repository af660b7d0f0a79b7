//go:build unix

package release_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"caisseauto/internal/release"
	"caisseauto/manifest"
)

// fetched makes the till fetch archives, each as copy gives it, and returns
// what was asked for.
func (w *world) fetched(copy func(data []byte) []byte) *[]int64 {
	asked := &[]int64{}
	w.till.Fetch = func(_ context.Context, n int64) error {
		*asked = append(*asked, n)
		name := manifest.FileName(n, manifest.ArchiveExt)
		w.write(w.path("inbox/"+name), copy(w.read(w.path("outbox/"+name))))
		return nil
	}
	return asked
}

func honest(data []byte) []byte { return data }
func broken(data []byte) []byte { return append(data, 0) }

// TestFetch: archives are fetched when they are wanted, and once more when they
// are not what was signed.
func TestFetch(t *testing.T) {
	for _, c := range []struct {
		name  string
		inbox func(data []byte) []byte // nil: it is not there
		copy  func(data []byte) []byte
		asked int
		ok    bool
	}{
		{"in the inbox", honest, broken, 0, true},
		{"not in the inbox", nil, honest, 1, true},
		{"broken in the inbox", broken, honest, 1, true},
		{"broken everywhere", broken, broken, 1, false},
		{"broken on the drop", nil, broken, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.publish(w.request("1.0", works))
			w.run()
			w.publish(w.request("1.1", works))
			path := w.path("inbox/0000000002.tar.zst")
			data := w.read(path)
			check(t, os.Remove(path))
			if c.inbox != nil {
				w.write(path, c.inbox(data))
			}
			asked := w.fetched(c.copy)
			if !c.ok {
				w.refuses(manifest.ErrRefused, "batch 2", "rule A1")
			} else if got := outcomes(w.run()); got != "caisse 1.1 installed" {
				t.Errorf("%s", got)
			}
			if !slices.Equal(*asked, slices.Repeat([]int64{2}, c.asked)) {
				t.Errorf("asked for %v", *asked)
			}
			if slices.Contains(names(t, w.path("inbox")), "0000000002.tar.zst") {
				t.Error("the archive stays in the inbox")
			}
			w.fetched(honest)
			w.run()
			w.runs("caisse", "1.1")
		})
	}
}

// TestFetchFails: its error comes through, and nothing is changed.
func TestFetchFails(t *testing.T) {
	w := newWorld(t)
	w.publish(w.request("1.0", works))
	w.run()
	w.publish(w.request("1.1", works))
	check(t, os.Remove(w.path("inbox/0000000002.tar.zst")))
	oops := errors.New("no network")
	w.till.Fetch = func(context.Context, int64) error { return oops }
	w.refuses(oops, "fetching caisse 1.1", "nothing was changed")
	w.till.Fetch = func(context.Context, int64) error { return nil } // it says so, and nothing comes
	w.refuses(release.ErrIncomplete, "0000000002.tar.zst")
	ctx, cancel := context.WithCancel(t.Context())
	w.till.Fetch = func(context.Context, int64) error { cancel(); return ctx.Err() }
	before := w.landscape()
	if _, err := w.till.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	w.same(before)
}

// TestStopped: an update that is told to stop while it writes leaves nothing.
func TestStopped(t *testing.T) {
	w := newWorld(t)
	w.publish(w.request("1.0", works))
	w.run()
	w.publish(w.request("1.1", works))
	ctx, cancel := context.WithCancel(t.Context())
	w.till.Progress = func(string, int64, int64) { cancel() }
	before := w.landscape()
	if r, err := w.till.Run(ctx); !errors.Is(err, context.Canceled) || outcomes(r) != "" {
		t.Errorf("%s, %v", outcomes(r), err)
	}
	w.same(before)
}

// TestBusy: while a sale is open nobody is asked and nothing is fetched, and
// when one is opened meanwhile what was made ready waits.
func TestBusy(t *testing.T) {
	w := newWorld(t)
	w.publish(w.request("1.0", works))
	w.run()
	w.publish(w.request("1.1", works))
	w.asked = nil
	sale := errors.New("a sale is open")
	w.till.Busy = func(context.Context) error { return sale }
	w.refuses(sale, "caisse 1.1", "nothing was changed")
	if len(w.asked) > 0 {
		t.Errorf("asked for %v", w.asked)
	}
	before := 0
	w.till.Busy = func(context.Context) error {
		if before++; before == 2 {
			return sale
		}
		return nil
	}
	if r, err := w.till.Run(t.Context()); !errors.Is(err, sale) || outcomes(r) != "" || len(w.asked) != 1 {
		t.Errorf("%s, %v, asked for %v", outcomes(r), err, w.asked)
	}
	w.runs("caisse", "1.0")
	w.till.Progress = func(what string, _, _ int64) {
		if what == "installing" {
			t.Error("unpacked a second time")
		}
	}
	if got := outcomes(w.run()); got != "caisse 1.1 installed" {
		t.Errorf("%s", got)
	}
	w.runs("caisse", "1.1")
}
