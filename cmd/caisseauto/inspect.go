package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/inspect"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

type inspectFlags struct {
	placeFlags
	table, key string
	file       string
	rows       bool
	limit      int
}

func (a *app) inspectCommand() *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect [PATH]",
		Short: "Show what is in a batch, or list the batches of a stream or drop, without a database",
		Long: `Shows what is in a batch: who sealed and signed it and when, its tables and
operations with their counts, control totals, and with --rows, --table or --key its
rows. Of a software package it shows product, release, what it requires and its files,
and with --file one of them as it is. PATH is one of a batch's three files, or its number without an ending; of the
folder of a stream or dossier, or of a drop, the newest batches are listed. An
address sftp://user@host:port/path names the same on a server; without PATH it is
the drop of the configuration. Nothing is changed anywhere.

Everything is verified before it is shown: the signature, then size and SHA-256 of
the archive. Without a list of trusted keys (--signers, the configuration's,
allowed_signers in this folder) who signed cannot be checked; everything else is,
and the output says so. --signers none does without the list on purpose.

` + keyHelp + `

The exit code is 0 when what was asked for could be shown, also when no row fits the
key; 65 when something was refused or is missing; 2 when there is no such batch, or no
such file in it.`,
		Example: `  caisseauto inspect drop/ACME/down
  caisseauto inspect drop/ACME/down/0000000042
  caisseauto inspect drop/ACME/down/0000000042 --table article --key 3017620422003
  caisseauto inspect drop/ACME/up/017/0000000007.tar.zst --rows --json | jq -c .row
  caisseauto inspect drop/ACME/packages/0000000012 --file bin/caisse | sha256sum
  caisseauto inspect sftp://auditor@erp.acme.example/ACME/down --config till.toml`,
		RunE: func(c *cobra.Command, args []string) error { return a.inspect(c.Context(), args, f) },
	}
	a.placeFlags(c, &f.placeFlags)
	c.Flags().StringVar(&f.table, "table", "", "print the rows of this `TABLE`")
	c.Flags().StringVar(&f.key, "key", "", "print the rows of this `KEY`: 3017620422003, code=100001 or '[\"ACME\",100001]'")
	c.Flags().BoolVar(&f.rows, "rows", false, "print the rows of all tables")
	c.Flags().StringVar(&f.file, "file", "", "print the file of this `NAME` out of a package")
	c.Flags().IntVar(&f.limit, "limit", 0, "print at most `N` rows (default: all), or list the newest N batches (default: 20 of a stream, 5 of each of several, -1: all)")
	return c
}

// keyHelp is how a key is written, for both commands that take one.
const keyHelp = `A KEY is one of three. Words with commas between, one for each column of the
table's key (a key of one column is taken whole): 3017620422003, ACME,100001. Some of
the columns by name: code=100001, dossier=ACME,code=100001. Or a JSON array of all,
exactly as in the archive: ["ACME",100001]. A word fits a TEXT of these characters and
an INTEGER or REAL that is written so (007 is not 7); in JSON "7" and 7 are two values.`

func (a *app) inspect(ctx context.Context, args []string, f inspectFlags) error {
	if len(args) > 1 {
		return &usageError{fmt.Errorf("inspect takes one PATH, not %d; to look for a key in many use find", len(args))}
	}
	key, err := parseKey(f.key)
	if err != nil {
		return err
	}
	l, err := a.look(ctx, args, f.placeFlags)
	if err != nil {
		return err
	}
	defer l.close()
	defer inspect.LimitMemory()()
	rows := f.rows || f.table != "" || f.key != ""
	if err := f.mix(rows, a.json); err != nil {
		return err
	}
	if len(l.places) != 1 || l.places[0].Only == 0 {
		if rows || f.file != "" {
			return &usageError{errors.New("rows and files are printed of one batch: name it, like DOSSIER/down/0000000042; to look for a key in many use find")}
		}
		return a.inspectList(ctx, l, f.limit)
	}
	p := l.places[0]
	b, err := l.Open(ctx, p, p.Only)
	if err != nil {
		return a.cannotInspect(ctx, p, err)
	}
	switch {
	case f.file != "":
		return a.inspectFile(ctx, l, b, f.file)
	case rows && b.Manifest.Package != nil:
		return &usageError{fmt.Errorf("%s %d is a package, which has no rows: without --rows, --table and --key its files are listed, and --file NAME prints one", p.Stream, p.Only)}
	case rows:
		return a.inspectRows(ctx, l, b, f, key)
	}
	s, err := l.Summarize(ctx, b)
	if s == nil {
		return err
	}
	if a.json {
		if err := term.JSON(a.stdout, s); err != nil {
			return err
		}
	} else if err := a.printSummary(l, s); err != nil {
		return err
	}
	return contentsError(err)
}

// parseKey reads --key; none is every key.
func parseKey(s string) (inspect.Key, error) {
	if s == "" {
		return inspect.Key{}, nil
	}
	k, err := inspect.ParseKey(s)
	if err != nil {
		return k, &usageError{fmt.Errorf("--key: %w", err)}
	}
	return k, nil
}

// cannotInspect says why a named batch cannot be opened: there is none of that
// number, or a part of it is missing.
func (a *app) cannotInspect(ctx context.Context, p inspect.Place, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return hintUnknown(err, errors.Is(err, keys.ErrUnknownKey))
	}
	listing, lerr := p.Files.List(ctx)
	if lerr != nil {
		return lerr
	}
	for _, b := range listing.Batches {
		if b.Sequence == p.Only {
			return fmt.Errorf("%w: batch %d of %s is not complete, and nothing of it was read: %w", importer.ErrRefused, p.Only, p.Stream, err)
		}
	}
	return &usageError{fmt.Errorf("%s has no batch %d: %w", p.Stream, p.Only, err)}
}

