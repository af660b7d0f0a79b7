package manifest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"caisseauto/manifest"
)

// chainOf returns baseline 1, deltas 2 and 3, a baseline 4 in mid-epoch, and
// the baseline 5 of epoch 2.
func chainOf(t testing.TB) (chain []*manifest.Manifest, at []manifest.Position) {
	previous := manifest.NoPrevious()
	for n := int64(1); n <= 5; n++ {
		m := delta()
		if n == 1 || n >= 4 {
			m = baseline()
		}
		m.Sequence, m.Previous, m.Archive.Name = n, previous, manifest.FileName(n, manifest.ArchiveExt)
		if n == 5 {
			m.Epoch, m.Previous = 2, manifest.NoPrevious()
		}
		p, err := m.Position()
		if err != nil {
			t.Fatal(err)
		}
		chain, at, previous = append(chain, m), append(at, p), p.Digest
	}
	return chain, at
}

func TestFollows(t *testing.T) {
	chain, at := chainOf(t)
	zero := manifest.Position{}
	with := func(p manifest.Position, digest string) manifest.Position { p.Digest = digest; return p }
	late := manifest.Position{Epoch: 1, Sequence: 9, Digest: digest("9")}
	for _, c := range []struct {
		name string
		m    *manifest.Manifest
		last manifest.Position
		want manifest.Reason
		says string
	}{
		{"new reader, first baseline", chain[0], zero, "", ""},
		{"new reader, newest baseline", chain[3], zero, "", ""},
		{"new reader, delta", chain[1], zero, manifest.Gap, "a baseline must come first"},
		{"next delta", chain[1], at[0], "", ""},
		{"next baseline", chain[3], at[2], "", ""},
		{"new epoch", chain[4], at[3], "", ""},
		{"new epoch, batches of the old one missed", chain[4], at[1], "", ""},
		{"the same again", chain[2], at[2], manifest.Applied, "nothing to do"},
		{"the one before", chain[1], at[2], manifest.Replayed, "old file"},
		{"the first again", chain[0], at[2], manifest.Replayed, "old file"},
		{"another one of this number", chain[2], with(at[2], digest("f")), manifest.Forked, digest("f")},
		{"one is missing", chain[2], at[0], manifest.Gap, "batch 2 must come next"},
		{"baseline over a gap", chain[3], at[0], manifest.Gap, "batch 2 must come next"},
		{"another one before it", chain[2], with(at[1], digest("f")), manifest.Unchained, "new baseline"},
		{"old epoch, next number", chain[3], manifest.Position{Epoch: 2, Sequence: 3, Digest: at[2].Digest}, manifest.WrongEpoch, "new epoch"},
		{"old epoch, the same number", chain[4], manifest.Position{Epoch: 3, Sequence: 5, Digest: digest("5")}, manifest.WrongEpoch, "new epoch"},
		{"new epoch, old number", chain[4], late, manifest.WrongEpoch, "higher number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.m.Follows(c.last)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var p *manifest.PositionError
			if !errors.As(err, &p) || !errors.Is(err, manifest.ErrRefused) {
				t.Fatalf("error %v, want a refusal with a position", err)
			}
			got, _ := c.m.Position()
			want := manifest.PositionError{Reason: c.want, Stream: "ACME/down", Last: c.last, Got: got, Kind: c.m.Kind, Previous: c.m.Previous}
			if diff := cmp.Diff(want, *p); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
		})
	}
}

// A new epoch in its middle: its delta is no start for a reader of the old.
func TestFollowsNewEpochInTheMiddle(t *testing.T) {
	m := delta()
	m.Epoch = 2
	var p *manifest.PositionError
	if err := m.Follows(manifest.Position{Epoch: 1, Sequence: 41, Digest: digest("d")}); !errors.As(err, &p) || p.Reason != manifest.WrongEpoch {
		t.Errorf("error %v", err)
	}
}

// Follows takes the digest of the bytes, so it agrees with Open.
func TestPositionIsThatOfOpen(t *testing.T) {
	w := newWorld(t)
	doc, sig, err := manifest.Seal(delta(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	m, opened, err := manifest.Open("x", "ACME/down", doc, sig, w.trust)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Position()
	if err != nil || p != opened || opened.Digest != manifest.Digest(doc) {
		t.Errorf("%v, %v; Open said %v", p, err, opened)
	}
	if diff := cmp.Diff(delta(), m); diff != "" {
		t.Error(diff)
	}
}

// Whatever files a hostile drop serves, in whatever order, a reader that asks
// Follows applies a chain: each batch names the one that was applied before it,
// or begins a new epoch, and no number is applied twice.
func TestFollowsAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var served []*manifest.Manifest
		for i := range rapid.IntRange(1, 12).Draw(t, "served") {
			served = append(served, drawManifest(t, served, fmt.Sprint(i)))
		}
		var last manifest.Position
		for range 30 {
			m := rapid.SampledFrom(served).Draw(t, "next")
			if m.Follows(last) != nil {
				continue
			}
			got, err := m.Position()
			if err != nil {
				t.Fatal(err)
			}
			chained := m.Sequence == last.Sequence+1 && m.Epoch == last.Epoch && m.Previous == last.Digest
			begins := m.Kind == manifest.Baseline && (last.IsZero() || m.Epoch > last.Epoch && m.Previous == manifest.NoPrevious())
			if m.Sequence <= last.Sequence || !chained && !begins {
				t.Fatalf("%+v applied after %+v", got, last)
			}
			last = got
		}
	})
}

// drawManifest draws one that may or may not follow one of those before.
func drawManifest(t *rapid.T, before []*manifest.Manifest, label string) *manifest.Manifest {
	m := delta()
	if rapid.Bool().Draw(t, "baseline") {
		m = baseline()
	}
	m.Epoch = rapid.Int64Range(1, 3).Draw(t, "epoch")
	m.Sequence = rapid.Int64Range(1, 6).Draw(t, "sequence")
	m.Archive.SHA256 = manifest.Digest([]byte(label)) // no two alike
	previous := []string{manifest.NoPrevious(), digest("d")}
	for _, b := range before {
		p, err := b.Position()
		if err != nil {
			t.Fatal(err)
		}
		previous = append(previous, p.Digest)
	}
	m.Previous = rapid.SampledFrom(previous).Draw(t, "previous")
	if m.Sequence == 1 || m.Kind == manifest.Delta && m.Previous == manifest.NoPrevious() {
		m.Kind, m.Tables[0].Scope, m.Previous = manifest.Baseline, manifest.Whole, manifest.NoPrevious()
	}
	m.Archive.Name = manifest.FileName(m.Sequence, manifest.ArchiveExt)
	return m
}
