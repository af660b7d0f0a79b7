package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/collect"
	"caisseauto/internal/config"
	"caisseauto/internal/term"
)

func (a *app) quarantineCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "quarantine",
		Short: "What could not be integrated: list, show, retry, discard (server)",
		Long: `A ticket, or another row from a till, that could not be integrated is kept here
word for word with the reason. It holds up nothing behind it, and its till's
receipt counts it until it is integrated (retry) or closed (discard).`,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var all, conflicts bool
	var till string
	list := &cobra.Command{
		Use: "list", Short: "List what waits in quarantine",
		Example: "  caisseauto quarantine list\n  caisseauto quarantine list --till 017 --all\n  caisseauto quarantine list --conflicts",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withCollector(c.Context(), func(ctx context.Context, cfg *config.Server, db *collect.Collector) error {
				if conflicts {
					return a.listConflicts(ctx, cfg, db, till)
				}
				return a.listQuarantine(ctx, cfg, db, till, all)
			})
		},
	}
	list.Flags().BoolVar(&all, "all", false, "those too that were integrated or discarded since")
	list.Flags().BoolVar(&conflicts, "conflicts", false, "list the conflicts of customers instead, with both versions")
	list.Flags().StringVar(&till, "till", "", "`NUMBER` of one till")
	show := &cobra.Command{
		Use: "show ID", Short: "Show one unit, word for word",
		Example: "  caisseauto quarantine show 12",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withUnit(c.Context(), args, func(ctx context.Context, db *collect.Collector, id int64) error { return a.showUnit(ctx, db, id) })
		},
	}
	retry := &cobra.Command{
		Use: "retry ID", Short: "Integrate a unit again, once its cause is removed",
		Long: `Integrates the unit by the same rules as when it came. Of a customer held by
conflict = "hold", the till's version is taken.`,
		Example: "  caisseauto quarantine retry 12",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withUnit(c.Context(), args, func(ctx context.Context, db *collect.Collector, id int64) error {
				r, err := db.Retry(ctx, id)
				if err != nil {
					return err
				}
				a.printf("unit %d is integrated: %d rows new or changed, %d known already; the next collect writes the till's receipt\n", id, r.Inserted+r.Updated+r.Deleted, r.Acknowledged)
				return nil
			})
		},
	}
	var reason string
	discard := &cobra.Command{
		Use: "discard ID --reason TEXT", Short: "Close a unit that will never be integrated",
		Long: `The rows stay in the database, closed with the reason. The till's receipt says so,
and prove goes on counting them as missing. Of a customer held by conflict =
"hold", the server's version stays.`,
		Example: "  caisseauto quarantine discard 12 --reason 'test ticket of the installer'",
		RunE: func(c *cobra.Command, args []string) error {
			if reason == "" {
				return &usageError{errors.New("--reason TEXT: the decision is recorded with its reason, and the receipt says it")}
			}
			return a.withUnit(c.Context(), args, func(ctx context.Context, db *collect.Collector, id int64) error {
				if err := db.Discard(ctx, id, reason); err != nil {
					return err
				}
				a.printf("unit %d is closed; the next collect writes the till's receipt\n", id)
				return nil
			})
		},
	}
	discard.Flags().StringVar(&reason, "reason", "", "why, for the record")
	c.AddCommand(list, show, retry, discard)
	return c
}

// withCollector runs work on the server's database.
func (a *app) withCollector(ctx context.Context, work func(context.Context, *config.Server, *collect.Collector) error) error {
	cfg, err := a.loadServer()
	if err != nil {
		return err
	}
	db, err := a.erpOf(cfg).collector(ctx, cfg.Paths.Stage)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Init(ctx); err != nil {
		return err
	}
	return work(ctx, cfg, db)
}

