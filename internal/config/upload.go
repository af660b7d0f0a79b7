package config

import "strings"

// upload checks what a table says about the rows that tills send.
func (c *checker) upload(t *Table, at string) {
	if t.Direction == DirectionDown {
		c.onlyUp(t, at)
		return
	}
	c.name(at+".till_column", t.TillColumn, false)
	if c.name(at+".number_column", t.NumberColumn, false); t.NumberColumn != "" && !t.Append {
		c.fail(at+".number_column", "take it out, or write append = true", "only the numbers of rows that are never changed can have no gaps")
	}
	c.columns(at+".totals", t.Totals)
	c.name(at+".parent", t.Parent, false)
	if c.columns(at+".parent_columns", t.ParentColumns); len(t.ParentColumns) > 0 && t.Parent == "" {
		c.fail(at+".parent_columns", `write parent = "…", the table whose key they hold`, "there is no parent")
	}
	if c.name(at+".version_column", t.VersionColumn, false); t.VersionColumn != "" && t.Conflict != ConflictNewest {
		c.fail(at+".version_column", `take it out, or write direction = "both" and conflict = "newest"`, "only that compares versions")
	}
	c.travels(t, at+".exclude")
}

// onlyUp refuses what only a table that tills send can have.
func (c *checker) onlyUp(t *Table, at string) {
	for _, k := range []string{"till_column", "number_column", "totals", "parent", "parent_columns", "version_column"} {
		if c.given(at + "." + k) {
			c.fail(at+"."+k, `take it out, or write direction = "up" or "both"`, "a table that goes %s is not sent by tills", t.Direction)
		}
	}
}

// columns checks a list of columns' names.
func (c *checker) columns(path string, list []string) {
	if list != nil && len(list) == 0 {
		c.fail(path, "write the columns' names, or leave the key out", "empty")
	}
	seen := map[string]string{}
	for i, col := range list {
		if col == "" || strings.ContainsFunc(col, isControl) {
			c.fail(path, "write the columns' names", "entry %d is no name", i+1)
		}
		c.unique(seen, path, col, "column")
	}
}

// travels refuses to exclude a column that the other side needs to judge the
// row.
func (c *checker) travels(t *Table, path string) {
	need := map[string]string{}
	for _, list := range [][]string{t.Totals, t.ParentColumns, {t.TillColumn, t.NumberColumn, t.VersionColumn}} {
		for _, col := range list {
			need[strings.ToLower(col)] = col
		}
	}
	for _, col := range t.Exclude {
		if _, there := need[strings.ToLower(col)]; there {
			c.fail(path, "take it out of one of the two", "%q is needed on the other side, and must travel", col)
		}
	}
}

// parents checks that each parent is a table that is sent too, and that no
// row is in the end a part of itself.
func (c *checker) parents(tables []Table, at, driver string) {
	fold := func(name string) string { return name }
	if driver == DriverSQLite {
		fold = strings.ToLower
	}
	index := map[string]int{}
	for i := range tables {
		index[fold(tables[i].Name)] = i
	}
	for i := range tables {
		t, path := &tables[i], entry(at+".table", i)+".parent"
		if t.Parent == "" {
			continue
		}
		p, there := index[fold(t.Parent)]
		switch {
		case !there:
			c.fail(path, "write the name of a table of this dossier", "there is no table %q", t.Parent)
			continue
		case tables[p].Direction == DirectionDown:
			c.fail(path, `write direction = "up" there too`, "the table %q goes down, and its rows never come with these", t.Parent)
		}
		// After as many steps as there are tables, the way up goes in a circle.
		steps := 0
		for ; there && steps <= len(tables) && tables[p].Parent != ""; steps++ {
			p, there = index[fold(tables[p].Parent)]
		}
		if steps > len(tables) {
			c.fail(path, "leave parent out at the table that holds the header", "following the parents from here leads in a circle")
		}
	}
}
