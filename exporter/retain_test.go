package exporter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/exporter"
	changes "caisseauto/internal/change"
	"caisseauto/internal/sqlite"
	"caisseauto/manifest"
)

// archives returns the numbers in the outbox that have an archive, and that
// have a manifest with its signature.
func archives(t *testing.T, e *exporter.Exporter) (archives, manifests string) {
	t.Helper()
	entries, err := os.ReadDir(e.Outbox)
	if err != nil {
		t.Fatal(err)
	}
	count := map[int64]int{}
	for _, entry := range entries {
		n, ext, ok := manifest.ParseFileName(entry.Name())
		switch {
		case ok && ext == manifest.ArchiveExt:
			archives += fmt.Sprint(n, " ")
		case ok:
			if count[n]++; count[n] == 2 {
				manifests += fmt.Sprint(n, " ")
			}
		}
	}
	return strings.TrimSpace(archives), strings.TrimSpace(manifests)
}

func headOf(t *testing.T, e *exporter.Exporter) (h manifest.Head) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(e.Outbox, manifest.HeadName))
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// days makes one batch a day: a baseline, three deltas, a baseline, a delta.
// It returns the exporter on the seventh day.
func days(t *testing.T) (*exporter.Exporter, string) {
	t.Helper()
	e, db := newExporter(t)
	for day := range 6 {
		now := time.Date(2026, 3, 1+day, 6, 0, 0, 0, time.UTC)
		e.Now = func() time.Time { return now }
		change(db, fmt.Sprintf("UPDATE article SET price=price+1+%d", day))
		if _, err := e.Run(t.Context(), exporter.Options{Full: day == 4}); err != nil {
			t.Fatal(err)
		}
	}
	e.Now = func() time.Time { return time.Date(2026, 3, 7, 6, 0, 0, 0, time.UTC) }
	return e, db
}

// another returns a copy of an exporter with its outbox and its database.
func another(t *testing.T, e *exporter.Exporter, db string) (*exporter.Exporter, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Dir(db))); err != nil {
		t.Fatal(err)
	}
	e2, db := *e, filepath.Join(dir, filepath.Base(db))
	e2.Source, e2.Outbox = sqlite.NewSource(db, articles(), sqlite.SourceOptions{}), filepath.Join(dir, filepath.Base(e.Outbox))
	return &e2, db
}

// TestRetention: archives go that are behind a confirmed baseline and old
// enough; the head says so before, and the signed manifests stay.
func TestRetention(t *testing.T) {
	e, db := days(t)
	day := 24 * time.Hour
	at := func(epoch, sequence int64) manifest.Position {
		return manifest.Position{Epoch: epoch, Sequence: sequence}
	}
	for _, tt := range []struct {
		name string
		o    exporter.Options
		now  time.Time
		want string
	}{
		{"nothing is configured", exporter.Options{Confirmed: at(1, 6)}, time.Time{}, "1 2 3 4 5 6"},
		{"nobody has confirmed", exporter.Options{Retention: day}, time.Time{}, "1 2 3 4 5 6"},
		{"somebody stands before the baseline", exporter.Options{Retention: day, Confirmed: at(1, 4)}, time.Time{}, "1 2 3 4 5 6"},
		{"confirmed in another epoch", exporter.Options{Retention: day, Confirmed: at(2, 6)}, time.Time{}, "1 2 3 4 5 6"},
		{"confirmed", exporter.Options{Retention: day, Confirmed: at(1, 5)}, time.Time{}, "5 6"},
		{"some are young", exporter.Options{Retention: 4*day + time.Hour, Confirmed: at(1, 6)}, time.Time{}, "3 4 5 6"},
		{"all are young", exporter.Options{Retention: 30 * day, Confirmed: at(1, 6)}, time.Time{}, "1 2 3 4 5 6"},
		{"a clock in 1970", exporter.Options{Retention: day, Confirmed: at(1, 6)}, time.Unix(0, 0), "1 2 3 4 5 6"},
		{"a clock in 2099", exporter.Options{Retention: day, Confirmed: at(1, 6)}, time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), "5 6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, db := another(t, e, db)
			if !tt.now.IsZero() {
				e.Now = func() time.Time { return tt.now }
			}
			r, err := e.Run(t.Context(), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if now, _ := archives(t, e); now != "1 2 3 4 5 6" {
				t.Errorf("archives %s before the head was shipped", now)
			}
			if h := headOf(t, e); h.Oldest != r.Oldest || fmt.Sprint(h.Oldest) != tt.want[:1] {
				t.Errorf("the head says oldest %d, the run %d, want %s", h.Oldest, r.Oldest, tt.want[:1])
			}
			if _, err := e.Prune(r.Oldest); err != nil {
				t.Fatal(err)
			}
			got, manifests := archives(t, e)
			if d := cmp.Diff([]string{tt.want, "1 2 3 4 5 6"}, []string{got, manifests}); d != "" {
				t.Error(d)
			}
			// Whether or not anything is gone, the next batch follows, and a
			// run that finds everything in order removes nothing more.
			change(db, "UPDATE article SET price=0")
			if r, err = e.Run(t.Context(), tt.o); err != nil || r.Position.Sequence != 7 || fmt.Sprint(r.Oldest) != tt.want[:1] {
				t.Errorf("the next run: %+v, %v", r, err)
			}
		})
	}
}

