package sqlite

import (
	"fmt"
	"log/slog"
	"strings"

	"caisseauto/internal/change"
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
	if err := r.rules.warn(r.t.o.Log); err != nil {
		return err
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
	if s == nil {
		return 0, nil
	}
	if err := s.guard(); err != nil {
		return 0, err
	}
	if s.registry != nil && s.Registry.DeleteOthers {
		if deleted, err = s.deleteOthers(tables); err != nil {
			return deleted, err
		}
	}
	if s.users == nil {
		return deleted, nil
	}
	if s.attach != nil { // before the users: a foreign key may wait for nothing
		n, err := s.remove(s.attach, s.surplus(), s.till)
		if deleted += n; err != nil {
			return deleted, err
		}
	}
	n, err := s.remove(s.users, "("+s.kept()+") IS NOT 1", s.till)
	return deleted + n, err
}

// warn tells of users who are attached to the till and are not here: their
// dossier is another, or their attachment came without them.
func (s *ruleSet) warn(log *slog.Logger) error {
	if s == nil || s.attach == nil {
		return nil
	}
	const most = 5
	var list []string
	u := s.Users
	err := s.conn.Query(fmt.Sprintf("SELECT %[1]s FROM %[2]s WHERE %[3]s IS ?1 AND %[1]s COLLATE %[4]s NOT IN (SELECT %[5]s FROM %[6]s WHERE %[5]s IS NOT NULL) LIMIT %[7]d",
		Quote(u.AttachmentUser), Quote(s.attach.Name), Quote(u.AttachmentTill), Quote(s.userKey.Collation), Quote(s.userKey.Name), Quote(s.users.Name), most),
		func(q *sqlite3.Stmt) error { list = append(list, plainText(q.Value(0))); return nil }, s.till)
	if err == nil && len(list) > 0 {
		log.Warn("attached to this till, but their rows are not here: of another dossier, or attached after the first load without touches = \""+s.users.Name+"\" in server.toml",
			"till", s.Till, "users", strings.Join(list, ", "))
	}
	return err
}

// remove deletes the rows of a table that a condition names. A NULL in it
// names nothing.
func (s *ruleSet) remove(t *Table, where string, args ...any) (int64, error) {
	if err := s.conn.Run("DELETE FROM "+Quote(t.Name)+" AS child WHERE "+where, args...); err != nil {
		if sqlite3.IsConstraint(err) {
			return 0, fmt.Errorf("%w: rows of table %s that are not this till's cannot be deleted here: %w; nothing was applied; remove the till's own rows that refer to them",
				manifest.ErrRefused, Quote(t.Name), err)
		}
		return 0, fmt.Errorf("table %s: %w", Quote(t.Name), err)
	}
	return s.conn.Changes(), nil
}

// guard refuses what a till could not work with.
func (s *ruleSet) guard() error {
	if s.users != nil {
		for _, g := range []struct{ setting, user string }{{"service_user", s.ServiceUser}, {"default_user", s.DefaultUser}} {
			if g.user == "" {
				continue
			}
			if err := s.guardUser(g.setting, g.user); err != nil {
				return fmt.Errorf("till %s: %w", s.Till, err)
			}
		}
	}
	if s.registry == nil {
		return nil
	}
	found, err := s.exists("SELECT 1 FROM "+Quote(s.registry.Name)+" WHERE NOT "+s.other(), s.registryArgs()...)
	if err != nil || found {
		return err
	}
	where := fmt.Sprintf("%s = %q", s.Registry.Key, s.Till)
	if s.registryDossier != "" {
		where += fmt.Sprintf(" and %s = %q", s.registryDossier, s.Dossier)
	}
	return fmt.Errorf("till %s: %w: the till would not find itself: table %s has no row with %s after the import; nothing was applied; register the till at the server (table %s), make a baseline there (caisseauto export --baseline) and import again, or correct number and registry in till.toml",
		s.Till, manifest.ErrRefused, Quote(s.registry.Name), where, s.registry.Name)
}

// baselineHint ends the errors of which the cause is mended at the server: the
// batch that was refused stays as it is, and a newer baseline gets past it.
const baselineHint = "then make a baseline there (caisseauto export --baseline), and import again"

// guardUser refuses to lose one user, and a default user of another dossier.
func (s *ruleSet) guardUser(setting, user string) error {
	dossier, compare := "NULL", s.dossier != "" && s.Dossier != "" && setting == "default_user"
	if compare {
		dossier = Quote(s.dossier)
	}
	there, stays, of := false, false, change.Value{}
	err := s.conn.Query(fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s IS ?2 COLLATE %s", s.kept(), dossier, Quote(s.users.Name), Quote(s.userKey.Name), Quote(s.userKey.Collation)),
		func(q *sqlite3.Stmt) error {
			there, stays, of = true, q.Int(0) != 0, q.Value(1)
			of.Bytes = append([]byte(nil), of.Bytes...)
			return nil
		}, s.till, stored(user, s.users.Column(s.userKey.Name).Type))
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
		manifest.ErrRefused, setting, user, Quote(s.users.Name), of, s.Till, baselineHint, setting, move)
}

// plainText returns a value as a person writes it.
func plainText(v change.Value) string {
	if v.Kind == change.Text || v.Kind == change.Blob {
		return string(v.Bytes)
	}
	return showValue(v)
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
	registry := Quote(s.registry.Name)
	where := fmt.Sprintf("NOT EXISTS (SELECT 1 FROM %s WHERE NOT %s", registry, s.other())
	for i, c := range to {
		where += fmt.Sprintf(" AND %s.%s = child.%s", registry, Quote(c), Quote(f.From[i]))
	}
	where += ")"
	for _, c := range f.From {
		where += " AND child." + Quote(c) + " IS NOT NULL"
	}
	return where
}
