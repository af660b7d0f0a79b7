package sqlite

import (
	"fmt"
	"strings"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// uploads returns what a stream down asks of its tills, parents first.
func (c *Capture) uploads(db *sqlite3.Conn, stream string) ([]*database.Upload, error) {
	list, err := database.Uploads(c.streams[stream].uploads, func(config database.UploadConfig) (*database.Table, error) {
		t, err := ReadTable(db, config.Name)
		if err != nil {
			return nil, err
		}
		key, _, err := findKey(t, config.Key)
		return t.neutral(columnsOf(key)), err
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s, %w", stream, err)
	}
	return list, nil
}

// neutral returns what the rules of all databases look at.
func (t *Table) neutral(key []string) *database.Table {
	n := &database.Table{Name: t.Name, Key: key, Fold: foldName}
	for _, c := range t.Columns {
		n.Columns = append(n.Columns, database.Column{Name: c.Name, Type: c.Type, Generated: c.Generated, Integer: affinityOf(c.Type) == affinityInteger})
	}
	for _, f := range t.ForeignKeys {
		n.ForeignKeys = append(n.ForeignKeys, database.ForeignKey{Table: f.Table, From: f.From, To: f.To})
	}
	return n
}

// offer adds to a batch of a stream down what its tills are to send, when
// that has changed since the last batch and in every baseline, and the number
// of the newest integrated batch.
func (c *Capture) offer(db *sqlite3.Conn, stream string, last cursor, next *cursor, x *manifest.Extract) error {
	list, err := c.uploads(db, stream)
	if err != nil {
		return err
	}
	if next.Uploads, err = database.Offer(x, list, last.Uploads); err != nil {
		return err
	}
	dossier, _, _ := strings.Cut(stream, "/")
	x.Integrated, err = integrated(db, dossier)
	return err
}

// integrated returns the number of the dossier's newest integrated batch.
func integrated(db *sqlite3.Conn, dossier string) (n int64, err error) {
	if ok, err := Exists(db, "caisseauto_dossier"); err != nil || !ok {
		return 0, err
	}
	err = db.Query("SELECT integrated FROM caisseauto_dossier WHERE dossier=?1",
		func(s *sqlite3.Stmt) error { n = s.Int(0); return nil }, dossier)
	return n, err
}
