package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/internal/collect"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

type collectFlags struct {
	every   time.Duration
	till    string
	workers int
	noFetch bool
}

func (a *app) collectCommand() *cobra.Command {
	f := collectFlags{}
	c := &cobra.Command{
		Use:   "collect",
		Short: "Fetch, verify and integrate what the tills sent, write receipts (server)",
		Long: `Fetches the batches of every till of each dossier, verifies each whole, and
integrates each in one transaction, in order and exactly once. What cannot be
integrated is kept in quarantine with its reason and holds up nothing behind it.
Then each till gets a signed receipt. Trouble with one till is told, and the
others go on.`,
		Example: `  caisseauto collect --config server.toml
  caisseauto collect --every 1m
  caisseauto collect --dossier ACME --till 017`,
		RunE: func(c *cobra.Command, _ []string) error { return a.collect(c.Context(), f) },
	}
	c.Flags().DurationVar(&f.every, "every", 0, "stay in the background and do it so often")
	c.Flags().StringVar(&f.till, "till", "", "`NUMBER` of the only till to collect from")
	c.Flags().IntVar(&f.workers, "workers", 4, "how many tills at once")
	c.Flags().BoolVar(&f.noFetch, "no-fetch", false, "integrate what is in the inbox, write receipts into the outbox; something else carries the files")
	a.fromFlag(c)
	c.MarkFlagsMutuallyExclusive("from", "no-fetch")
	return c
}

// A collection is what collect works with.
type collection struct {
	app    *app
	cfg    *config.Server
	flags  collectFlags
	list   []config.Dossier
	erp    erp
	signer keys.Signer
	trust  map[string]*keys.Trust // by dossier
}

func (a *app) collect(ctx context.Context, f collectFlags) error {
	if f.every < 0 || f.every > 0 && f.every < time.Second {
		return &usageError{errors.New("--every takes one second or more")}
	}
	if f.workers < 1 || f.workers > 64 {
		return &usageError{fmt.Errorf("--workers %d: write a number from 1 to 64", f.workers)}
	}
	c, err := a.openCollection(f)
	if err != nil {
		return err
	}
	if f.every > 0 {
		return c.background(ctx)
	}
	results, err := c.once(ctx)
	if results != nil {
		if perr := c.print(results); err == nil {
			err = perr
		}
	}
	return err
}

func (a *app) openCollection(f collectFlags) (*collection, error) {
	cfg, err := a.loadServer()
	if err != nil {
		return nil, err
	}
	c := &collection{app: a, cfg: cfg, flags: f, erp: a.erpOf(cfg)}
	if c.list, err = a.dossiers(cfg); err != nil {
		return nil, err
	}
	for _, d := range c.list {
		if err := a.mediumHas(d.Code); err != nil {
			return nil, err
		}
	}
	if c.signer, err = a.signerOf(&cfg.Common); err != nil {
		return nil, err
	}
	return c, c.believe()
}

// believe reads whom each dossier trusts, and makes sure that our own receipts
// would be accepted.
func (c *collection) believe() error {
	trust, err := trustOf(&c.cfg.Common)
	if err != nil {
		return err
	}
	c.trust = map[string]*keys.Trust{}
	for _, d := range c.list {
		c.trust[d.Code] = trust.For(d.Code)
		if err := mayReceipt(c.signer, c.cfg.Signing.Principal, d.Code, c.trust[d.Code]); err != nil {
			return err
		}
	}
	return nil
}

