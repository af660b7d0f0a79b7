package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// Standing is what a till's database says of whose it is.
type Standing struct {
	User      string // dossier in the default user's row; "" when it has none
	UserFound bool   // the default user has a row
	Followed  string // dossier of the stream down that was applied; "" before the first import
	Given     string // what [Till.SaveDossier] recorded; "" for nothing
}

// dossierState is the name under which the given dossier is kept.
const dossierState = "dossier"

// ReadStanding reads that from the database file at path, without a lock and
// without changing anything. Tables that are not there yet say nothing.
func ReadStanding(ctx context.Context, path string, rules *Rules) (st Standing, err error) {
	s := NewSource(path, nil, SourceOptions{})
	s.till = true
	err = s.read(ctx, func(db *sqlite3.Conn) error {
		if ok, err := Exists(db, "caisseauto_ledger"); err != nil {
			return err
		} else if ok {
			err := db.Query(`SELECT stream FROM caisseauto_ledger WHERE stream LIKE '%/down' ORDER BY rowid DESC LIMIT 1`, func(q *sqlite3.Stmt) error {
				st.Followed = strings.TrimSuffix(q.Text(0), "/down")
				return nil
			})
			if err != nil {
				return err
			}
		}
		if ok, err := Exists(db, "caisseauto_state"); err != nil {
			return err
		} else if ok {
			if st.Given, err = state(db, dossierState); err != nil {
				return err
			}
		}
		return st.readUser(db, rules)
	})
	return st, err
}

// readUser reads the default user's row.
func (st *Standing) readUser(db *sqlite3.Conn, rules *Rules) error {
	if rules == nil || rules.Users == nil || rules.DefaultUser == "" {
		return nil
	}
	u := rules.Users
	t, err := ReadTable(db, u.Table)
	if errors.Is(err, database.ErrNoTable) {
		return nil
	}
	if err != nil {
		return err
	}
	key := t.Column(u.Key)
	if key == nil {
		return fmt.Errorf("[users] in till.toml names column %s, which table %s does not have; it has %q", database.Quote(u.Key), database.Quote(u.Table), columnNames(t))
	}
	dossier := u.DossierColumn
	if dossier == "" {
		dossier = "dossier"
	}
	column := "NULL"
	if t.Column(dossier) != nil {
		column = database.Quote(dossier)
	} else if u.DossierColumn != "" {
		return fmt.Errorf("[users] dossier_column in till.toml names column %s, which table %s does not have; it has %q", database.Quote(dossier), database.Quote(u.Table), columnNames(t))
	}
	return db.Query("SELECT "+column+" FROM "+database.Quote(t.Name)+" WHERE "+database.Quote(key.Name)+" IS ?1", func(q *sqlite3.Stmt) error {
		namesake := st.User != "" && st.User == st.Followed // one row is enough
		if st.UserFound = true; q.Kind(0) != change.Null && !namesake {
			st.User = plainText(q.Value(0))
		}
		return nil
	}, stored(rules.DefaultUser, key.Type))
}

// SaveDossier records which dossier an operator gave for the first import.
func (t *Till) SaveDossier(ctx context.Context, dossier string) error {
	_, err := t.locked(ctx, nil, func() error {
		if ok, err := Exists(t.conn, "caisseauto_state"); err != nil || !ok {
			return errors.Join(err, fmt.Errorf("%s: %w for an outbox; run: caisseauto init till", t.conn.Path(), database.ErrNotInstalled))
		}
		return setState(t.conn, dossierState, dossier)
	})
	return environment(err)
}

// Settle makes the rules hold where no batch came: those in the configuration
// may be newer than the last import. Before the first import there is nothing
// to do, and nothing is locked where they hold already. The errors are those
// of Apply; it returns how many rows it deleted.
func (t *Till) Settle(ctx context.Context) (filtered int64, err error) {
	s, err := t.ruleSet()
	if err != nil || s == nil {
		return 0, environment(err)
	}
	if p, err := t.ledger().Position(ctx, manifest.StreamDown(s.Dossier)); err != nil || p.IsZero() {
		return 0, environment(err)
	}
	hold, err := s.usersHold()
	if err == nil {
		err = s.guard(hold)
	}
	if err == nil {
		hold, err = s.alone(hold)
	}
	if err != nil || hold {
		return 0, environment(err)
	}
	_, err = t.locked(ctx, nil, func() (err error) {
		quiet, err := Exists(t.conn, "caisseauto_applying")
		if err == nil && quiet { // our own triggers are not to call this the till's change
			err = t.conn.Exec("INSERT OR IGNORE INTO caisseauto_applying VALUES(1)")
		}
		if err != nil {
			return err
		}
		if filtered, err = s.enforce(nil); err != nil || !quiet {
			return err
		}
		return t.conn.Exec("DELETE FROM caisseauto_applying")
	})
	if err != nil {
		return 0, environment(err)
	}
	return filtered, nil
}

// alone reports whether the rules hold, of the registry too.
func (s *ruleSet) alone(hold bool) (bool, error) {
	if !hold || !s.deletesOthers() {
		return hold, nil
	}
	found, err := s.exists("SELECT 1 FROM "+database.Quote(s.registry.Name)+" WHERE "+s.other(), s.registryArgs()...)
	return !found, err
}
