package database

import (
	"errors"
	"fmt"
	"slices"

	"caisseauto/manifest"
)

// findParent finds the table that the rows are parts of.
func (u *Upload) findParent(list []*Upload) error {
	parent := u.Config.Parent
	if parent == "" && u.Mode == manifest.Append {
		parents := map[string]bool{}
		for _, f := range u.Live.ForeignKeys {
			if p := FindUpload(list, f.Table); p != nil && p != u && p.Mode == manifest.Append && u.refers(f, p) {
				parent = p.Table
				parents[parent] = true
			}
		}
		if len(parents) > 1 {
			parent = ""
		}
	}
	if parent == "" {
		if len(u.Config.ParentColumns) > 0 {
			return errors.New("parent_columns without a parent")
		}
		return nil
	}
	if u.Above = FindUpload(list, parent); u.Above == nil || u.Above == u {
		return fmt.Errorf("its parent %s is no other table that goes up; add that one, or leave out parent", Quote(parent))
	}
	u.Parent = u.Above.Table
	return u.findLink()
}

// refers reports whether a foreign key leads to the table of p, and not to
// one of that name in another schema.
func (u *Upload) refers(f ForeignKey, p *Upload) bool {
	return f.Schema == p.Live.Schema && u.Live.Same(f.Table, p.Table)
}

// findLink finds the columns that hold the parent's key, in its order.
func (u *Upload) findLink() error {
	link := u.Config.ParentColumns
	for _, f := range u.Live.ForeignKeys {
		if len(link) == 0 && u.refers(f, u.Above) {
			link = u.Live.LinkOf(f, u.Above.Key)
		}
	}
	if len(link) != len(u.Above.Key) {
		return fmt.Errorf("no foreign key leads to its parent %s by that one's key %q; write parent_columns = [\"…\"], %d of them",
			Quote(u.Parent), u.Above.Key, len(u.Above.Key))
	}
	for _, name := range link {
		col, err := u.named("parent_columns: column", name)
		if err != nil {
			return err
		}
		if u.Live.Has(u.Config.Exclude, col) {
			return fmt.Errorf("exclude names column %s, which leads to its parent", Quote(col))
		}
		u.Link = append(u.Link, col)
	}
	return nil
}

// LinkOf returns the columns of a foreign key of t in the order of the
// parent's key, nil when it leads to something else there.
func (t *Table) LinkOf(f ForeignKey, key []string) (link []string) {
	for _, k := range key {
		i := slices.IndexFunc(f.To, func(to string) bool { return t.Same(to, k) })
		if i < 0 || len(f.To) != len(key) {
			return nil
		}
		link = append(link, f.From[i])
	}
	return link
}

// Linked reports whether a foreign key of the database itself leads from the
// columns of the link to the parent's key.
func (u *Upload) Linked() bool {
	return slices.ContainsFunc(u.Live.ForeignKeys, func(f ForeignKey) bool {
		return u.refers(f, u.Above) && slices.EqualFunc(u.Live.LinkOf(f, u.Above.Key), u.Link, u.Live.Same)
	})
}

// uploadOrder puts parents first, both those of foreign keys and those that
// the configuration names.
func uploadOrder(list []*Upload) ([]*Upload, error) {
	for _, u := range list {
		for p := u.Above; p != nil; p = p.Above {
			if u.Depth++; u.Depth > len(list) {
				return nil, fmt.Errorf("table %s, on its way up: its parents make a circle", Quote(u.Table))
			}
		}
	}
	name := func(u *Upload) string { return u.Live.Schema + "\x00" + u.Live.fold(u.Table) }
	parents := func(u *Upload) (names []string) {
		for _, f := range u.Live.ForeignKeys {
			names = append(names, f.Schema+"\x00"+u.Live.fold(f.Table))
		}
		return names
	}
	byKeys := ParentsFirst(list, name, parents)
	ordered := make([]*Upload, 0, len(list))
	for depth := 0; len(ordered) < len(list); depth++ {
		for _, u := range byKeys {
			if u.Depth == depth {
				ordered = append(ordered, u)
			}
		}
	}
	return ordered, nil
}
