package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// Rules are what holds of a till after every import. They are applied in the
// import's own transaction, after its rows: where they cannot hold, the whole
// import is refused.
type Rules struct {
	Till        string         // the till's number
	Dossier     string         // of the stream that is followed; "": not compared
	DefaultUser string         // the user whose dossier the till follows, "": none
	ServiceUser string         // the account that the till's processes run under, "": none
	Users       *UserRules     // nil: no user is filtered, and those two are not looked for
	Registry    *RegistryRules // nil: not checked
}

// UserRules say which users a till keeps: by a column of their table that
// holds a till's number, or by a table of attachments, never both.
type UserRules struct {
	Table, Key    string
	DossierColumn string // holds a user's dossier; "": "dossier", where the table has such a column
	TillColumn    string

	AttachmentTable, AttachmentUser, AttachmentTill string
}

// RegistryRules say in which table a till must find its own number.
type RegistryRules struct {
	Table, Key   string
	DeleteOthers bool // the rows of other tills do not stay
}

// A ruleSet is the rules as they apply to the tables of one database.
type ruleSet struct {
	*Rules
	conn *sqlite3.Conn
	log  *slog.Logger

	number  string // the till's, folded
	users   *Table // nil: no user is filtered
	userKey IndexColumn
	dossier string       // column of users, "" for none
	till    change.Value // as users, or the attachments, store the till's number
	bound   bool         // the attachments refer to users by a foreign key
	attach  *Table       // nil: by a column of users
	apart   string       // column of attach that holds its dossier, "" for none

	registry        *Table // nil: not checked
	registryDossier string
	registered      change.Value // as the registry stores the till's number
}

// ruleSet finds the rules' tables in the database; nil where there are none.
// The error names the key of the till's configuration.
func (t *Till) ruleSet() (*ruleSet, error) {
	if t.o.Rules == nil || t.o.Rules.Users == nil && t.o.Rules.Registry == nil {
		return nil, nil
	}
	s := &ruleSet{Rules: t.o.Rules, conn: t.conn, log: t.o.Log, number: fold(stored(t.o.Rules.Till, ""))}
	if err := s.findUsers(); err != nil {
		return nil, err
	}
	return s, s.findRegistry()
}

// need reads a table that the rules name, and some of its columns.
func (s *ruleSet) need(setting, table string, columns ...string) (*Table, error) {
	tab, err := ReadTable(s.conn, table)
	if errors.Is(err, database.ErrNoTable) {
		return nil, fmt.Errorf("%w: %s in till.toml names table %s, which %s does not have; nothing was applied; correct it, or make the table (caisseauto init till --create-schema)",
			manifest.ErrRefused, setting, database.Quote(table), s.conn.Path())
	}
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		if tab.Column(c) == nil {
			return nil, fmt.Errorf("%w: %s in till.toml names column %s, which table %s does not have; it has %q; nothing was applied",
				manifest.ErrRefused, setting, database.Quote(c), database.Quote(table), columnNames(tab))
		}
	}
	return tab, nil
}

func (s *ruleSet) findUsers() (err error) {
	u := s.Users
	if u == nil {
		return nil
	}
	if s.users, err = s.need("[users]", u.Table, u.Key); err != nil {
		return err
	}
	if s.dossier = u.DossierColumn; s.dossier == "" && s.users.Column("dossier") != nil {
		s.dossier = "dossier"
	}
	if s.dossier != "" {
		if _, err := s.need("[users] dossier_column", u.Table, s.dossier); err != nil {
			return err
		}
	}
	key, _, err := findKey(s.users, []string{u.Key})
	if err != nil && s.dossier != "" { // a till has one dossier
		if both, _, err2 := findKey(s.users, []string{s.dossier, u.Key}); err2 == nil {
			key, err = both[1:], nil
		}
	}
	if err != nil {
		return fmt.Errorf("%w: [users] in till.toml, table %s: %w; nothing was applied", manifest.ErrRefused, database.Quote(u.Table), err)
	}
	if s.userKey = key[0]; s.userKey.Collation == "" {
		s.userKey.Collation = "BINARY"
	}
	if u.TillColumn != "" {
		if _, err := s.need("[users] till_column", u.Table, u.TillColumn); err != nil {
			return err
		}
		s.till = stored(s.Till, s.users.Column(u.TillColumn).Type)
		return nil
	}
	if s.attach, err = s.need("[users] attachment", u.AttachmentTable, u.AttachmentUser, u.AttachmentTill); err != nil {
		return err
	}
	s.till = stored(s.Till, s.attach.Column(u.AttachmentTill).Type)
	s.apart = s.dossierOf(s.attach)
	s.bound = slices.ContainsFunc(s.attach.ForeignKeys, func(f ForeignKey) bool { return sameName(f.Table, s.users.Name) })
	return nil
}

