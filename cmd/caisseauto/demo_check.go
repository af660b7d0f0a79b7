package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/retail"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/internal/term"
)

// table compares the tills with the server and prints what a person wants to
// know of each.
func (d *demo) table(ctx context.Context) error {
	t := term.NewTable("till", "articles", "rows", "differences", "rows of "+retail.Other().Dossier)
	var wrong []string
	for _, number := range d.tills {
		want, err := d.contents(ctx, d.server("erp.db"), number)
		if err != nil {
			return err
		}
		got, err := d.contents(ctx, d.till(number, "till.db"), "")
		if err != nil {
			return err
		}
		different := want.differs(got)
		strangers, err := d.strangers(number)
		if err != nil {
			return err
		}
		if len(different) > 0 || strangers > 0 {
			wrong = append(wrong, fmt.Sprintf("till %s: tables %v, %d rows of another company", number, different, strangers))
		}
		t.Row(number, term.Count(got.rows["article"]), term.Count(got.total()), none(len(different)), none(int(strangers)))
	}
	d.app.printf("\n")
	if err := t.Print(d.app.stdout); err != nil {
		return err
	}
	if wrong != nil {
		return fmt.Errorf("the tills are not what the server is: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func none(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

// A snapshot is what a database holds of the exchanged tables: a digest over
// every value of every row, and counts.
type snapshot struct {
	digest map[string][32]byte
	rows   map[string]int64
}

func (s snapshot) total() (n int64) {
	for _, r := range s.rows {
		n += r
	}
	return n
}

// differs returns the tables whose values are not the same.
func (s snapshot) differs(o snapshot) (tables []string) {
	for t, sum := range s.digest {
		if o.digest[t] != sum {
			tables = append(tables, t)
		}
	}
	slices.Sort(tables)
	return tables
}

// contents reads what a database holds of the demo's company; of the server's,
// what is meant for one till: all of it, but of the users those who are
// attached to that till.
func (d *demo) contents(ctx context.Context, path, till string) (snapshot, error) {
	s := snapshot{digest: map[string][32]byte{}, rows: map[string]int64{}}
	c, err := sqlite3.Open(path, sqlite3.ReadOnly)
	if err != nil {
		return s, err
	}
	defer c.Close()
	for _, t := range retail.Exchange() {
		if t.Direction == "up" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if err := s.read(c, t, till); err != nil {
			return s, err
		}
	}
	return s, nil
}

// attached are the users of one till.
const attached = " IN (SELECT utilisateur FROM utilisateur_caisse WHERE caisse = ?)"

func (s snapshot) read(c *sqlite3.Conn, t retail.Table, till string) error {
	table, err := sqlite.ReadTable(c, t.Name)
	if err != nil {
		return err
	}
	var columns []string
	for _, col := range table.Columns {
		if !slices.Contains(t.Exclude, col.Name) {
			columns = append(columns, database.Quote(col.Name))
		}
	}
	list := strings.Join(columns, ", ")
	sql, args := "SELECT "+list+" FROM "+database.Quote(t.Name), []any{}
	if t.DossierColumn != "" {
		sql += " WHERE " + database.Quote(t.DossierColumn) + " = ?"
		args = append(args, demoDossier)
	}
	if user := map[string]string{"utilisateur": "code", "utilisateur_caisse": "utilisateur"}[t.Name]; user != "" && till != "" {
		sql += " AND " + user + attached
		args = append(args, till)
	}
	hash, line := sha256.New(), []byte(nil)
	err = c.Query(sql+" ORDER BY "+list, func(row *sqlite3.Stmt) error {
		line = line[:0]
		for i := range row.Columns() {
			v := row.Value(i)
			line = append(change.AppendValue(line, &v), ',')
		}
		s.rows[t.Name]++
		hash.Write(append(line, '\n'))
		return nil
	}, args...)
	s.digest[t.Name] = [32]byte(hash.Sum(nil))
	return err
}

// strangers counts another company's rows on a till.
func (d *demo) strangers(number string) (n int64, err error) {
	c, err := sqlite3.Open(d.till(number, "till.db"), sqlite3.ReadOnly)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for _, t := range retail.Exchange() {
		if t.DossierColumn == "" {
			continue
		}
		sql := "SELECT count(*) FROM " + database.Quote(t.Name) + " WHERE " + database.Quote(t.DossierColumn) + " <> ?"
		if err := c.Query(sql, func(s *sqlite3.Stmt) error { n += s.Int(0); return nil }, demoDossier); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// users tells which accounts stay on each till.
func (d *demo) users(context.Context) error {
	for _, number := range d.tills {
		all, err := d.number(d.server("erp.db"), "SELECT count(*) FROM utilisateur WHERE dossier = '"+demoDossier+"'")
		if err != nil {
			return err
		}
		here, err := d.number(d.till(number, "till.db"), "SELECT count(*) FROM utilisateur")
		if err != nil {
			return err
		}
		d.say("till %s   keeps the %d users who are attached to it; %d others are gone", number, here, all-here)
	}
	return nil
}

// number returns the one number of a query.
func (d *demo) number(path, sql string) (n int64, err error) {
	c, err := sqlite3.Open(path, sqlite3.ReadOnly)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	err = c.Query(sql, func(s *sqlite3.Stmt) error { n = s.Int(0); return nil })
	return n, err
}
