package sqlite

import (
	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
)

// A deltaWriter takes the rows of rowsSQL.
type deltaWriter struct {
	*delta
	started    bool
	mask       int64 // of the rows being sent, 0: whole rows
	places     []int // what of them is sent
	keyPlaces  []int // the row's key
	gonePlaces []int // the journal's key
}

func (w *deltaWriter) row(s *sqlite3.Stmt) error {
	if s.Kind(w.keyPlaces[0]) == change.Null {
		return w.gone(s)
	}
	mask := int64(0)
	if s.Kind(0) != change.Null {
		mask = s.Int(0)
	}
	if !w.started || mask != w.mask {
		if err := w.start(mask); err != nil {
			return err
		}
	}
	return w.e.send(w.extracted, s, w.places, w.keyPlaces)
}

// start begins the rows of another column set.
func (w *deltaWriter) start(mask int64) error {
	w.started, w.mask = true, mask
	names := w.columnNames()
	h := change.Header{Table: w.Name, Op: change.Upsert, Columns: names}
	w.places = w.places[:0]
	if mask == 0 {
		for i := range names {
			w.places = append(w.places, i+1)
		}
		return w.e.sink.Start(h)
	}
	h = change.Header{Table: w.Name, Op: change.Patch, Columns: w.names()}
	w.places = append(w.places, w.keyPlaces...)
	for i, name := range w.tracked {
		if i >= maskBits || mask&(1<<i) == 0 {
			continue
		}
		for j := range names {
			if names[j] == name {
				h.Columns = append(h.Columns, name)
				w.places = append(w.places, j+1)
			}
		}
	}
	return w.e.sink.Start(h)
}

// gone keeps a key whose row is not there, or not the stream's, any more.
func (w *deltaWriter) gone(s *sqlite3.Stmt) error {
	for _, i := range w.gonePlaces {
		if s.Kind(i) == change.Null {
			return nil // it never was in a batch
		}
	}
	if w.spilled {
		return nil
	}
	before := len(w.deletes)
	w.deletes = appendPlaces(w.deletes, s, w.gonePlaces)
	if n := len(w.deletes) - before; n > change.MaxLine {
		return w.tooLong(s, w.gonePlaces, n)
	}
	if w.e.kept -= len(w.deletes) - before; w.e.kept < 0 {
		w.e.kept += len(w.deletes)
		w.deletes, w.spilled = nil, true
	}
	return nil
}
