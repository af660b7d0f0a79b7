package sqlite

import (
	"encoding/json"
	"fmt"
	"maps"

	"caisseauto/internal/database"
)

// A cursor says what a stream has seen of the database when a batch was read.
// It travels through the seal engine as an opaque text and is kept with the
// batch, so that it counts only when the batch does.
type cursor struct {
	// Seq is the journal's newest entry at that time.
	Seq int64 `json:"seq"`
	// Tables has how each table was shipped. One that stands here with
	// another mark than it has now goes whole.
	Tables map[string]mark `json:"tables,omitempty"`
	// Uploads is a digest of what tills were asked to send.
	Uploads string `json:"uploads,omitempty"`
}

// A mark is the state of a table up to which its journal is to be trusted.
type mark struct {
	// Shape is a digest of what is shipped: columns, types, key, dossier.
	Shape string `json:"shape"`
	// Generation counts how often the table's triggers had to be renewed
	// after changes may have gone by them.
	Generation int64 `json:"generation"`
}

func parseCursor(s string) (c cursor, err error) {
	if s == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(s), &c); err != nil {
		return c, fmt.Errorf("the cursor %q in caisseauto_stream cannot be read: %w", s, err)
	}
	return c, nil
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("sqlite: a cursor that does not encode: " + err.Error()) // cannot happen: numbers and strings always do
	}
	return string(b)
}

// same reports whether a batch read at n ships the same tables and columns,
// from the same journal, as the one read at c.
func (c cursor) same(n cursor) bool { return maps.Equal(c.Tables, n.Tables) && c.Uploads == n.Uploads }

// shape returns the digest that stands in a mark.
func (r *carried) shape() string {
	columns := fmt.Sprintf("%q %q", r.columns, r.key)
	if r.dossier == "" {
		return database.Fingerprint(columns)
	}
	return database.Fingerprint(columns, r.dossier, fmt.Sprint(r.value.Kind, r.value.Int), string(r.value.Bytes))
}
