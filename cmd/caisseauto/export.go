package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"caisseauto/exporter"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

type exportFlags struct {
	baseline bool
	newEpoch bool
	reason   string
	noShip   bool
}

func (a *app) exportCommand() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:     "export",
		Aliases: []string{"export_caisseauto"},
		Short:   "Seal what changed in a dossier, ship it, renew the head (server)",
		Long: `Seals the changes since the last batch of each dossier (or of the one of
--dossier) into a signed, numbered archive, ships it to the drop and renews the
signed head. With nothing new only the head is renewed. Run it on a schedule,
one process per dossier. Killed at any moment, the next run finishes the same
batch with the same bytes. With PostgreSQL several hosts may run it, each with an
outbox of its own: a dossier that another one exports is passed over, and what a
host that died has left is finished by the next one.`,
		Example: `  caisseauto export --config server.toml --dossier ACME
  caisseauto export --baseline`,
		RunE: func(c *cobra.Command, _ []string) error { return a.export(c.Context(), f) },
	}
	c.Flags().BoolVar(&f.baseline, "baseline", false, "seal every row, for new tills")
	c.Flags().BoolVar(&f.noShip, "no-ship", false, "seal into the outbox only; something else carries the files")
	c.Flags().BoolVar(&f.newEpoch, "new-epoch", false, "operator's decision after a disaster: begin a new epoch with a baseline")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the record; needed with --new-epoch")
	return c
}

func (a *app) export(ctx context.Context, f exportFlags) error {
	if f.newEpoch != (f.reason != "") {
		return &usageError{errors.New("--new-epoch and --reason go together: the decision is recorded with its reason")}
	}
	cfg, err := a.loadServer()
	if err != nil {
		return err
	}
	list, err := a.dossiers(cfg)
	if err != nil {
		return err
	}
	trust, err := trustOf(&cfg.Common)
	if err != nil {
		return err
	}
	signer, err := a.signerOf(&cfg.Common)
	if err != nil {
		return err
	}
	src := a.erpOf(cfg).source()
	defer src.Close()

	// Without a drop the batches are sealed all the same, and wait.
	var d drop.Drop
	var dropErr error
	if !f.noShip {
		if d, dropErr = a.openDrop(ctx, &cfg.Common); dropErr == nil {
			defer d.Close()
		}
	}
	job := &exportJob{app: a, cfg: cfg, flags: f, source: src, signer: signer, trust: trust, drop: d}
	for _, dossier := range list {
		if err := job.run(ctx, dossier); err != nil {
			if errors.Is(err, exporter.ErrUnseen) && dropErr != nil {
				err = fmt.Errorf("%w: %w", err, dropErr)
			}
			return fmt.Errorf("dossier %s: %w", dossier.Code, err)
		}
	}
	if err := job.print(); err != nil {
		return err
	}
	if dropErr != nil {
		return fmt.Errorf("sealed, but not shipped: %w; the next export, or caisseauto ship, will", dropErr)
	}
	return nil
}

// An exportJob is one run over some dossiers.
type exportJob struct {
	app    *app
	cfg    *config.Server
	flags  exportFlags
	source erpSource
	signer keys.Signer
	trust  *keys.Trust
	drop   drop.Drop // nil: none can be reached, or none is wanted

	results []exportResult
}

// An exportResult is one line of the table that export prints.
type exportResult struct {
	Dossier  string   `json:"dossier"`
	Batch    int64    `json:"batch"`
	Epoch    int64    `json:"epoch"`
	Sealed   bool     `json:"sealed"`
	Kind     string   `json:"kind,omitempty"`
	Rows     int64    `json:"rows"`
	Bytes    int64    `json:"bytes"`
	Tables   []string `json:"tables,omitempty"`
	Shipped  int      `json:"files_shipped"`
	Pruned   int      `json:"archives_removed,omitempty"`
	Elapsed  float64  `json:"seconds"`
	Claimed  string   `json:"claimed_by,omitempty"` // who exports it now, in place of this run
	finished bool
}

