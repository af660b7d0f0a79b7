package sqlite

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// The ways to resolve a conflict of a table of mode both: the row with the
// larger version counts, the server's, the till's, or nobody's until an
// operator has decided.
const (
	ConflictNewest = "newest"
	ConflictServer = "server"
	ConflictTill   = "till"
	ConflictHold   = "hold"
)

// An UploadConfig says what a dossier takes of one table from its tills. What
// is empty is found in the server's schema; see each field.
type UploadConfig struct {
	Name          string
	Mode          manifest.Mode
	Key           []string // empty: the PRIMARY KEY
	DossierColumn string   // empty: no column says whose row it is
	Dossier       string   // the dossier's code, which must stand in it
	TillColumn    string   // empty: "caisse" or "till", where the table has such a column
	NumberColumn  string   // empty, mode append: what the key has beside dossier and till, when that is one INTEGER column
	Totals        []string // columns to be summed up
	Parent        string   // empty, mode append: the only other such table that a foreign key names
	ParentColumns []string // empty: those of the foreign key to the parent
	Exclude       []string // columns that a till may not write
	Conflict      string   // mode both; empty: newest
	VersionColumn string   // conflict newest; empty: the first of versionColumns that is there
}

// tillColumns and versionColumns are the names that are looked for where the
// configuration names none.
var (
	tillColumns    = []string{"caisse", "till"}
	versionColumns = []string{"modifie_le", "updated_at", "modified_at", "version"}
)

// An upload is one table as it is taken in.
type upload struct {
	manifest.Upload
	table    *Table
	config   UploadConfig
	conflict string
	version  string // the column that says which of two rows is newer
	parent   *upload
	depth    int // parents above it
}

// uploads returns what a stream down asks of its tills, parents first.
func (c *Capture) uploads(db *sqlite3.Conn, stream string) ([]*upload, error) {
	var list []*upload
	for _, config := range c.streams[stream].Uploads {
		u, err := newUpload(db, config)
		if err == nil && findUpload(list, u.Table) != nil {
			err = errors.New("is there twice; leave one of them out")
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s, table %s, on its way up: %w", stream, Quote(config.Name), err)
		}
		list = append(list, u)
	}
	for _, u := range list {
		if err := u.findParent(list); err != nil {
			return nil, fmt.Errorf("stream %s, table %s, on its way up: %w", stream, Quote(u.Table), err)
		}
	}
	return uploadOrder(list)
}

func findUpload(list []*upload, name string) *upload {
	for _, u := range list {
		if sameName(u.Table, name) {
			return u
		}
	}
	return nil
}