// TestRetentionAge: a batch whose own time cannot be known is as old as one
// behind it, and no older.
func TestRetentionAge(t *testing.T) {
	e, db := days(t)
	short, long := 24*time.Hour, 4*24*time.Hour+time.Hour // the latter lets 1 and 2 go
	for _, tt := range []struct {
		name      string
		retention time.Duration
		lost      []int64 // manifests that are not there
		edit      func(doc string) string
		want      int64
	}{
		{"all known", long, nil, nil, 3},
		{"the second is lost", long, []int64{2}, nil, 2},
		{"the first is lost", long, []int64{1}, nil, 3},
		{"both are lost", long, []int64{1, 2}, nil, 1},
		{"lost before an old one", short, []int64{2, 3}, nil, 5},
		{"all are lost", short, []int64{1, 2, 3, 4, 5}, nil, 1},
		{"all but the baseline's are lost", short, []int64{1, 2, 3, 4}, nil, 5},
		{"not readable", long, nil, func(string) string { return "{" }, 2},
		{"without a time", long, nil, func(doc string) string { return strings.Replace(doc, `"created"`, `"made"`, 1) }, 2},
		{"sealed by a clock ahead", short, nil, func(doc string) string { return strings.Replace(doc, "2026-03-02", "2036-03-02", 1) }, 5},
		{"another stream's", long, nil, func(doc string) string { return strings.Replace(doc, "ACME/down", "BETA/down", 1) }, 2},
		{"its key was retired", long, nil, func(doc string) string { return doc + " " }, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, _ := another(t, e, db)
			path := func(n int64) string { return filepath.Join(e.Outbox, manifest.FileName(n, manifest.ManifestExt)) }
			if tt.edit != nil {
				doc, err := os.ReadFile(path(2))
				if err != nil {
					t.Fatal(err)
				}
				if edited := tt.edit(string(doc)); edited == string(doc) {
					t.Fatal("the edit changes nothing")
				} else if err := os.WriteFile(path(2), []byte(edited), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range tt.lost {
				if err := os.Remove(path(n)); err != nil {
					t.Fatal(err)
				}
			}
			r, err := e.Run(t.Context(), exporter.Options{Retention: tt.retention, Confirmed: manifest.Position{Epoch: 1, Sequence: 6}})
			if err != nil || r.Oldest != tt.want {
				t.Errorf("oldest %d, %v, want %d", r.Oldest, err, tt.want)
			}
		})
	}
}

// TestBaselineEvery: a baseline that is due comes behind the changes and says
// that it repeats them; while the ERP writes without a pause it waits, but not
// for ever.
func TestBaselineEvery(t *testing.T) {
	e, db := newExporter(t)
	begin := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	o := exporter.Options{BaselineEvery: 48 * time.Hour}
	run := func(after time.Duration, want string) {
		t.Helper()
		e.Now = func() time.Time { return begin.Add(after) }
		if _, err := e.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		got := ""
		for n := int64(1); ; n++ {
			data, err := os.ReadFile(filepath.Join(e.Outbox, manifest.FileName(n, manifest.ManifestExt)))
			if err != nil {
				break
			}
			var m manifest.Manifest
			if err := json.Unmarshal(data, &m); err != nil {
				t.Fatal(err)
			}
			if got += string(m.Kind[0]); m.Unchanged {
				got += "="
			}
		}
		if got != want {
			t.Errorf("after %s: %s, want %s", after, got, want)
		}
	}
	run(0, "b")
	run(time.Hour, "b")
	change(db, "UPDATE article SET price=5")
	run(47*time.Hour, "bd")
	change(db, "UPDATE article SET price=6")
	run(48*time.Hour, "bddb=")
	run(49*time.Hour, "bddb=")
	run(-72*time.Hour, "bddb=b=") // the clock went back by days: the newest baseline's time says nothing
	e.Source = &restless{e.Source, db}
	run(-20*time.Hour, "bddb=b=d") // due, but it never rests
	run(-19*time.Hour, "bddb=b=dd")
	run(10*24*time.Hour, "bddb=b=dddb") // overdue
}

// A restless source is changed by the ERP before each reading.
type restless struct {
	exporter.Source
	db string
}

func (r *restless) Read(ctx context.Context, stream string, full bool, sink changes.Sink) (manifest.Extract, error) {
	change(r.db, "UPDATE article SET price=price+1")
	return r.Source.Read(ctx, stream, full, sink)
}