func (j *exportJob) export(ctx context.Context, d config.Dossier, to drop.Drop) error {
	stream, trust := streamDown(d.Code), j.trust.For(d.Code)
	bar := j.app.bar("reading rows", false)
	e := &exporter.Exporter{
		Source: j.source, Stream: stream, Outbox: streamFolder(j.cfg.Paths.Outbox, stream),
		Signer: j.signer, Principal: j.cfg.Signing.Principal, Trust: trust, TrustVersion: versionOf(trust, d.Code),
		HeadLife: j.cfg.Head.Expires.Duration, Progress: bar.rows, Log: j.app.log(),
	}
	o := exporter.Options{Full: j.flags.baseline, NewEpoch: j.flags.reason,
		BaselineEvery: d.BaselineEvery.Duration, Retention: d.Retention.Duration}
	if to != nil {
		if err := look(ctx, to, stream, trust, &o); err != nil {
			return err
		}
		if d.Retention.Duration > 0 {
			if err := confirmed(ctx, to, d.Code, trust, &o); err != nil {
				return err
			}
		}
	}
	r, err := e.Run(ctx, o)
	bar.close()
	if err != nil {
		return err
	}
	if r.Sealed {
		j.app.event("sealed", stream, r.Position.Sequence, r.Elapsed, "kind", string(r.Kind), "rows", r.Rows, "bytes", r.Archive)
	}
	line := exportResult{Dossier: d.Code, Batch: r.Position.Sequence, Epoch: r.Position.Epoch, Sealed: r.Sealed,
		Kind: string(r.Kind), Rows: r.Rows, Bytes: r.Archive, Tables: r.Tables, Elapsed: r.Elapsed.Seconds(), finished: r.Finished}
	if to != nil {
		err = j.ship(ctx, d, e, to, r, o, &line)
	} else if j.flags.noShip {
		// What carries this outbox has all but the newest batch by the next
		// run; that one shows other hosts how far the stream is.
		err = e.Clear(ctx, r.Position.Sequence-1)
	}
	if err == nil {
		j.results = append(j.results, line)
	}
	return err
}

// ship brings a dossier's outbox to the drop, and removes what then is of no
// use any more.
func (j *exportJob) ship(ctx context.Context, d config.Dossier, e *exporter.Exporter, to drop.Drop, r exporter.Result, o exporter.Options, line *exportResult) error {
	if err := j.app.shipDossier(ctx, to, j.cfg.Paths.Outbox, d.Code); err != nil {
		return err
	}
	report, err := j.app.ship(ctx, to, j.cfg.Paths.Outbox, e.Stream)
	if err != nil {
		return fmt.Errorf("batch %d is sealed, and waits in %s: shipping: %w", r.Position.Sequence, e.Outbox, err)
	}
	line.Shipped = report.Files
	if !report.Behind { // else the head that says so was not copied
		if line.Pruned, err = j.prune(ctx, e, to, r.Oldest, o); err != nil {
			return err
		}
	}
	return e.Clear(ctx, r.Position.Sequence)
}

// look finds out how far a stream on the drop is: a database that was
// restored from a backup must not give a number out twice.
func look(ctx context.Context, d drop.Drop, stream string, trust *keys.Trust, o *exporter.Options) error {
	l, err := d.List(ctx, stream)
	if err != nil {
		return fmt.Errorf("looking at the drop: %w", err)
	}
	count := map[int64]int{}
	for _, f := range l.Files {
		if n, ok := drop.Sequence(f.Name); ok {
			count[n]++
			if o.Oldest == 0 && isArchive(f.Name) { // they are sorted
				o.Oldest = n
			}
			o.Seen = max(o.Seen, n)
		}
	}
	oldest := o.Oldest
	o.OnDrop = func(n int64) bool { return count[n] == 3 || count[n] == 2 && n < oldest } // archives are removed after their retention
	if r, err := remoteHead(ctx, d, stream, trust); err == nil && r.head != nil {
		o.Issue, o.SeenHead = r.head.Issue, r.head.Position()
		o.Seen = max(o.Seen, r.head.Sequence)
	}
	return nil
}

func (j *exportJob) print() error {
	if j.app.json {
		return term.JSON(j.app.stdout, j.results)
	}
	t := term.NewTable("dossier", "batch", "kind", "rows", "archive", "shipped", "time")
	for _, r := range j.results {
		if r.Claimed != "" {
			t.Row(r.Dossier, "", "exported now by "+r.Claimed, "", "", "", "")
			continue
		}
		kind, rows, size := "nothing new", "", ""
		if r.Sealed {
			kind, rows, size = r.Kind, term.Count(r.Rows), term.Size(r.Bytes)
		} else if r.finished {
			kind = "finished"
		}
		shipped := fmt.Sprintf("%d files", r.Shipped)
		if j.drop == nil {
			shipped = "not yet"
		}
		if r.Pruned > 0 {
			shipped += fmt.Sprintf(", %d old archives removed", r.Pruned)
		}
		t.Row(r.Dossier, fmt.Sprint(r.Batch), kind, rows, size, shipped, seconds(r.Elapsed))
	}
	return t.Print(j.app.stdout)
}
