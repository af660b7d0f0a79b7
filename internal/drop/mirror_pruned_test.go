package drop_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/internal/drop"

	"github.com/google/go-cmp/cmp"
)

// prune removes files of batches, as their writer does: "3a" is an archive,
// "3m" a manifest.
func (s side) prune(t *testing.T, files ...string) {
	t.Helper()
	for _, f := range files {
		var n int
		var kind string
		if _, err := fmt.Sscanf(f, "%d%1s", &n, &kind); err != nil {
			t.Fatal(err)
		}
		suffix := map[string]string{"a": ".tar.zst", "s": ".manifest.json.sig", "m": ".manifest.json"}[kind]
		check(t, os.Remove(filepath.Join(s.root, dir, fmt.Sprintf("%010d%s", n, suffix))))
	}
}

// TestMirrorPruned: what a source says no more of than that it was signed is
// passed over, in one line; what may still come is waited for.
func TestMirrorPruned(t *testing.T) {
	for name, test := range map[string]struct {
		gone            []string // of the source's five batches
		have            int      // batches that the target has already
		from            int64
		shows           string
		pruned, waiting int
	}{
		"a new target":                {[]string{"1a", "2a", "3a"}, 0, 0, "4m 4s 4a 5m 5s 5a H Hs", 3, 0},
		"a target in the middle":      {[]string{"1a", "2a", "3a"}, 2, 0, "1m 1s 1a 2m 2s 2a 4m 4s 4a 5m 5s 5a H Hs", 1, 0},
		"a target that has them":      {[]string{"1a", "2a", "3a"}, 3, 0, "1m 1s 1a 2m 2s 2a 3m 3s 3a 4m 4s 4a 5m 5s 5a H Hs", 0, 0},
		"from the oldest":             {[]string{"1a", "2a", "3a"}, 0, 4, "4m 4s 4a 5m 5s 5a H Hs", 0, 0},
		"removed in disorder":         {[]string{"2a"}, 0, 0, "1m 1s 1a 3m 3s 3a 4m 4s 4a 5m 5s 5a H Hs", 0, 1},
		"the newest is on its way":    {[]string{"1a", "5a"}, 0, 0, "2m 2s 2a 3m 3s 3a 4m 4s 4a H Hs", 1, 1},
		"signature lost":              {[]string{"1a", "1s", "2a"}, 0, 0, "3m 3s 3a 4m 4s 4a 5m 5s 5a H Hs", 1, 1},
		"every archive is on its way": {[]string{"1a", "2a", "3a", "4a", "5a"}, 0, 0, "H Hs", 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := newSide(t), newSide(t)
			src.batches(t, 1, 5)
			src.head(t, "5")
			src.prune(t, test.gone...)
			dst.batches(t, 1, test.have)
			for run := range 2 {
				var log bytes.Buffer
				r, err := drop.Mirror(t.Context(), dst, src, dir, drop.MirrorOptions{From: test.from, Log: slog.New(slog.NewTextHandler(&log, nil))})
				check(t, err)
				if d := cmp.Diff([]int{test.pruned, test.waiting}, []int{r.Pruned, r.Waiting}); d != "" {
					t.Errorf("pruned and waiting: %s", d)
				}
				if run > 0 && r.Files != 0 {
					t.Errorf("%d files copied once more", r.Files)
				}
				lines := test.waiting
				if test.pruned > 0 {
					lines++
				}
				if got := strings.Count(log.String(), "\n") - strings.Count(log.String(), "msg=mirrored"); got != lines {
					t.Errorf("%d lines, want %d: %s", got, lines, &log)
				}
			}
			if d := cmp.Diff(test.shows, dst.shows(t)); d != "" {
				t.Error(d)
			}
		})
	}
}
