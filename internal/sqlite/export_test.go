package sqlite

import (
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
)

// OpenHooked is OpenCollector with a hook at the named places of a batch's
// way. Small makes a stage write everything to its file.
func OpenHooked(path string, c *Capture, o CollectOptions, small bool, hook func(place string)) (*collect.Collector, error) {
	d, err := openCollecting(path, c, o)
	if err != nil {
		return nil, err
	}
	if hook != nil {
		d.t.hook = hook
	}
	if small {
		d.t.limits.stageBytes = 100
	}
	return collect.New(d, o.Now), nil
}

// RaceSlow is how much slower tests run under the race detector.
const RaceSlow = raceSlow

// UploadsOf returns what a stream down asks of its tills.
func UploadsOf(db *sqlite3.Conn, c *Capture, stream string) ([]*database.Upload, error) {
	return c.uploads(db, stream)
}
