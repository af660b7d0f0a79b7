package sqlite

import (
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// What a till is to send are the columns that it can write and may.
func TestUploadColumns(t *testing.T) {
	db := newSrcDB(t, "CREATE TABLE t(a DECIMAL(10,2), secret TEXT, id INTEGER PRIMARY KEY, g AS (a), b)")
	c := NewCapture(map[string]database.SourceConfig{"A/down": {Uploads: []database.UploadConfig{{Name: "t", Mode: manifest.Append, Exclude: []string{"SECRET"}}}}})
	list, err := c.uploads(db.Conn, "A/down")
	if err != nil {
		t.Fatal(err)
	}
	want := []manifest.Column{{Name: "a", Type: "DECIMAL(10,2)"}, {Name: "id", Type: "INTEGER"}, {Name: "b"}}
	if !slices.Equal(list[0].Columns, want) {
		t.Errorf("columns %q, want %q", list[0].Columns, want)
	}
}

// Names that differ in their case alone are one, and our own tables are none
// that a till may write to.
func TestUploadNames(t *testing.T) {
	db := newSrcDB(t, "CREATE TABLE head(n INTEGER PRIMARY KEY, v); CREATE TABLE caisseauto_alarm(id INTEGER PRIMARY KEY)")
	for says, config := range map[string]database.UploadConfig{
		`totals names column "v" twice`:     {Name: "HEAD", Mode: manifest.Append, Totals: []string{"v", "V"}},
		"no till may write to such a table": {Name: "Caisseauto_Alarm", Mode: manifest.Append},
	} {
		c := NewCapture(map[string]database.SourceConfig{"A/down": {Uploads: []database.UploadConfig{config}}})
		if _, err := c.uploads(db.Conn, "A/down"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %s", config, err, says)
		}
	}
}
