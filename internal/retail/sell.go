package retail

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"caisseauto/internal/sqlite/sqlite3"
)

// SellOptions say what a till sells.
type SellOptions struct {
	Dossier string    // ACME
	Till    string    // 001
	From    int64     // number of the first ticket; 0: the one after the newest
	Count   int       // tickets; 1
	Lines   int       // of each ticket; 0: one to seven
	Seed    uint64    // 1
	At      time.Time // of the first ticket; 2026-03-02T09:00:00Z

	// PerTransaction is how many tickets are written in one transaction: one,
	// as a till does, unless a measurement needs many rows soon.
	PerTransaction int
	// NoJET leaves out the technical events of the day.
	NoJET bool
}

func (o SellOptions) withDefaults() SellOptions {
	if o.Dossier == "" {
		o.Dossier = "ACME"
	}
	if o.Till == "" {
		o.Till = "001"
	}
	o.Count = max(o.Count, 1)
	o.PerTransaction = max(o.PerTransaction, 1)
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.At.IsZero() {
		o.At = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	}
	return o
}

// Sales are what Sell wrote: whole transactions only, also after an error.
type Sales struct {
	Tickets     int64
	First, Last int64 // numbers of tickets; 0: none
	Rows        int64 // of all tables
	Amount      int64 // total of the tickets, in cents
}

// Sell lets a till sell: for each ticket one transaction with the header, its
// lines and its payments, in that order. Articles and customers are those of
// the dossier in the database; where there are no articles, invented ones. Of
// each ticket the lines add up to its total, and so do its payments, and the
// total is the amount before tax and the tax. The same options on the same
// database give the same rows.
//
// The till's opening, its closing and now and then its drawer stand in the
// journal of technical events.
func Sell(ctx context.Context, conn *sqlite3.Conn, o SellOptions) (Sales, error) {
	o = o.withDefaults()
	s := &seller{SellOptions: o, conn: conn, rnd: rand.New(rand.NewPCG(o.Seed, o.Seed^0x7ca15e)), at: o.At.UTC()}
	err := s.run(ctx)
	if err != nil {
		err = fmt.Errorf("selling at till %s of dossier %s: %w", o.Till, o.Dossier, err)
	}
	return s.done, err
}

// An item is what a line of a ticket copies of an article.
type item struct {
	code, label string
	price, rate int64
}

// A seller sells at one till.
type seller struct {
	SellOptions
	conn  *sqlite3.Conn
	rnd   *rand.Rand
	at    time.Time
	items []item
	cards []string // customers' codes

	ticket, line, payment, event *sqlite3.Stmt

	done, open Sales // committed; with the transaction that is open
}

func (s *seller) run(ctx context.Context) (err error) {
	if err := s.stock(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.prepare(); err != nil {
		return err
	}
	if err := s.write(func() error { return s.jet("OUVERTURE", "Ouverture de la caisse") }); err != nil {
		return err
	}
	number := s.From
	for sold := 0; sold < s.Count; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(s.PerTransaction, s.Count-sold)
		err := s.write(func() error {
			if number == 0 {
				// In the transaction, or another process could take it too.
				newest, err := s.newest("ticket")
				if err != nil {
					return err
				}
				number = newest + 1
			}
			for i := range n {
				if err := s.sell(number + int64(i)); err != nil {
					return fmt.Errorf("ticket %d: %w", number+int64(i), err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		number, sold = number+int64(n), sold+n
	}
	return s.write(func() error { return s.jet("FERMETURE", "Fermeture de la caisse") })
}

// write is one transaction; what it wrote counts once it is committed.
func (s *seller) write(do func() error) error {
	s.open = s.done
	err := inTransaction(s.conn, do)
	if err == nil {
		s.done = s.open
	}
	return err
}

// stock reads what there is to sell, and to whom.
func (s *seller) stock(ctx context.Context) error {
	err := s.conn.Query("SELECT a.code, a.libelle, a.prix, v.taux FROM article a JOIN tva v ON v.code = a.tva WHERE a.dossier = ? ORDER BY a.code", func(r *sqlite3.Stmt) error {
		s.items = append(s.items, item{r.Text(0), r.Text(1), r.Int(2), r.Int(3)})
		return ctx.Err()
	}, s.Dossier)
	if err != nil {
		return err
	}
	if len(s.items) == 0 {
		s.items = invented()
	}
	return s.conn.Query("SELECT code FROM client WHERE dossier = ? ORDER BY code", func(r *sqlite3.Stmt) error {
		s.cards = append(s.cards, r.Text(0))
		return ctx.Err()
	}, s.Dossier)
}

// invented is what a shop without articles sells.
func invented() []item {
	rates := map[string]int64{"R": 550, "I": 1000, "N": 2000}
	all, items := shelves(), make([]item, 200)
	for i := range items {
		v := all[i%len(all)]
		items[i] = item{articleCode(i), v.label(i / len(all)), int64(v.low + 10*(i/len(all))), rates[v.vat]}
	}
	return items
}

func (s *seller) prepare() (err error) {
	for _, p := range []struct {
		to  **sqlite3.Stmt
		sql string
	}{
		{&s.ticket, "INSERT INTO ticket (dossier, caisse, numero, horodatage, utilisateur, client, annule, total_ht, total_tva, total_ttc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
		{&s.line, "INSERT INTO ticket_ligne (dossier, caisse, ticket, ligne, article, libelle, quantite, prix, remise, taux_tva, montant) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
		{&s.payment, "INSERT INTO reglement (dossier, caisse, ticket, rang, moyen, montant) VALUES (?, ?, ?, ?, ?, ?)"},
		{&s.event, "INSERT INTO jet (dossier, caisse, numero, horodatage, code, utilisateur, libelle, donnees) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
	} {
		if *p.to, err = s.conn.Prepare(p.sql); err != nil {
			return err
		}
	}
	return nil
}

func (s *seller) close() (err error) {
	for _, p := range []*sqlite3.Stmt{s.ticket, s.line, s.payment, s.event} {
		if p != nil {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}

// add runs one INSERT.
func (s *seller) add(stmt *sqlite3.Stmt, args ...any) error {
	s.open.Rows++
	return run(stmt, append([]any{s.Dossier, s.Till}, args...)...)
}

func (s *seller) now() string { return s.at.Format(time.RFC3339) }

// jet writes a technical event under the till's next number.
func (s *seller) jet(code, text string) error {
	if s.NoJET {
		return nil
	}
	n, err := s.newest("jet")
	if err != nil {
		return err
	}
	return s.add(s.event, n+1, s.now(), code, DefaultUser(s.Till), text, nil)
}

// newest returns the till's highest number in a table that counts.
func (s *seller) newest(table string) (n int64, err error) {
	err = s.conn.Query("SELECT coalesce(max(numero), 0) FROM "+table+" WHERE dossier = ? AND caisse = ?", func(r *sqlite3.Stmt) error {
		n = r.Int(0)
		return nil
	}, s.Dossier, s.Till)
	return n, err
}
