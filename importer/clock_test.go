package importer_test

import (
	"errors"
	"testing"
	"time"

	"caisseauto/importer"
)

// A till whose clock is wrong: before the head was issued the clock is not
// believed; long after it, the stream looks frozen, which is said, and what is
// chained and signed is applied all the same.
func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name string
		now  time.Time
		err  error
	}{
		{"1970", time.Unix(0, 0), nil},
		{"before 1970", time.Unix(-1_000_000, 0), nil},
		{"2099", time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), importer.ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := &notebook{}
			i := newImporter(t, db)
			i.Now = func() time.Time { return tt.now }
			r, err := i.Run(t.Context())
			if !errors.Is(err, tt.err) || r.After.Sequence != 5 {
				t.Fatalf("%+v, %v", r, err)
			}
			// The clock goes right again: nothing is left over of it.
			i.Now = func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
			if r, err := i.Run(t.Context()); err != nil || len(r.Batches) != 0 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}
