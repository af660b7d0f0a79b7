package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"caisseauto/importer"
	"caisseauto/internal/inspect"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

// A listedStream is what inspect prints of a stream with --json.
type listedStream struct {
	Stream  string        `json:"stream"`
	Batches []listedBatch `json:"batches"`
	Older   int64         `json:"older"` // batches that are not listed
	Strays  int64         `json:"strays"`
}

// A listedBatch is one of its batches; with an error nothing else is known.
type listedBatch struct {
	Sequence int64     `json:"sequence"`
	Error    string    `json:"error,omitempty"`
	Epoch    int64     `json:"epoch,omitempty"`
	Kind     string    `json:"kind,omitempty"`
	Created  time.Time `json:"created,omitzero"`
	Signer   string    `json:"signer,omitempty"`
	Key      string    `json:"key,omitempty"`
	Trusted  bool      `json:"trusted"`
	Tables   []string  `json:"tables,omitempty"`
	Rows     int64     `json:"rows,omitempty"`
	Product  string    `json:"product,omitempty"` // of a package, as what follows
	Version  string    `json:"version,omitempty"`
	Release  int64     `json:"release,omitempty"`
	OS       string    `json:"os,omitempty"`
	Arch     string    `json:"arch,omitempty"`
	Files    int64     `json:"files,omitempty"`
	Size     int64     `json:"size,omitempty"`
	Archive  bool      `json:"archive"` // it is there; it was not read
}

// inspectList lists the newest batches of each stream.
func (a *app) inspectList(ctx context.Context, l *looking, limit int) error {
	newest := limit
	switch {
	case limit < 0:
		newest = 0
	case limit == 0 && len(l.places) == 1:
		newest = 20
	case limit == 0:
		newest = 5
	}
	all := []listedStream{}
	var wrong, batches int
	unknown := false
	for _, p := range l.places {
		list, err := l.List(ctx, p, newest)
		if err != nil {
			return err
		}
		batches += len(list.Batches)
		for _, b := range list.Batches {
			if b.Err != nil && !inspect.Incomplete(b.Err) {
				wrong++
				unknown = unknown || errors.Is(b.Err, keys.ErrUnknownKey)
			}
			if b.Err == nil {
				l.remark(b.Trusted)
			}
		}
		if a.json {
			all = append(all, listedOf(list))
		} else if err := a.printList(list); err != nil {
			return err
		}
	}
	if a.json {
		if err := term.JSON(a.stdout, all); err != nil {
			return err
		}
	} else if len(l.places) > 0 {
		a.printf("manifests are verified, archives were not read; %s\n", l.trusted(l.list != nil))
	}
	if batches == 0 {
		fmt.Fprintln(a.stderr, "caisseauto: there is no batch here")
	}
	if wrong > 0 {
		return hintUnknown(fmt.Errorf("%w: %d of the batches listed, named above; nothing was changed", importer.ErrRefused, wrong), unknown)
	}
	return nil
}

func listedOf(l *inspect.List) listedStream {
	s := listedStream{Stream: l.Place.Stream, Batches: []listedBatch{}, Older: l.Older, Strays: l.Strays}
	for _, b := range l.Batches {
		x := listedBatch{Sequence: b.Sequence, Archive: b.Archive}
		if b.Err != nil {
			x.Error = b.Err.Error()
		} else {
			x = listedBatch{Sequence: b.Sequence, Epoch: b.Epoch, Kind: string(b.Kind), Created: b.Created, Signer: b.Signer, Key: b.Key, Trusted: b.Trusted,
				Tables: b.Tables, Rows: b.Rows, Size: b.Size, Archive: b.Archive}
			if p := b.Package; p != nil {
				x.Product, x.Version, x.Release, x.OS, x.Arch, x.Files = p.Product, p.Version, p.Release, p.OS, p.Arch, b.Files
			}
		}
		s.Batches = append(s.Batches, x)
	}
	return s
}

// printList writes the batches of a stream for a person.
func (a *app) printList(l *inspect.List) error {
	a.printf("%s: ", l.Place.Stream)
	switch n := int64(len(l.Batches)); {
	case n == 0:
		a.printf("no batches")
	case l.Older > 0:
		a.printf("the newest %d of %s batches", n, term.Count(n+l.Older))
	default:
		a.printf("%s batches", term.Count(n))
	}
	if l.Strays > 0 {
		a.printf("; %s names in the folder belong to nothing here", term.Count(l.Strays))
	}
	a.printf("\n")
	if l.Place.Note != "" {
		a.printf("note: %s\n", term.Clean(l.Place.Note))
	}
	if len(l.Batches) == 0 {
		return nil
	}
	head := []string{"batch", "kind", "sealed", "rows", "archive", "signer", "tables"}
	if slices.ContainsFunc(l.Batches, func(b inspect.Entry) bool { return b.Package != nil }) {
		head[3], head[6] = "files", "package"
	}
	t := term.NewTable(head...)
	var bad []inspect.Entry
	for _, b := range l.Batches {
		if b.Err != nil {
			bad = append(bad, b)
			t.Row(b.Sequence, refusedWord(b.Err))
			continue
		}
		size := term.Size(b.Size)
		if !b.Archive {
			size = "not there"
		}
		count, what := b.Rows, dash(shorten(strings.Join(b.Tables, ", ")))
		if p := b.Package; p != nil {
			count, what = b.Files, fmt.Sprintf("%s for %s/%s", p.Installed, p.OS, p.Arch)
			if p.From > 0 {
				what += fmt.Sprintf(", the way back from release %d", p.From)
			}
		}
		t.Row(b.Sequence, b.Kind, day(b.Created), term.Count(count), size, b.Signer, what)
	}
	if err := t.Print(a.stdout); err != nil {
		return err
	}
	for _, b := range bad {
		a.printf("%s %s\n", refusedWord(b.Err), term.Clean(b.Err.Error()))
	}
	return nil
}

func refusedWord(err error) string {
	if inspect.Incomplete(err) {
		return "INCOMPLETE"
	}
	return "REFUSED"
}
