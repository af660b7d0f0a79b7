package importer_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/importer"
	"caisseauto/manifest"
)

// What is to be fetched is planned by manifests alone.
func TestRoute(t *testing.T) {
	var large []string
	for n := range 300 {
		large = append(large, fmt.Sprintf(`["K%03d","%d"]`, n, n*n*n*7919))
	}
	small := []string{`["C1","x"]`}
	type batch struct {
		kind string // delta, baseline, unchanged
		rows []string
		gone bool // from where archives are fetched
	}
	for _, tt := range []struct {
		name    string
		batches []batch // from number 2 on
		from    int64
		skip    []int64
	}{
		{"nothing", nil, 2, nil},
		{"deltas alone", []batch{{"delta", small, false}, {"delta", large, false}}, 2, nil},
		{"an unchanged baseline behind small deltas", []batch{{"delta", small, false}, {"unchanged", large, false}, {"delta", small, false}}, 2, []int64{3}},
		{"an unchanged baseline behind large deltas", []batch{{"delta", large, false}, {"delta", large, false}, {"unchanged", small, false}, {"delta", small, false}}, 4, nil},
		{"a baseline that must be read", []batch{{"delta", small, false}, {"baseline", large, false}, {"delta", small, false}}, 3, nil},
		{"a delta is gone", []batch{{"delta", small, true}, {"unchanged", large, false}, {"delta", small, false}}, 3, nil},
		{"an older baseline is gone, and not needed", []batch{{"delta", small, false}, {"unchanged", large, true}, {"delta", small, false}, {"unchanged", large, false}}, 2, []int64{3, 5}},
		{"everything is gone but the newest", []batch{{"delta", small, true}, {"baseline", large, true}, {"delta", small, true}, {"unchanged", large, false}}, 5, nil},
		{"no way at all", []batch{{"delta", small, true}, {"delta", small, false}}, 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i, w, db := newDown(t)
			i.Applier = &recorder{notebook: *db}
			archives := map[int64]bool{}
			for n, b := range tt.batches {
				switch b.kind {
				case "unchanged":
					w.unchanged(b.rows...)
				case "baseline":
					w.down(manifest.Baseline, b.rows...)
				default:
					w.down(manifest.Delta, b.rows...)
				}
				w.remove(int64(n+2), manifest.ArchiveExt)
				archives[int64(n+2)] = !b.gone
			}
			r, err := i.Route(db.position, archives)
			if err != nil {
				t.Fatal(err)
			}
			skip := map[int64]bool{}
			for _, n := range tt.skip {
				skip[n] = true
			}
			if d := cmp.Diff(importer.Route{From: tt.from, Skip: skip}, importer.Route{From: r.From, Skip: r.Skip}); d != "" {
				t.Error(d)
			}
		})
	}
}