func (s *ruleSet) findRegistry() (err error) {
	r := s.Registry
	if r == nil {
		return nil
	}
	if s.registry, err = s.need("registry", r.Table, r.Key); err != nil {
		return err
	}
	s.registered = stored(s.Till, s.registry.Column(r.Key).Type)
	s.registryDossier = s.dossierOf(s.registry)
	return nil
}

// dossierOf returns the column of another of the rules' tables that holds a
// dossier, as the users' table names it; "" where there is none to compare.
func (s *ruleSet) dossierOf(t *Table) string {
	name := "dossier"
	if s.Users != nil && s.Users.DossierColumn != "" {
		name = s.Users.DossierColumn
	}
	if s.Dossier == "" || t.Column(name) == nil {
		return ""
	}
	return name
}

// kept is the condition that a row of users stays; ?1 is the till's number. It
// reads the attachments once, whether or not they have an index.
func (s *ruleSet) kept() string {
	if s.attach == nil {
		return database.Quote(s.Users.TillColumn) + " IS ?1"
	}
	u := s.Users
	return fmt.Sprintf("%s COLLATE %s IN (SELECT %s FROM %s WHERE %s IS ?1 AND %[3]s IS NOT NULL)",
		database.Quote(s.userKey.Name), database.Quote(s.userKey.Collation), database.Quote(u.AttachmentUser), database.Quote(s.attach.Name), database.Quote(u.AttachmentTill))
}

// belongs is kept for one user alone: his attachments are looked up.
func (s *ruleSet) belongs() string {
	if s.attach == nil {
		return s.kept()
	}
	u := s.Users
	return fmt.Sprintf("EXISTS (SELECT 1 FROM %s AS one WHERE %s.%s COLLATE %s = one.%s AND one.%s IS ?1)",
		database.Quote(s.attach.Name), database.Quote(s.users.Name), database.Quote(s.userKey.Name), database.Quote(s.userKey.Collation), database.Quote(u.AttachmentUser), database.Quote(u.AttachmentTill))
}

// strange is the condition that the user of an attachment is not here.
func (s *ruleSet) strange() string {
	return fmt.Sprintf("(%[1]s IS NULL OR %[1]s COLLATE %[2]s NOT IN (SELECT %[3]s FROM %[4]s WHERE %[3]s IS NOT NULL))",
		database.Quote(s.Users.AttachmentUser), database.Quote(s.userKey.Collation), database.Quote(s.userKey.Name), database.Quote(s.users.Name))
}

// surplus is the condition that an attachment does not stay: that of a user
// who does not, or who is not here. One to this till whose user is not here
// stays where nothing forbids it: he may come later.
func (s *ruleSet) surplus() string {
	u := s.Users
	where := fmt.Sprintf("(%s IS NULL OR %[1]s COLLATE %s NOT IN (SELECT %s FROM %s WHERE %s))",
		database.Quote(u.AttachmentUser), database.Quote(s.userKey.Collation), database.Quote(s.userKey.Name), database.Quote(s.users.Name), s.kept())
	if !s.bound {
		where += " AND " + database.Quote(u.AttachmentTill) + " IS NOT ?1"
	}
	return where
}

// other is the condition that a row of the registry is another till's; ?1 is
// the till's number, ?2 its dossier.
func (s *ruleSet) other() string {
	where := database.Quote(s.Registry.Key) + " IS NOT ?1"
	if s.registryDossier != "" {
		where += " OR " + database.Quote(s.registryDossier) + " IS NOT ?2"
	}
	return "(" + where + ")"
}

func (s *ruleSet) registryArgs() []any {
	if s.registryDossier == "" {
		return []any{s.registered}
	}
	return []any{s.registered, s.Dossier}
}

// exists reports whether a query has a row.
func (s *ruleSet) exists(sql string, args ...any) (found bool, err error) {
	err = s.conn.Query(sql+" LIMIT 1", func(*sqlite3.Stmt) error { found = true; return nil }, args...)
	return found, err
}

// is reports whether the rules take rows out of the table of that name.
func (s *ruleSet) is(name string, tables ...*Table) bool {
	return s != nil && slices.ContainsFunc(tables, func(t *Table) bool { return t != nil && sameName(t.Name, name) })
}
