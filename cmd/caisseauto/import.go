package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

func (a *app) importCommand() *cobra.Command {
	var noFetch bool
	c := &cobra.Command{
		Use:     "import",
		Aliases: []string{"import_caisseauto"},
		Short:   "Fetch, verify and apply what is new (till)",
		Long: `Fetches the batches that the till lacks, verifies each whole, and applies each
in one transaction together with the ledger row that says so. Without a network
it applies what is in the inbox, and exits with 69. Nothing is ever half applied.`,
		Example: "  caisseauto import --config till.toml",
		RunE:    func(c *cobra.Command, _ []string) error { return a.importDown(c.Context(), noFetch) },
	}
	c.Flags().BoolVar(&noFetch, "no-fetch", false, "apply what is in the inbox; something else carries the files")
	a.fromFlag(c)
	c.MarkFlagsMutuallyExclusive("from", "no-fetch")
	return c
}

// A till is what the commands on a till work with.
type till struct {
	app     *app
	cfg     *config.Till
	dossier string
	stream  string
	trust   *keys.Trust
	db      *sqlite.Till
	box     *sqlite.Outbox
	drop    drop.Drop // nil until it is needed
	dropErr error     // why it could not be opened
}

func (a *app) openTill(ctx context.Context) (*till, error) {
	cfg, dossier, err := a.tillConfig(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := trustIn(&cfg.Common, dossier)
	if err != nil {
		return nil, err
	}
	outbox := outboxOptions(cfg, dossier)
	db, err := sqlite.OpenTill(cfg.Database.DSN, sqlite.TillOptions{StageDir: cfg.Paths.Stage, Log: a.log(), Outbox: &outbox,
		Rules: rulesOf(cfg, dossier), Drift: driftOf(cfg)})
	if err != nil {
		return nil, err
	}
	return &till{app: a, cfg: cfg, dossier: dossier, stream: streamDown(dossier), trust: trust, db: db, box: sqlite.NewOutbox(cfg.Database.DSN, outbox)}, nil
}

func (t *till) close() {
	if t.drop != nil {
		t.drop.Close()
	}
	t.db.Close()
}

// remote opens the drop once.
func (t *till) remote(ctx context.Context) (drop.Drop, error) {
	if t.drop != nil || t.dropErr != nil {
		return t.drop, t.dropErr
	}
	d, err := t.app.openDrop(ctx, &t.cfg.Common)
	if err == nil {
		err = t.app.mediumHas(t.dossier)
	}
	if err != nil {
		t.dropErr = err
		return nil, err
	}
	t.drop = d
	return d, nil
}

func (a *app) importDown(ctx context.Context, noFetch bool) error {
	t, err := a.openTill(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	if err := mayImport(ctx, t.cfg); err != nil {
		return err
	}
	if err := t.db.Init(ctx); err != nil {
		return err
	}
	if err := installBox(ctx, t.box); err != nil {
		return err
	}
	trustErr := t.follow(ctx, !noFetch)
	i := t.importer()
	var fetchErr error
	if !noFetch {
		i.Refetch = t.refetch
		if _, fetchErr = t.fetch(ctx); fetchErr != nil && !errors.Is(fetchErr, drop.ErrUnavailable) {
			return fmt.Errorf("fetching %s: %w; nothing was applied", t.stream, fetchErr)
		}
	}
	bar := a.bar("applying", false)
	i.Progress = bar.show
	r, err := i.Run(ctx)
	bar.close()
	filtered := int64(0)
	if err == nil && len(r.Batches) == 0 { // the rules may be newer than the last import
		filtered, err = t.db.Settle(ctx)
	}
	for _, b := range r.Batches {
		a.event("applied", t.stream, b.Position.Sequence, b.Elapsed, "kind", string(b.Kind), "rows", b.Rows, "locked", b.Locked.Seconds())
	}
	if trustErr == nil { // else it has told why
		trustErr = withheld(r.Head, t.trust, t.dossier)
	}
	err = t.remember(ctx, r, errors.Join(err, trustErr))
	if err == nil || len(r.Batches) > 0 { // what was applied stays applied
		if perr := t.print(r, filtered); err == nil {
			err = perr
		}
	}
	if err == nil && fetchErr != nil {
		return fmt.Errorf("what the inbox held is applied, but nothing could be fetched: %w", fetchErr)
	}
	return err
}

// remember writes the technical events of an import to the till's journal.
func (t *till) remember(ctx context.Context, r importer.Report, err error) error {
	for _, b := range r.Batches {
		if r.Before.IsZero() && b.Position == r.Batches[0].Position {
			text := fmt.Sprintf("initial load: batch %d of %s, %d rows", b.Position.Sequence, t.stream, b.Rows)
			err = errors.Join(err, t.box.Event(ctx, codes(t.cfg).Load, text, ""))
		}
	}
	s := &synchroniser{app: t.app, cfg: t.cfg, box: t.box}
	if err == nil {
		return s.forgive(ctx, stateRefused)
	}
	return s.refused(ctx, stateRefused, err)
}

// An importResult is what import prints with --json.
type importResult struct {
	Stream  string        `json:"stream"`
	Till    string        `json:"till"`
	Before  int64         `json:"before"`
	After   int64         `json:"after"`
	Epoch   int64         `json:"epoch"`
	Batches []importBatch `json:"batches"`
	Waiting string        `json:"waiting,omitempty"`
	// Rows of other tills' users that were deleted.
	Filtered int64 `json:"filtered"`
}

type importBatch struct {
	Batch    int64   `json:"batch"`
	Kind     string  `json:"kind"`
	Rows     int64   `json:"rows"`
	Inserted int64   `json:"inserted"`
	Updated  int64   `json:"updated"`
	Deleted  int64   `json:"deleted"`
	Locked   float64 `json:"locked_seconds"`
	Elapsed  float64 `json:"seconds"`
	// Of a baseline whose rows were here already, and were not fetched.
	Unchanged bool `json:"unchanged,omitempty"`
}

func (t *till) print(r importer.Report, filtered int64) error {
	for _, b := range r.Batches {
		filtered += b.Filtered
	}
	if t.app.json {
		out := importResult{Stream: t.stream, Till: t.cfg.Identity.Number, Before: r.Before.Sequence, After: r.After.Sequence,
			Epoch: r.After.Epoch, Waiting: r.Waiting, Filtered: filtered, Batches: []importBatch{}}
		for _, b := range r.Batches {
			out.Batches = append(out.Batches, importBatch{Batch: b.Position.Sequence, Kind: string(b.Kind), Rows: b.Rows,
				Inserted: b.Inserted, Updated: b.Updated, Deleted: b.Deleted, Locked: b.Locked.Seconds(), Elapsed: b.Elapsed.Seconds(), Unchanged: b.Unchanged})
		}
		return term.JSON(t.app.stdout, out)
	}
	if r.Waiting != "" {
		fmt.Fprintf(t.app.stderr, "caisseauto: %s\n", r.Waiting)
	}
	if len(r.Batches) == 0 {
		t.app.printf("till %s: nothing new in %s; the database stands at batch %d\n", t.cfg.Identity.Number, t.stream, r.After.Sequence)
		t.told(filtered)
		return nil
	}
	table := term.NewTable("till", "batch", "kind", "rows", "new", "changed", "deleted", "locked", "time")
	for _, b := range r.Batches {
		kind := string(b.Kind)
		if b.Unchanged {
			kind += ", as before"
		}
		table.Row(t.cfg.Identity.Number, fmt.Sprint(b.Position.Sequence), kind, term.Count(b.Rows), term.Count(b.Inserted),
			term.Count(b.Updated), term.Count(b.Deleted), seconds(b.Locked.Seconds()), seconds(b.Elapsed.Seconds()))
	}
	err := table.Print(t.app.stdout)
	t.told(filtered)
	return err
}

// told says that the user filter has deleted something.
func (t *till) told(filtered int64) {
	if filtered > 0 {
		t.app.printf("till %s: %s rows that are not this till's were filtered out\n", t.cfg.Identity.Number, term.Count(filtered))
	}
}