// newUpload finds all that one table alone says.
func newUpload(db *sqlite3.Conn, config UploadConfig) (*upload, error) {
	t, err := ReadTable(db, config.Name)
	if errors.Is(err, ErrNoTable) {
		return nil, fmt.Errorf("%w; correct its name in the configuration or leave it out", err)
	}
	if err != nil {
		return nil, err
	}
	if low := foldName(t.Name); strings.HasPrefix(low, "sqlite_") || strings.HasPrefix(low, "caisseauto_") {
		return nil, errors.New("no till may write to such a table; leave it out")
	}
	u := &upload{table: t, config: config}
	u.Table, u.Mode = t.Name, config.Mode
	if !slices.Contains([]manifest.Mode{manifest.Append, manifest.Replace, manifest.Both}, u.Mode) {
		return nil, fmt.Errorf("mode %q is not append, replace or both", u.Mode)
	}
	key, _, err := findKey(t, config.Key)
	if err != nil {
		return nil, err
	}
	u.Key = columnsOf(key)
	for _, find := range []func() error{u.findColumns, u.findNumber, u.findVersion, u.checkExclude, u.findSent} {
		if err := find(); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// named returns the column that a setting of the configuration names.
func (u *upload) named(setting, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	col := u.table.Column(name)
	if col == nil || col.Generated {
		return "", fmt.Errorf("%s %s is no plain column of the table, which has %q", setting, Quote(name), columnNames(u.table))
	}
	return col.Name, nil
}

// findColumns finds the dossier's column, the till's and those of the totals.
func (u *upload) findColumns() (err error) {
	if u.Dossier, err = u.named("dossier_column", u.config.DossierColumn); err != nil {
		return err
	}
	if u.Dossier != "" && u.config.Dossier == "" {
		return fmt.Errorf("dossier_column %s is set, but no dossier to look for in it", Quote(u.Dossier))
	}
	till := u.config.TillColumn
	for _, name := range tillColumns {
		if col := u.table.Column(name); till == "" && col != nil && !col.Generated {
			till = name
		}
	}
	if u.Till, err = u.named("till_column", till); err != nil {
		return err
	}
	for _, name := range u.config.Totals {
		col, err := u.named("totals: column", name)
		if err != nil {
			return err
		}
		if slices.Contains(u.Sums, col) {
			return fmt.Errorf("totals names column %s twice", Quote(col))
		}
		u.Sums = append(u.Sums, col)
	}
	return nil
}

// findNumber finds the column that counts without gaps.
func (u *upload) findNumber() (err error) {
	number := u.config.NumberColumn
	if number != "" && u.Till == "" {
		return fmt.Errorf("number_column %s counts the rows of each till, but no till_column says whose a row is", Quote(number))
	}
	if number == "" && u.Mode == manifest.Append && u.Till != "" {
		var rest []string
		for _, k := range u.Key {
			if k != u.Dossier && k != u.Till {
				rest = append(rest, k)
			}
		}
		if len(rest) == 1 && affinityOf(u.table.Column(rest[0]).Type) == affinityInteger {
			number = rest[0]
		}
	}
	u.Number, err = u.named("number_column", number)
	return err
}

// findVersion finds how conflicts are resolved.
func (u *upload) findVersion() (err error) {
	if u.Mode != manifest.Both {
		return nil
	}
	u.conflict = u.config.Conflict
	switch u.conflict {
	case "":
		u.conflict = ConflictNewest
	case ConflictNewest, ConflictServer, ConflictTill, ConflictHold:
	default:
		return fmt.Errorf("conflict %q is not newest, server, till or hold", u.conflict)
	}
	version := u.config.VersionColumn
	for _, name := range versionColumns {
		if version == "" && u.conflict == ConflictNewest && u.table.Column(name) != nil {
			version = name
		}
	}
	if version == "" && u.conflict == ConflictNewest {
		return fmt.Errorf(`conflict = "newest" needs a column that grows with each change, and the table has none of %q; name it: version_column = "…", or write conflict = "server", "till" or "hold"`,
			versionColumns)
	}
	u.version, err = u.named("version_column", version)
	return err
}

// checkExclude takes the columns that are not sent, and refuses to exclude what
// the rules themselves look at.
func (u *upload) checkExclude() error {
	for _, name := range u.config.Exclude {
		if u.table.Column(name) == nil {
			return fmt.Errorf("exclude names column %s, which does not exist; the table has %q", Quote(name), columnNames(u.table))
		}
		needed := slices.Concat(u.Key, u.Sums, []string{u.Dossier, u.Till, u.Number, u.version})
		if containsName(needed, name) {
			return fmt.Errorf("exclude names column %s, which the key, a till_column, a total or a version needs", Quote(name))
		}
		u.Exclude = append(u.Exclude, u.table.Column(name).Name)
	}
	return nil
}

// findSent lists the columns that a till is to send.
func (u *upload) findSent() error {
	for _, c := range u.table.Columns {
		if !c.Generated && !containsName(u.Exclude, c.Name) {
			u.Columns = append(u.Columns, manifest.Column{Name: c.Name, Type: c.Type})
		}
	}
	return nil
}

// findParent finds the table that the rows are parts of.
func (u *upload) findParent(list []*upload) error {
	parent := u.config.Parent
	if parent == "" && u.Mode == manifest.Append {
		parents := map[string]bool{}
		for _, f := range u.table.ForeignKeys {
			if p := findUpload(list, f.Table); p != nil && p != u && p.Mode == manifest.Append {
				parent = p.Table
				parents[parent] = true
			}
		}
		if len(parents) > 1 {
			parent = ""
		}
	}
	if parent == "" {
		if len(u.config.ParentColumns) > 0 {
			return errors.New("parent_columns without a parent")
		}
		return nil
	}
	if u.parent = findUpload(list, parent); u.parent == nil || u.parent == u {
		return fmt.Errorf("its parent %s is no other table that goes up; add that one, or leave out parent", Quote(parent))
	}
	u.Parent = u.parent.Table
	return u.findLink()
}

// findLink finds the columns that hold the parent's key, in its order.
func (u *upload) findLink() error {
	link := u.config.ParentColumns
	for _, f := range u.table.ForeignKeys {
		if len(link) == 0 && sameName(f.Table, u.Parent) {
			link = linkOf(f, u.parent.Key)
		}
	}
	if len(link) != len(u.parent.Key) {
		return fmt.Errorf("no foreign key leads to its parent %s by that one's key %q; write parent_columns = [\"…\"], %d of them",
			Quote(u.Parent), u.parent.Key, len(u.parent.Key))
	}
	for _, name := range link {
		col, err := u.named("parent_columns: column", name)
		if err != nil {
			return err
		}
		if containsName(u.config.Exclude, col) {
			return fmt.Errorf("exclude names column %s, which leads to its parent", Quote(col))
		}
		u.Link = append(u.Link, col)
	}
	return nil
}

// linkOf returns the child's columns of a foreign key in the order of the
// parent's key, nil when it leads to something else.
func linkOf(f ForeignKey, key []string) (link []string) {
	for _, k := range key {
		i := slices.IndexFunc(f.To, func(to string) bool { return sameName(to, k) })
		if i < 0 || len(f.To) != len(key) {
			return nil
		}
		link = append(link, f.From[i])
	}
	return link
}

// uploadOrder puts parents first, both those of foreign keys and those that
// the configuration names.
func uploadOrder(list []*upload) ([]*upload, error) {
	for _, u := range list {
		for p := u.parent; p != nil; p = p.parent {
			if u.depth++; u.depth > len(list) {
				return nil, fmt.Errorf("table %s, on its way up: its parents make a circle", Quote(u.Table))
			}
		}
	}
	var tables []*Table
	for _, u := range list {
		tables = append(tables, u.table)
	}
	ordered := make([]*upload, 0, len(list))
	for depth := 0; len(ordered) < len(list); depth++ {
		for _, t := range ParentsFirst(tables) {
			if u := findUpload(list, t.Name); u.depth == depth {
				ordered = append(ordered, u)
			}
		}
	}
	return ordered, nil
}

// offer adds to a batch of a stream down what its tills are to send, when
// that has changed since the last batch and in every baseline, and the number
// of the newest integrated batch.
func (c *Capture) offer(db *sqlite3.Conn, stream string, last cursor, next *cursor, x *manifest.Extract) error {
	list, err := c.uploads(db, stream)
	if err != nil {
		return err
	}
	uploads := make([]manifest.Upload, 0, len(list))
	for _, u := range list {
		uploads = append(uploads, u.Upload)
	}
	if len(uploads) > 0 {
		text, err := json.Marshal(uploads)
		if err != nil {
			return err
		}
		next.Uploads = fingerprint(string(text))
	}
	if x.Kind == manifest.Baseline || next.Uploads != last.Uploads {
		x.Uploads = uploads
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
