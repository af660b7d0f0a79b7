package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/inspect"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

type findFlags struct {
	placeFlags
	table, key string
	limit      int
}

func (a *app) findCommand() *cobra.Command {
	var f findFlags
	c := &cobra.Command{
		Use:   "find TABLE KEY [PATH…]",
		Short: "Tell in which batches a key appears: the history of an article or a ticket",
		Long: `Looks for a key of a table in every batch under the paths, in the order of time and
of each stream's numbers, and prints each place with the operation (upsert, patch,
delete, base) and the values; of a patch those that changed. A path is a batch, the
folder of a stream or of a dossier, a drop, or an address sftp://user@host:port/path;
without one it is the drop of the configuration.

` + keyHelp + `

Software packages have no rows: their streams are passed over.

Everything is verified before it is read, as in inspect. What could not be searched is
named: archives that are gone, damaged, not signed. The exit code is 0 when all was
searched that should be there, also when the key is in none of it: standard error says
so then. It is 65 when a batch was refused or an archive is missing that no retention
explains: what was printed may not be all. With --json every line is an object: a
place where the key was found has "row", a range that could not be searched "reason".`,
		Example: `  caisseauto find article 3017620422003 drop
  caisseauto find --table article --key code=100001 drop/ACME/down /mnt/usb/drop/ACME/up
  caisseauto find ticket 1042,017 --json drop/ACME | jq -c '[.sequence,.row]'
  caisseauto find article 3017620422003 --config server.toml`,
		RunE: func(c *cobra.Command, args []string) error { return a.find(c.Context(), args, f) },
	}
	a.placeFlags(c, &f.placeFlags)
	c.Flags().StringVar(&f.table, "table", "", "`TABLE` to look in, in place of the first argument")
	c.Flags().StringVar(&f.key, "key", "", "`KEY` to look for, in place of the second argument")
	c.Flags().IntVar(&f.limit, "limit", 0, "stop after `N` places (default: never)")
	return c
}

func (a *app) find(ctx context.Context, args []string, f findFlags) error {
	switch {
	case f.table == "" && f.key == "" && len(args) >= 2:
		f.table, f.key, args = args[0], args[1], args[2:]
	case f.table == "" || f.key == "":
		return &usageError{errors.New("TABLE and KEY: what is to be found? caisseauto find article 3017620422003 PATH, or both as --table and --key")}
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
	l.remark(l.list != nil)
	width := 0
	for _, p := range l.places {
		width = max(width, len(p.Stream))
	}
	out := bufio.NewWriter(a.stdout)
	var line []byte
	n := 0
	found, err := l.Find(ctx, l.places, f.table, key, func(h inspect.Hit) error {
		if n++; f.limit > 0 && n > f.limit {
			return errEnough
		}
		if a.json {
			line = h.AppendJSON(line[:0])
		} else {
			line = fmt.Appendf(line[:0], "%s  %-*s  %6d  %-6s  ", h.Created.UTC().Format("2006-01-02 15:04:05"), width, h.Stream, h.Sequence, h.Row.Op)
			line = append(h.Row.AppendText(line), '\n')
		}
		_, err := out.Write(line)
		return err
	})
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	switch {
	case errors.Is(err, errEnough):
		fmt.Fprintf(a.stderr, "caisseauto: stopped after %s places: --limit\n", term.Count(f.limit))
		return nil
	case errors.Is(err, inspect.ErrKey):
		return &usageError{err}
	case err != nil:
		return a.cannotVerify(err)
	}
	return a.conclude(found, f)
}

// conclude tells what was not searched, and that nothing was found.
func (a *app) conclude(f *inspect.Found, flags findFlags) error {
	for _, u := range f.Unsearched {
		if a.json {
			if err := a.printLine(unsearchedLine{u.Stream, u.First, u.Last, u.Reason, u.Wrong}); err != nil {
				return err
			}
			continue
		}
		numbers := ""
		switch {
		case u.First == 0:
		case u.First == u.Last:
			numbers = fmt.Sprintf(" %d", u.First)
		default:
			numbers = fmt.Sprintf(" %d to %d", u.First, u.Last)
		}
		a.printf("NOT SEARCHED %s%s: %s\n", u.Stream, numbers, term.Clean(u.Reason))
	}
	if f.More > 0 {
		fmt.Fprintf(a.stderr, "caisseauto: %s more batches were not searched, and are not named\n", term.Count(f.More))
	}
	if f.Hits == 0 {
		fmt.Fprintf(a.stderr, "caisseauto: %s %s is in none of %s batches: %s of them have rows of the table and were searched\n",
			term.Clean(flags.table), term.Clean(flags.key), term.Count(f.Batches), term.Count(f.Searched))
		if len(f.Tables) > 0 {
			fmt.Fprintf(a.stderr, "caisseauto: no batch names a table %s; there are: %s\n", term.Clean(flags.table), term.Clean(shorten(strings.Join(f.Tables, ", "))))
		}
	}
	if f.Wrong() {
		unknown := slices.ContainsFunc(f.Unsearched, func(u inspect.Unsearched) bool { return strings.Contains(u.Reason, keys.ErrUnknownKey.Error()) })
		return hintUnknown(fmt.Errorf("%w: some batches could not be searched, named above: what was found may not be all; nothing was changed", importer.ErrRefused), unknown)
	}
	return nil
}

// An unsearchedLine is what find prints with --json of batches in which it
// could not look.
type unsearchedLine struct {
	Stream string `json:"stream"`
	First  int64  `json:"first"`
	Last   int64  `json:"last"`
	Reason string `json:"reason"`
	Wrong  bool   `json:"wrong"`
}

// printLine prints a value as one line of JSON.
func (a *app) printLine(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", term.CleanJSON(b))
	return err
}