// follow takes over the trust documents and lists of tills that are on the drop
// and not known here: another host has published them, or this one was restored.
func (c *collection) follow(ctx context.Context, w *worker) error {
	var errs []error
	for _, d := range c.list {
		trust, err := c.app.followTrust(ctx, &c.cfg.Common, w.source(), d.Code, true)
		if trust != nil {
			c.trust[d.Code] = trust
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// background collects until ctx ends. One till's trouble is told each time
// that it changes, and ends nothing.
func (c *collection) background(ctx context.Context) error {
	last, failures := "", 0
	for again := false; ; again = true {
		var results []collectResult
		var err error
		if again { // whom to believe may have changed since the last round
			err = c.believe()
		}
		if err == nil {
			results, err = c.once(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		switch {
		case err != nil && results == nil && !errors.Is(err, drop.ErrUnavailable) && exitCode(err) != exitBusy:
			return err // the configuration, or the database itself
		case text != last && text != "":
			fmt.Fprintf(c.app.stderr, "%s caisseauto: %s\n", time.Now().Format(time.DateTime), text)
		case text != last:
			fmt.Fprintf(c.app.stderr, "%s caisseauto: all tills are collected again\n", time.Now().Format(time.DateTime))
		}
		if last = text; errors.Is(err, drop.ErrUnavailable) {
			failures++
		} else {
			failures = 0
		}
		if !pause(ctx, wait(c.flags.every, 5*time.Minute, failures)) {
			return nil
		}
	}
}

// A job is one till to collect from.
type job struct {
	dossier, till string
	known         *collect.TillStatus // nil: never seen before
}

// once collects once from every till.
func (c *collection) once(ctx context.Context) ([]collectResult, error) {
	first, err := c.worker(ctx)
	if err != nil {
		return nil, err
	}
	defer first.close()
	if err := first.db.Init(ctx); err != nil {
		return nil, err
	}
	trustErr := c.follow(ctx, first)
	jobs, err := c.jobs(ctx, first)
	if err != nil {
		return nil, errors.Join(err, trustErr)
	}
	results, err := c.share(ctx, first, jobs)
	return results, errors.Join(err, trustErr)
}

// share divides the tills among workers.
func (c *collection) share(ctx context.Context, first *worker, jobs []job) ([]collectResult, error) {
	queue := make(chan int)
	results, errs := make([]collectResult, len(jobs)), make([]error, len(jobs))
	var group sync.WaitGroup
	work := func(w *worker) {
		for i := range queue {
			results[i], errs[i] = w.till(ctx, jobs[i])
		}
	}
	group.Go(func() { work(first) })
	opened := 1
	for i := range jobs {
		select {
		case queue <- i:
			continue
		default:
		}
		// Everybody is at work: one more, up to the limit. With nothing new
		// at the tills a single one is done before another has begun.
		if opened < c.flags.workers {
			w, err := c.worker(ctx)
			if err != nil {
				c.app.log().Warn("collecting with fewer workers", "error", err.Error())
				opened = c.flags.workers
			} else {
				opened++
				group.Go(func() { defer w.close(); work(w) })
			}
		}
		queue <- i
	}
	close(queue)
	group.Wait()
	return slices.DeleteFunc(results, func(r collectResult) bool { return r.Till == "" }), errors.Join(errs...)
}

// jobs lists the tills of each dossier: those with a folder on the drop, and
// with --no-fetch those with one in the inbox.
func (c *collection) jobs(ctx context.Context, w *worker) ([]job, error) {
	var list []job
	for _, d := range c.list {
		numbers, err := w.source().Tills(ctx, d.Code)
		if err != nil {
			return nil, fmt.Errorf("dossier %s: looking for tills: %w", d.Code, err)
		}
		known, err := w.db.Tills(ctx, d.Code)
		if err != nil {
			return nil, err
		}
		byNumber := make(map[string]*collect.TillStatus, len(known))
		for i := range known {
			byNumber[known[i].Till] = &known[i]
		}
		for _, n := range numbers {
			if c.flags.till == "" || c.flags.till == n {
				list = append(list, job{dossier: d.Code, till: n, known: byNumber[n]})
			}
		}
	}
	if c.flags.till != "" && len(list) == 0 {
		return nil, &usageError{fmt.Errorf("--till %s: there is no folder up/%s; has this till ever synchronised", c.flags.till, c.flags.till)}
	}
	return list, nil
}

// A collectResult is one line of the table that collect prints.
type collectResult struct {
	Dossier      string  `json:"dossier"`
	Till         string  `json:"till"`
	Batch        int64   `json:"batch"`
	Epoch        int64   `json:"epoch"`
	Batches      int     `json:"batches"`
	Rows         int64   `json:"rows"`
	Inserted     int64   `json:"inserted"`
	Acknowledged int64   `json:"acknowledged"`
	Quarantined  int64   `json:"quarantined"`
	Conflicts    int64   `json:"conflicts"`
	Receipt      bool    `json:"receipt_written"`
	Elsewhere    bool    `json:"elsewhere,omitempty"` // another host is at it
	Elapsed      float64 `json:"seconds"`
	Error        string  `json:"error,omitempty"`
}

func (c *collection) print(results []collectResult) error {
	if c.app.json {
		return term.JSON(c.app.stdout, results)
	}
	t := term.NewTable("dossier", "till", "batch", "batches", "rows", "new", "known", "quarantined", "conflicts", "receipt", "time")
	quiet, elsewhere := 0, 0
	for _, r := range results {
		if r.Elsewhere {
			elsewhere++
			continue
		}
		if r.Batches == 0 && r.Error == "" && !r.Receipt {
			quiet++
			continue
		}
		receipt := "as before"
		if r.Receipt {
			receipt = "written"
		}
		if r.Error != "" {
			receipt = "trouble, see below"
		}
		t.Row(r.Dossier, r.Till, fmt.Sprint(r.Batch), fmt.Sprint(r.Batches), term.Count(r.Rows), term.Count(r.Inserted), term.Count(r.Acknowledged),
			term.Count(r.Quarantined), term.Count(r.Conflicts), receipt, seconds(r.Elapsed))
	}
	if t.Len() > 0 {
		if err := t.Print(c.app.stdout); err != nil {
			return err
		}
	}
	if quiet > 0 {
		c.app.printf("nothing new from %d tills\n", quiet)
	}
	if elsewhere > 0 {
		c.app.printf("another host collects from %d tills\n", elsewhere)
	}
	return nil
}