// withUnit runs work on the unit that the one argument names.
func (a *app) withUnit(ctx context.Context, args []string, work func(context.Context, *collect.Collector, int64) error) error {
	id := int64(0)
	if len(args) == 1 {
		id, _ = strconv.ParseInt(args[0], 10, 64)
	}
	if id < 1 {
		return &usageError{errors.New("write the number of one unit, as quarantine list shows it")}
	}
	return a.withCollector(ctx, func(ctx context.Context, _ *config.Server, db *collect.Collector) error { return work(ctx, db, id) })
}

// streams are the tills' streams that a filter names: one, or with an empty
// name all.
func (a *app) streamsUp(cfg *config.Server, till string) ([]string, error) {
	if till == "" {
		return []string{""}, nil
	}
	list, err := a.dossiers(cfg)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, d := range list {
		out = append(out, importer.StreamUp(d.Code, till))
	}
	return out, nil
}

func (a *app) listQuarantine(ctx context.Context, cfg *config.Server, db *collect.Collector, till string, all bool) error {
	streams, err := a.streamsUp(cfg, till)
	if err != nil {
		return err
	}
	units := []collect.HeldUnit{}
	for _, s := range streams {
		list, err := db.Quarantine(ctx, collect.UnitFilter{Stream: s, All: all})
		if err != nil {
			return err
		}
		units = append(units, list...)
	}
	if a.json {
		return term.JSON(a.stdout, units)
	}
	if len(units) == 0 {
		a.printf("nothing is in quarantine\n")
		return nil
	}
	t := term.NewTable("id", "since", "stream", "batch", "unit", "rows", "state", "reason")
	for _, u := range units {
		what := u.Table + " " + u.Key
		if u.Table == "" {
			what = "the whole batch"
		}
		state := u.State
		if u.Closed != "" {
			state += ": " + u.Closed
		}
		t.Row(fmt.Sprint(u.ID), u.At, u.Stream, fmt.Sprint(u.Sequence), what, term.Count(u.Rows), state, u.Reason)
	}
	return t.Print(a.stdout)
}

func (a *app) listConflicts(ctx context.Context, cfg *config.Server, db *collect.Collector, till string) error {
	streams, err := a.streamsUp(cfg, till)
	if err != nil {
		return err
	}
	records := []collect.ConflictRecord{}
	for _, s := range streams {
		list, err := db.Conflicts(ctx, collect.ConflictFilter{Stream: s})
		if err != nil {
			return err
		}
		records = append(records, list...)
	}
	if a.json {
		return term.JSON(a.stdout, records)
	}
	if len(records) == 0 {
		a.printf("no conflict is recorded\n")
	}
	for _, r := range records {
		a.printf("%d  %s  %s batch %d  %s %s: %s wins by %q\n", r.ID, r.At, r.Stream, r.Sequence, r.Table, r.Key, r.Winner, r.Rule)
		a.printf("   before:     %s\n   the server: %s\n   the till:   %s\n", member(r.Base), member(r.Server), member(r.Sent))
	}
	return nil
}

func (a *app) showUnit(ctx context.Context, db *collect.Collector, id int64) error {
	u, err := db.Unit(ctx, id)
	if err != nil {
		return err
	}
	if a.json {
		return term.JSON(a.stdout, u)
	}
	a.printf("unit %d of %s, batch %d of epoch %d, since %s, %s\nreason: %s\n", u.ID, u.Stream, u.Sequence, u.Epoch, u.At, u.State, u.Reason)
	if u.Closed != "" {
		a.printf("closed %s: %s\n", u.ClosedAt, u.Closed)
	}
	for _, m := range u.Members {
		a.printf("%s", m)
	}
	if len(u.Archive) > 0 {
		a.printf("the archive could not be read; its %d bytes are kept in caisseauto_quarantine_row, unit %d\n", len(u.Archive), u.ID)
	}
	return nil
}

// member returns the row of a member, without its first line.
func member(text string) string {
	if text == "" {
		return "no row"
	}
	_, row, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return row
}
