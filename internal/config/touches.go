package config

import "strings"

// touches checks that what a table touches is another table that goes down in
// the same dossier.
func (c *checker) touches(tables []Table, at, driver string) {
	same := func(a, b string) bool { return a == b }
	if driver == DriverSQLite {
		same = strings.EqualFold
	}
	for i := range tables {
		t, path := &tables[i], entry(at+".table", i)+".touches"
		if t.Touches == "" {
			continue
		}
		if same(t.Touches, t.Name) {
			c.fail(path, "write the name of another table", "a table's own changes are sent anyway")
		}
		found := false
		for j := range tables {
			if !same(tables[j].Name, t.Touches) {
				continue
			}
			if found = true; tables[j].Direction == DirectionUp {
				c.fail(path, `write direction = "down" there`, "the table %q goes up, and its rows are not sent to tills", t.Touches)
			}
		}
		if !found {
			c.fail(path, "write the name of a table of this dossier", "there is no table %q", t.Touches)
		}
	}
}
