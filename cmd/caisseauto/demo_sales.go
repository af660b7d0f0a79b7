package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/retail"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/internal/term"
)

const (
	demoTickets = 1000 // that the tills sell, all together
	demoClient  = 3    // the customer, by order, that both sides change
)

// sales is the second part of the story: what the tills sell travels back.
func (d *demo) sales(ctx context.Context) error {
	d.app.printf("\n")
	if err := d.sell(ctx); err != nil {
		return err
	}
	if err := d.changeClient(); err != nil {
		return err
	}
	last := d.tills[len(d.tills)-1]
	for _, number := range d.tills[:len(d.tills)-1] {
		if err := d.sync(ctx, number); err != nil {
			return err
		}
	}
	if err := d.withoutNetwork(ctx, last); err != nil {
		return err
	}
	// Twice: the receipts of the first exchange let rows leave the outboxes,
	// which the journals of technical events (JET) tell; those go up too.
	for range 2 {
		if err := d.collect(ctx); err != nil {
			return err
		}
		for _, number := range d.tills {
			if err := d.sync(ctx, number); err != nil {
				return err
			}
		}
	}
	if err := d.collect(ctx); err != nil {
		return err
	}
	if err := d.round(ctx); err != nil { // the customer's winning version, to every till
		return err
	}
	for _, number := range d.tills {
		if err := d.sync(ctx, number); err != nil {
			return err
		}
	}
	return d.proof(ctx)
}

// sell lets each till sell its share.
func (d *demo) sell(ctx context.Context) error {
	var tickets, rows, amount int64
	start := time.Now()
	for i, number := range d.tills {
		share := demoTickets/len(d.tills) + min(1, max(0, demoTickets%len(d.tills)-i))
		sold, err := d.sold(ctx, number, share, uint64(i+1))
		if err != nil {
			return err
		}
		tickets, rows, amount = tickets+sold.Tickets, rows+sold.Rows, amount+sold.Amount
	}
	d.say("tills      sell: %s tickets, %s rows, %s EUR, each ticket a transaction with its outbox entries, in %s",
		term.Count(tickets), term.Count(rows), euros(amount), seconds(time.Since(start).Seconds()))
	return nil
}

func (d *demo) sold(ctx context.Context, number string, count int, seed uint64) (retail.Sales, error) {
	c, err := sqlite3.Open(d.till(number, "till.db"), sqlite3.ReadWrite)
	if err != nil {
		return retail.Sales{}, err
	}
	defer c.Close()
	return retail.Sell(ctx, c, retail.SellOptions{Dossier: demoDossier, Till: number, Count: count, Seed: seed})
}

func euros(cents int64) string { return fmt.Sprintf("%s.%02d", term.Count(cents/100), cents%100) }

