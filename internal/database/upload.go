package database

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/manifest"
)

// tillColumns and versionColumns are the names that are looked for where the
// configuration names none.
var (
	tillColumns    = []string{"caisse", "till"}
	versionColumns = []string{"modifie_le", "updated_at", "modified_at", "version"}
)

// An Upload is one table as it is taken in: what tills are told of it, and
// what the server itself has to know.
type Upload struct {
	manifest.Upload
	Live     *Table
	Config   UploadConfig
	Conflict string  // mode both: a Conflict constant
	Version  string  // the column that says which of two rows is newer, "" where none is looked at
	Above    *Upload // the table of the rows that these are parts of, nil: none
	Depth    int     // how many are above
}

// Uploads returns what tills are asked to send, parents first. Read returns a
// table with its key as the configuration has it; its errors say what is to
// be done, and one that wraps [ErrNoTable] is told so.
func Uploads(list []UploadConfig, read func(UploadConfig) (*Table, error)) ([]*Upload, error) {
	var uploads []*Upload
	for _, config := range list {
		u, err := newUpload(config, read)
		if err == nil && FindUpload(uploads, u.Table) != nil {
			err = errors.New("is there twice; leave one of them out")
		}
		if err != nil {
			return nil, fmt.Errorf("table %s, on its way up: %w", Quote(config.Name), err)
		}
		uploads = append(uploads, u)
	}
	for _, u := range uploads {
		if err := u.findParent(uploads); err != nil {
			return nil, fmt.Errorf("table %s, on its way up: %w", Quote(u.Table), err)
		}
	}
	return uploadOrder(uploads)
}

// FindUpload returns the upload of a table, nil when there is none. The name
// may come from a till.
func FindUpload(list []*Upload, name string) *Upload {
	for _, u := range list {
		if u.Live.Same(u.Table, name) {
			return u
		}
	}
	return nil
}

// newUpload finds all that one table alone says.
func newUpload(config UploadConfig, read func(UploadConfig) (*Table, error)) (*Upload, error) {
	t, err := read(config)
	if errors.Is(err, ErrNoTable) {
		return nil, fmt.Errorf("%w; correct its name in the configuration or leave it out", err)
	}
	if err != nil {
		return nil, err
	}
	if low := strings.ToLower(t.Name); strings.HasPrefix(low, "sqlite_") || strings.HasPrefix(low, "caisseauto_") {
		return nil, errors.New("no till may write to such a table; leave it out")
	}
	u := &Upload{Live: t, Config: config}
	u.Table, u.Mode, u.Key = t.Name, config.Mode, t.Key
	if !slices.Contains([]manifest.Mode{manifest.Append, manifest.Replace, manifest.Both}, u.Mode) {
		return nil, fmt.Errorf("mode %q is not append, replace or both", u.Mode)
	}
	for _, find := range []func() error{u.findColumns, u.findNumber, u.findVersion, u.checkExclude, u.findSent} {
		if err := find(); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// named returns the column that a setting of the configuration names.
func (u *Upload) named(setting, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	col := u.Live.Column(name)
	if col == nil || col.Generated {
		return "", fmt.Errorf("%s %s is no plain column of the table, which has %q", setting, Quote(name), u.Live.ColumnNames())
	}
	return col.Name, nil
}

// findColumns finds the dossier's column, the till's and those of the totals.
func (u *Upload) findColumns() (err error) {
	if u.Dossier, err = u.named("dossier_column", u.Config.DossierColumn); err != nil {
		return err
	}
	if u.Dossier != "" && u.Config.Dossier == "" {
		return fmt.Errorf("dossier_column %s is set, but no dossier to look for in it", Quote(u.Dossier))
	}
	till := u.Config.TillColumn
	for _, name := range tillColumns {
		if col := u.Live.Column(name); till == "" && col != nil && !col.Generated {
			till = name
		}
	}
	if u.Till, err = u.named("till_column", till); err != nil {
		return err
	}
	for _, name := range u.Config.Totals {
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
func (u *Upload) findNumber() (err error) {
	number := u.Config.NumberColumn
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
		if len(rest) == 1 && u.Live.Column(rest[0]).Integer {
			number = rest[0]
		}
	}
	u.Number, err = u.named("number_column", number)
	return err
}

// findVersion finds how conflicts are resolved.
func (u *Upload) findVersion() (err error) {
	if u.Mode != manifest.Both {
		return nil
	}
	u.Conflict = u.Config.Conflict
	switch u.Conflict {
	case "":
		u.Conflict = ConflictNewest
	case ConflictNewest, ConflictServer, ConflictTill, ConflictHold:
	default:
		return fmt.Errorf("conflict %q is not newest, server, till or hold", u.Conflict)
	}
	version := u.Config.VersionColumn
	for _, name := range versionColumns {
		if version == "" && u.Conflict == ConflictNewest && u.Live.Column(name) != nil {
			version = name
		}
	}
	if version == "" && u.Conflict == ConflictNewest {
		return fmt.Errorf(`conflict = "newest" needs a column that grows with each change, and the table has none of %q; name it: version_column = "…", or write conflict = "server", "till" or "hold"`,
			versionColumns)
	}
	u.Version, err = u.named("version_column", version)
	return err
}

// checkExclude takes the columns that are not sent, and refuses to exclude what
// the rules themselves look at.
func (u *Upload) checkExclude() error {
	for _, name := range u.Config.Exclude {
		if u.Live.Column(name) == nil {
			return fmt.Errorf("exclude names column %s, which does not exist; the table has %q", Quote(name), u.Live.ColumnNames())
		}
		needed := slices.Concat(u.Key, u.Sums, []string{u.Dossier, u.Till, u.Number, u.Version})
		if u.Live.Has(needed, name) {
			return fmt.Errorf("exclude names column %s, which the key, a till_column, a total or a version needs", Quote(name))
		}
		u.Exclude = append(u.Exclude, u.Live.Column(name).Name)
	}
	return nil
}

// findSent lists the columns that a till is to send.
func (u *Upload) findSent() error {
	for _, c := range u.Live.Columns {
		if !c.Generated && !u.Live.Has(u.Exclude, c.Name) {
			u.Columns = append(u.Columns, manifest.Column{Name: c.Name, Type: c.Type})
		}
	}
	return nil
}