// hintUnknown tells one who has met a key that nobody has listed how to look
// all the same.
func hintUnknown(err error, unknown bool) error {
	if !unknown {
		return err
	}
	return term.WithHint(err, "to look without checking who signed: --signers none")
}

// contentsError is the exit of a command whose archive is not good.
func contentsError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w; its manifest is good, and nothing says that its writer has removed it", importer.ErrRefused, err)
	}
	return err
}

// inspectRows prints rows of one batch.
func (a *app) inspectRows(ctx context.Context, l *looking, b *inspect.Batch, f inspectFlags, key inspect.Key) error {
	l.remark(b.Trusted)
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	var line []byte
	n := 0
	err := l.Rows(ctx, b, f.table, key, func(r inspect.Row) error {
		if n++; f.limit > 0 && n > f.limit {
			return errEnough
		}
		if a.json {
			line = r.AppendJSON(line[:0])
		} else {
			line = fmt.Appendf(line[:0], "%s  %-6s  ", term.Clean(r.Table), r.Op)
			line = append(r.AppendText(line), '\n')
		}
		_, err := out.Write(line)
		return err
	})
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	switch {
	case errors.Is(err, errEnough):
		fmt.Fprintf(a.stderr, "caisseauto: stopped after %s rows: --limit\n", term.Count(f.limit))
		return nil
	case errors.Is(err, inspect.ErrKey), errors.Is(err, inspect.ErrTable):
		return &usageError{err}
	case err == nil && n == 0:
		fmt.Fprintf(a.stderr, "caisseauto: no row of %s %d is asked for by that\n", b.Place.Stream, b.Manifest.Sequence)
	}
	return contentsError(err)
}

// errEnough ends the printing of rows at --limit.
var errEnough = errors.New("enough")

// printSummary writes what is in a batch for a person.
func (a *app) printSummary(l *looking, s *inspect.Summary) error {
	l.remark(s.Trusted)
	a.printf("%s %d: %s of epoch %d, sealed %s\n", s.Stream, s.Sequence, s.Kind, s.Epoch, s.Created.UTC().Format("2006-01-02 15:04:05 UTC"))
	a.printf("  signer    %s  %s  %s\n", s.Signer, s.Key, l.trusted(s.Trusted))
	a.printf("  manifest  %s\n", s.Digest)
	a.printf("  previous  %s\n", previousWord(s.Previous))
	a.printf("  archive   %s  %s, %s unpacked; %s\n", s.Archive.Name, term.Size(s.Archive.Size), term.Size(s.Archive.TarSize), contentsWord(s))
	if s.Package != nil {
		return a.printPackage(s)
	}
	if s.Unchanged {
		a.printf("  unchanged its rows are those of a reader who has applied the batch before it\n")
	}
	if s.Applied != nil {
		a.printf("  applied   %s %d of epoch %d  %s\n", s.Applied.Stream, s.Applied.Sequence, s.Applied.Epoch, s.Applied.Digest)
	}
	if s.Incarnation != "" {
		a.printf("  till's database  %s\n", s.Incarnation)
	}
	if s.Integrated > 0 {
		a.printf("  holds what tills had sent up to integration %s\n", term.Count(s.Integrated))
	}
	if len(s.Uploads) > 0 {
		a.printf("  tells tills to send  %s\n", term.Clean(strings.Join(s.Uploads, ", ")))
	}
	if len(s.Tables) == 0 {
		a.printf("no table has rows in it\n")
		return nil
	}
	t := term.NewTable("table", "rows", "bytes", "operations", "scope", "key", "columns")
	for _, x := range s.Tables {
		var columns []string
		for _, c := range x.Columns {
			columns = append(columns, strings.TrimSpace(c.Name+" "+c.Type))
		}
		t.Row(x.Name, term.Count(x.Rows), term.Size(x.Bytes), operations(x), x.Scope, strings.Join(x.Key, ","), shorten(strings.Join(columns, ", ")))
	}
	if err := t.Print(a.stdout); err != nil {
		return err
	}
	for _, x := range s.Totals {
		sums := ""
		for _, sum := range x.Sums {
			sums += fmt.Sprintf(", %s %s", sum.Column, sum.Sum)
		}
		if len(x.Numbers) > 0 {
			sums += ", numbers " + shorten(strings.Join(x.Numbers, ","))
		}
		a.printf("total of %s: %s rows%s\n", term.Clean(x.Table), x.Rows, term.Clean(sums))
	}
	return nil
}

// shorten cuts a list that a person reads; --json has all of it.
func shorten(s string) string {
	const most = 300
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func operations(t inspect.Table) string {
	var list []string
	for _, o := range t.Ops {
		list = append(list, fmt.Sprintf("%s %s", term.Count(o.Rows), o.Op))
	}
	return dash(strings.Join(list, ", "))
}

func previousWord(digest string) string {
	if strings.Trim(digest, "0") == "" {
		return "none: it is the first of its epoch"
	}
	return digest
}

func contentsWord(s *inspect.Summary) string {
	switch s.Contents {
	case inspect.Good:
		return "size, SHA-256 and all in it are what was signed"
	case inspect.Pruned:
		return "removed by its writer's retention, as the head says"
	case inspect.Missing:
		return "NOT THERE"
	}
	return "REFUSED, nothing of it is shown"
}