// changeClient changes one customer on the server and, later, at the first
// till.
func (d *demo) changeClient() error {
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	var code string
	for _, side := range []struct {
		file, column, value string
		at                  time.Time
	}{
		{d.server("erp.db"), "telephone", "01 02 03 04 05", at},
		{d.till(d.tills[0], "till.db"), "courriel", "nouveau@example.org", at.Add(time.Hour)},
	} {
		c, err := sqlite3.Open(side.file, sqlite3.ReadWrite)
		if err != nil {
			return err
		}
		err = c.Query(fmt.Sprintf("SELECT code FROM client WHERE dossier = '%s' ORDER BY code LIMIT 1 OFFSET %d", demoDossier, demoClient),
			func(s *sqlite3.Stmt) error { code = s.Text(0); return nil })
		if err == nil {
			err = retail.ChangeClient(c, demoDossier, code, side.at, map[string]any{side.column: side.value})
		}
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	d.say("customer   %s changes on the server, and an hour later at till %s", code, d.tills[0])
	return nil
}

func (d *demo) sync(ctx context.Context, number string) error {
	var r syncResult
	if err := d.cli(ctx, &r, "sync", "--config", d.till(number, "till.toml")); err != nil {
		return err
	}
	if r.Pruned > 0 {
		d.say("till %s   receipt for batch %d: %s rows leave the outbox", number, r.Receipt, term.Count(r.Pruned))
	}
	if r.Sealed {
		d.say("till %s   sync: batch %d, %s rows, %s, signed and shipped", number, r.Batch, term.Count(r.Rows), term.Size(r.Bytes))
	}
	return nil
}

// withoutNetwork stops the SFTP server while a till wants to send.
func (d *demo) withoutNetwork(ctx context.Context, number string) error {
	if err := d.serving.stop(); err != nil {
		return err
	}
	var quiet strings.Builder
	code := run(ctx, []string{"sync", "--config", d.till(number, "till.toml")}, nil, &quiet, &quiet)
	if code != exitUnavailable {
		return fmt.Errorf("sync without a network: exit code %d, want %d: %s", code, exitUnavailable, quiet.String())
	}
	d.say("network    gone: sync of till %s ends with exit code %d, and the till goes on selling", number, code)
	if _, err := d.sold(ctx, number, 25, 99); err != nil {
		return err
	}
	if err := d.serve(ctx); err != nil {
		return err
	}
	d.say("network    back")
	return d.sync(ctx, number)
}

func (d *demo) collect(ctx context.Context) error {
	var list []collectResult
	if err := d.cli(ctx, &list, "collect", "--config", d.server("server.toml")); err != nil {
		return err
	}
	for _, r := range list {
		if r.Batches == 0 {
			continue
		}
		conflicts := ""
		if r.Conflicts > 0 {
			conflicts = fmt.Sprintf(", %d conflict recorded with both versions", r.Conflicts)
		}
		d.say("collect    till %s: batch %d, %s rows integrated%s, receipt signed, in %s", r.Till, r.Batch, term.Count(r.Rows), conflicts, seconds(r.Elapsed))
	}
	return nil
}

// proof proves each till's tickets from the files, and compares all rows of
// both sides besides.
func (d *demo) proof(ctx context.Context) error {
	d.app.printf("\n")
	for _, number := range d.tills {
		var out strings.Builder
		if code := run(ctx, []string{"prove", "--config", d.server("server.toml"), "--till", number}, nil, &out, &out); code != exitDone {
			return fmt.Errorf("prove --till %s: exit code %d: %s", number, code, out.String())
		}
		d.app.printf("%s", out.String())
	}
	d.app.printf("\n")
	t := term.NewTable("table", "rows at the tills", "rows on the server", "differences")
	for _, x := range retail.Exchange() {
		if x.Direction != "up" {
			continue
		}
		tills, err := d.lines(x.Name, d.tills...)
		if err != nil {
			return err
		}
		server, err := d.lines(x.Name)
		if err != nil {
			return err
		}
		same := slices.Equal(tills, server)
		t.Row(x.Name, term.Count(len(tills)), term.Count(len(server)), map[bool]string{true: "none", false: "SOME"}[same])
		if !same {
			return fmt.Errorf("table %s: the server holds %d rows, the tills %d, and they are not the same", x.Name, len(server), len(tills))
		}
	}
	return t.Print(d.app.stdout)
}

// lines returns the rows of a table as sorted text, of the named tills or of
// the server.
func (d *demo) lines(table string, tills ...string) ([]string, error) {
	files := []string{d.server("erp.db")}
	if len(tills) > 0 {
		files = nil
		for _, number := range tills {
			files = append(files, d.till(number, "till.db"))
		}
	}
	var list []string
	for _, file := range files {
		c, err := sqlite3.Open(file, sqlite3.ReadOnly)
		if err != nil {
			return nil, err
		}
		err = c.Query("SELECT * FROM "+database.Quote(table)+" WHERE dossier = ?", func(s *sqlite3.Stmt) error {
			var line []byte
			for i := range s.Columns() {
				v := s.Value(i)
				line = append(change.AppendValue(line, &v), ',')
			}
			list = append(list, string(line))
			return nil
		}, demoDossier)
		if err = errors.Join(err, c.Close()); err != nil {
			return nil, err
		}
	}
	slices.Sort(list)
	return list, nil
}

// A serving is the demo's SFTP server while it runs.
type serving struct {
	cancel context.CancelFunc
	done   chan error
}

// serve starts the SFTP server, at the port of before if there was one.
func (d *demo) serve(ctx context.Context) error {
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", d.port))
	if err != nil {
		return err
	}
	return d.serveOn(ctx, ln)
}

func (s *serving) stop() error {
	if s == nil || s.cancel == nil {
		return nil
	}
	s.cancel()
	s.cancel = nil
	if err := <-s.done; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
