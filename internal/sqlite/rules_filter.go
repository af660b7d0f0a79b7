package sqlite

import (
	"fmt"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// enforce makes the till's rules hold after the rows of a batch.
func (r *applyRun) enforce() (err error) {
	if r.rules == nil {
		return nil
	}
	r.t.hook("filter")
	tables := make([]*Table, len(r.plan.tables))
	for i, t := range r.plan.tables {
		tables[i] = t.Table
	}
	if r.res.Filtered, err = r.rules.enforce(tables); err != nil {
		return err
	}
	r.t.hook("filtered")
	return nil
}

// enforce makes the rules hold, in the transaction that is open: guards first,
// then the filter. tables are those of the batch, beside the rules' own. It
// returns how many rows it deleted.
func (s *ruleSet) enforce(tables []*Table) (deleted int64, err error) {
	hold, err := s.usersHold()
	if err != nil {
		return 0, err
	}
	if err := s.guard(hold); err != nil {
		return 0, err
	}
	if s.deletesOthers() {
		if deleted, err = s.deleteOthers(tables); err != nil {
			return deleted, err
		}
	}
	if hold {
		return deleted, nil
	}
	if s.attach != nil { // before the users: a foreign key may wait for nothing
		if err := s.warn(); err != nil {
			return deleted, err
		}
		n, err := s.remove(s.attach, s.surplus(), s.till)
		if deleted += n; err != nil {
			return deleted, err
		}
	}
	n, err := s.remove(s.users, "("+s.kept()+") IS NOT 1", s.till)
	return deleted + n, err
}

// usersHold reports whether every user belongs to the till and every
// attachment to a user: nothing is to be deleted, and nobody is missing. It is
// what each import asks while it holds the lock, so it is two looks and not
// the five of the deletes and guards.
func (s *ruleSet) usersHold() (bool, error) {
	if s.users == nil {
		return true, nil
	}
	found, err := s.exists("SELECT 1 FROM "+database.Quote(s.users.Name)+" WHERE ("+s.kept()+") IS NOT 1", s.till)
	if err != nil || found || s.attach == nil {
		return !found && err == nil, err
	}
	found, err = s.exists("SELECT 1 FROM " + database.Quote(s.attach.Name) + " WHERE " + s.strange())
	return !found && err == nil, err
}

// missing lists, up to a few, users who are attached to the till and are not
// here.
func (s *ruleSet) missing() (list []string, err error) {
	u := s.Users
	args, where := []any{s.till}, ""
	if s.apart != "" {
		args, where = append(args, s.Dossier), " AND "+database.Quote(s.apart)+" IS ?2"
	}
	err = s.conn.Query(fmt.Sprintf("SELECT %[1]s FROM %[2]s WHERE %[3]s IS ?1%[4]s AND %[5]s LIMIT 5",
		database.Quote(u.AttachmentUser), database.Quote(s.attach.Name), database.Quote(u.AttachmentTill), where, s.strange()),
		func(q *sqlite3.Stmt) error { list = append(list, plainText(q.Value(0))); return nil }, args...)
	return list, err
}

// guardAttached refuses to lose a user of this till's dossier who is attached
// and did not come. Attachments that do not say their dossier may be another
// dossier's, of which the user is: they are no reason to refuse.
func (s *ruleSet) guardAttached() error {
	if s.attach == nil || s.apart == "" {
		return nil
	}
	list, err := s.missing()
	if err != nil || len(list) == 0 {
		return err
	}
	return fmt.Errorf("%w: table %s attaches user %s to this till, but table %s has no such user after the import; nothing was applied; if he is one of dossier %s, write touches = %[4]q for table %[6]s in server.toml; if not, detach him at the server (table %[6]s); %[7]s",
		manifest.ErrRefused, database.Quote(s.attach.Name), strings.Join(list, ", "), s.users.Name, s.Dossier, s.attach.Name, baselineHint)
}

// warn tells of users who are attached to the till and are not here, where
// that is not refused.
func (s *ruleSet) warn() error {
	if s.attach == nil || s.apart != "" {
		return nil
	}
	list, err := s.missing()
	if err == nil && len(list) > 0 {
		s.log.Warn("attached to this till, but their rows are not here: of another dossier, or attached after the first load without touches = \""+s.users.Name+"\" in server.toml",
			"till", s.Till, "users", strings.Join(list, ", "))
	}
	return err
}

// remove deletes the rows of a table that a condition names. A NULL in it
// names nothing.
func (s *ruleSet) remove(t *Table, where string, args ...any) (int64, error) {
	if err := s.conn.Run("DELETE FROM "+database.Quote(t.Name)+" AS child WHERE "+where, args...); err != nil {
		if sqlite3.IsConstraint(err) {
			return 0, fmt.Errorf("%w: rows of table %s that are not this till's cannot be deleted here: %w; nothing was applied; remove the till's own rows that refer to them",
				manifest.ErrRefused, database.Quote(t.Name), err)
		}
		return 0, fmt.Errorf("table %s: %w", database.Quote(t.Name), err)
	}
	return s.conn.Changes(), nil
}

// guard refuses what a till could not work with; hold is what usersHold says.
func (s *ruleSet) guard(hold bool) error {
	if s.users != nil {
		for _, g := range []struct{ setting, user string }{{"service_user", s.ServiceUser}, {"default_user", s.DefaultUser}} {
			if g.user == "" {
				continue
			}
			if err := s.guardUser(g.setting, g.user); err != nil {
				return fmt.Errorf("till %s: %w", s.Till, err)
			}
		}
		if !hold {
			if err := s.guardAttached(); err != nil {
				return fmt.Errorf("till %s: %w", s.Till, err)
			}
		}
	}
	if s.registry == nil {
		return nil
	}
	found, err := s.exists("SELECT 1 FROM "+database.Quote(s.registry.Name)+" WHERE NOT "+s.other(), s.registryArgs()...)
	if err != nil || found {
		return err
	}
	where := fmt.Sprintf("%s = %q", s.Registry.Key, s.Till)
	if s.registryDossier != "" {
		where += fmt.Sprintf(" and %s = %q", s.registryDossier, s.Dossier)
	}
	return fmt.Errorf("till %s: %w: the till would not find itself: table %s has no row with %s after the import; nothing was applied; register the till at the server (table %s), make a baseline there (caisseauto export --baseline) and import again, or correct number and registry in till.toml",
		s.Till, manifest.ErrRefused, database.Quote(s.registry.Name), where, s.registry.Name)
}

// baselineHint ends the errors of which the cause is mended at the server: the
// batch that was refused stays as it is, and a newer baseline gets past it.
const baselineHint = "then make a baseline there (caisseauto export --baseline), and import again"

// guardUser refuses to lose one user, and a default user of another dossier.
func (s *ruleSet) guardUser(setting, user string) error {
	dossier, compare := "NULL", s.dossier != "" && s.Dossier != "" && setting == "default_user"
	if compare {
		dossier = database.Quote(s.dossier)
	}
	there, stays, of := false, false, change.Value{}
	err := s.conn.Query(fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s IS ?2 COLLATE %s ORDER BY %[2]s IS ?3", s.belongs(), dossier, database.Quote(s.users.Name), database.Quote(s.userKey.Name), database.Quote(s.userKey.Collation)),
		func(q *sqlite3.Stmt) error {
			there, stays, of = true, q.Int(0) != 0, q.Value(1)
			of.Bytes = append([]byte(nil), of.Bytes...)
			return nil
		}, s.till, stored(user, s.users.Column(s.userKey.Name).Type), s.Dossier)
	if err != nil {
		return err
	}
	if !there {
		return s.noUser(setting, user)
	}
	if got := plainText(of); compare && got != s.Dossier {
		return fmt.Errorf("%w: default_user %q belongs to dossier %s after the import, and this till follows dossier %s; nothing was applied, two dossiers never mix in one database; if the till is to move: caisseauto init till --move --dossier %s; if not, correct the user's dossier at the server, %s",
			manifest.ErrRefused, user, got, s.Dossier, got, baselineHint)
	}
	if stays {
		return nil
	}
	u := s.Users
	missing := fmt.Sprintf("his %s is not %s in table %s; nothing was applied; set it at the server", u.TillColumn, quoteText(s.Till), u.Table)
	if s.attach != nil {
		missing = fmt.Sprintf("no row in %s with %s = %s and %s = %s; nothing was applied; attach %s to till %s at the server (table %[1]s)",
			u.AttachmentTable, u.AttachmentUser, quoteText(user), u.AttachmentTill, quoteText(s.Till), user, s.Till)
	}
	return fmt.Errorf("%w: the import would delete %s %q: %s, %s", manifest.ErrRefused, setting, user, missing, baselineHint)
}

// noUser is the error for a user who has no row.
func (s *ruleSet) noUser(setting, user string) error {
	of, move := "", ""
	if s.Dossier != "" {
		of = " of dossier " + s.Dossier
		if setting == "default_user" {
			move = "; if he has moved to another dossier and the till is to follow him: caisseauto init till --move --dossier CODE"
		}
	}
	return fmt.Errorf("%w: the import would leave the till without %s %q: table %s has no such user%s; nothing was applied; add him at the server with his attachment to till %s, %s, or correct %s in till.toml%s",
		manifest.ErrRefused, setting, user, database.Quote(s.users.Name), of, s.Till, baselineHint, setting, move)
}

// plainText returns a value as a person writes it.
func plainText(v change.Value) string {
	if v.Kind == change.Text || v.Kind == change.Blob {
		return string(v.Bytes)
	}
	return database.ShowValue(v)
}

// deleteOthers deletes the other tills' rows of the registry, and before them
// the rows of the batch's tables and of the attachments that refer to them.
func (s *ruleSet) deleteOthers(tables []*Table) (deleted int64, err error) {
	list := append([]*Table{}, tables...)
	if s.attach != nil && !s.is(s.attach.Name, tables...) {
		list = append(list, s.attach)
	}
	for i := len(list) - 1; i >= 0; i-- { // the batch has parents first
		if sameName(list[i].Name, s.registry.Name) {
			continue
		}
		for _, f := range list[i].ForeignKeys {
			if !sameName(f.Table, s.registry.Name) {
				continue
			}
			n, err := s.remove(list[i], s.refersToOthers(f), s.registryArgs()...)
			if deleted += n; err != nil {
				return deleted, err
			}
		}
	}
	n, err := s.remove(s.registry, s.other(), s.registryArgs()...)
	return deleted + n, err
}

// refersToOthers is the condition that a row refers to a row of the registry
// that does not stay, or is not there.
func (s *ruleSet) refersToOthers(f ForeignKey) string {
	to := f.To
	if len(to) == 0 {
		to = s.registry.Key
	}
	registry := database.Quote(s.registry.Name)
	where := fmt.Sprintf("NOT EXISTS (SELECT 1 FROM %s WHERE NOT %s", registry, s.other())
	for i, c := range to {
		where += fmt.Sprintf(" AND %s.%s = child.%s", registry, database.Quote(c), database.Quote(f.From[i]))
	}
	where += ")"
	for _, c := range f.From {
		where += " AND child." + database.Quote(c) + " IS NOT NULL"
	}
	return where
}
