package retail

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/testdata/schema"
)

// Options say what a dossier holds. The zero value is the demo's dossier.
type Options struct {
	Dossier      string   // ACME
	Articles     int      // 10,000
	Customers    int      // 1,000
	Tills        []string // 001, 002, 003
	UsersPerTill int      // 4, beside the till's own account and the service account
	ServiceUser  string   // SYNC; an account that may work at every till
	Seed         uint64   // 1
}

// Other returns the options of a second, small dossier on the same server. It
// has the article codes and bar codes of the first one with other prices, so
// that a row in the wrong place shows.
func Other() Options {
	return Options{Dossier: "BETA", Articles: 200, Customers: 20, Tills: []string{"901"}, UsersPerTill: 2, ServiceUser: "SYNC_BETA", Seed: 2}
}

func (o Options) withDefaults() Options {
	if o.Dossier == "" {
		o.Dossier = "ACME"
	}
	if o.Articles == 0 {
		o.Articles = 10_000
	}
	if o.Customers == 0 {
		o.Customers = 1_000
	}
	if o.Tills == nil {
		o.Tills = []string{"001", "002", "003"}
	}
	if o.UsersPerTill == 0 {
		o.UsersPerTill = 4
	}
	if o.ServiceUser == "" {
		o.ServiceUser = "SYNC"
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	return o
}

// CreateSchema makes the empty tables.
func CreateSchema(conn *sqlite3.Conn) error { return conn.Exec(schema.Retail) }

// DefaultUser returns the code of the account that belongs to one till.
func DefaultUser(till string) string { return "CAISSE" + till }

// A filler writes one dossier's rows.
type filler struct {
	Options
	ctx  context.Context
	conn *sqlite3.Conn
	rnd  *rand.Rand
	rows int64

	staff []account // made with the users, used for their attachments
}

// Fill adds a dossier's reference data in one transaction, and returns how
// many rows that made. A dossier that is there already is an error, and
// leaves everything as it was.
func Fill(ctx context.Context, conn *sqlite3.Conn, o Options) (rows int64, err error) {
	o = o.withDefaults()
	f := &filler{Options: o, ctx: ctx, conn: conn, rnd: rand.New(rand.NewPCG(o.Seed, o.Seed))}
	err = inTransaction(conn, func() error {
		// Parents before children: the caller may have switched foreign keys on.
		for _, fill := range []func() error{f.vat, f.articles, f.barcodes, f.tariffs, f.payments,
			f.tills, f.parameters, f.users, f.attachments, f.customers} {
			if err := errors.Join(fill(), ctx.Err()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("filling dossier %s: %w", o.Dossier, err)
	}
	return f.rows, nil
}

// ChangePrices gives n of the dossier's articles another price, spread evenly
// over all of them, and returns how many it changed: fewer than n when there
// are fewer articles.
func ChangePrices(ctx context.Context, conn *sqlite3.Conn, dossier string, n int, seed uint64) (int, error) {
	rnd := rand.New(rand.NewPCG(seed, seed))
	var codes []string
	err := conn.Query("SELECT code FROM article WHERE dossier = ? ORDER BY code", func(s *sqlite3.Stmt) error {
		codes = append(codes, s.Text(0))
		return ctx.Err()
	}, dossier)
	if err != nil {
		return 0, fmt.Errorf("changing prices in dossier %s: %w", dossier, err)
	}
	n = min(n, len(codes))
	err = inTransaction(conn, func() error {
		up, err := conn.Prepare("UPDATE article SET prix = prix + ?, modifie_le = '2026-03-02T06:00:00Z' WHERE dossier = ? AND code = ?")
		if err != nil {
			return err
		}
		defer up.Close()
		for i := range n {
			// Never zero, never downwards: every named article changes, and
			// no price becomes negative.
			err := run(up, 1+rnd.IntN(50), dossier, codes[i*len(codes)/n])
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("changing prices in dossier %s: %w", dossier, err)
	}
	return n, nil
}

func inTransaction(conn *sqlite3.Conn, do func() error) error {
	if err := conn.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		err = conn.Exec("COMMIT")
	}
	if err != nil && conn.InTransaction() {
		err = errors.Join(err, conn.Exec("ROLLBACK"))
	}
	return err
}

// run runs a prepared statement that returns no rows.
func run(s *sqlite3.Stmt, args ...any) error {
	if err := s.BindArgs(args...); err != nil {
		return err
	}
	_, err := s.Step()
	return err
}

// insert prepares an INSERT into table for as many values as there are
// columns, calls rows with a function that adds one, and counts.
func (f *filler) insert(into string, columns int, rows func(add func(...any) error) error) error {
	sql := "INSERT INTO " + into + " VALUES (?"
	for range columns - 1 {
		sql += ", ?"
	}
	s, err := f.conn.Prepare(sql + ")")
	if err != nil {
		return err
	}
	err = rows(func(args ...any) error {
		f.rows++
		return run(s, args...)
	})
	return errors.Join(err, s.Close())
}
