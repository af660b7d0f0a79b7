package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"caisseauto/internal/inspect"
	"caisseauto/internal/term"
)

// mix refuses options that are about different things.
func (f *inspectFlags) mix(rows, json bool) error {
	switch {
	case f.file == "":
		return nil
	case rows:
		return &usageError{errors.New("--file is about packages, and --rows, --table and --key about batches that have rows: write one or the other")}
	case json:
		return &usageError{errors.New("--file prints the file as it is, and no JSON: without it --json has the list of files")}
	}
	return nil
}

// inspectFile prints one file of a package as it is. On a terminal it is shown
// without what a terminal would obey.
func (a *app) inspectFile(ctx context.Context, l *looking, b *inspect.Batch, name string) error {
	l.remark(b.Trusted)
	var err error
	if term.IsTerminal(a.stdout) {
		c := &cleanLines{w: a.stdout}
		if err = l.File(ctx, b, name, c); err == nil && len(c.line) > 0 {
			err = c.flush()
		}
	} else {
		err = l.File(ctx, b, name, a.stdout)
	}
	if errors.Is(err, inspect.ErrFile) {
		return &usageError{err}
	}
	return contentsError(err)
}

// cleanLines writes lines as a terminal may see them.
type cleanLines struct {
	w    io.Writer
	line []byte
}

// maxShownLine is where a line without an end is broken.
const maxShownLine = 64 << 10

func (c *cleanLines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		c.line, p = append(c.line, line...), rest
		if !ended && len(c.line) < maxShownLine {
			break
		}
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// flush writes what there is of a line, and ends it.
func (c *cleanLines) flush() error {
	parts := strings.Split(string(c.line), "\t")
	for i := range parts {
		parts[i] = term.Clean(parts[i])
	}
	c.line = c.line[:0]
	_, err := io.WriteString(c.w, strings.Join(parts, "\t")+"\n")
	return err
}

// printPackage writes what is in a package for a person.
func (a *app) printPackage(s *inspect.Summary) error {
	p := s.Package
	a.printf("  package   %s %s, release %d, for %s/%s: %s files, %s\n", p.Product, p.Version, p.Release, p.OS, p.Arch, term.Count(len(p.Files)), term.Size(p.Size()))
	for _, r := range p.Requires {
		a.printf("  requires  %s, release %d or newer\n", r.Product, r.Release)
	}
	if p.Rollback != nil {
		a.printf("  rollback  it is older, and replaces release %d\n", p.Rollback.From)
	}
	if p.Probe != nil {
		a.printf("  probe     %s, within %d s\n", term.Clean(words(p.Probe.Command)), p.Probe.Seconds)
	}
	for line := range strings.Lines(p.Notes) {
		a.printf("  notes     %s\n", term.Clean(strings.TrimSuffix(line, "\n")))
	}
	t := term.NewTable("file", "mode", "size", "sha256")
	for _, f := range p.Files {
		t.Row(f.Name, f.Mode, term.Size(f.Size), f.SHA256[:16])
	}
	return t.Print(a.stdout)
}

// words writes a command line so that its words can be told apart.
func words(list []string) string {
	var out []string
	for _, w := range list {
		if w == "" || strings.ContainsAny(w, " \"'\\") {
			w = fmt.Sprintf("%q", w)
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}
