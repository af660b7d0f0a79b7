package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/durable"
	"caisseauto/internal/inspect"
)

// A connection leads to a drop, and has the private folder for what was fetched
// over it. One thing at a time goes over it.
type connection struct {
	app    *app
	config *config.Common
	folder string

	mu     sync.Mutex
	drop   drop.Drop
	opened time.Time
}

// maxAge is when a line is opened anew: the client refuses to go on with one
// of half an hour.
const maxAge = 20 * time.Minute

// dial opens a line, which close ends.
func (l *looking) dial(ctx context.Context, c *config.Common) (*connection, error) {
	d, err := l.app.openDrop(ctx, c)
	if err != nil {
		return nil, err
	}
	n := &connection{app: l.app, config: c, drop: d, opened: time.Now()}
	own := *c
	n.config = &own
	l.lines = append(l.lines, n)
	n.folder, err = os.MkdirTemp("", "caisseauto-inspect-")
	return n, err
}

// close ends the lines and removes what was fetched.
func (l *looking) close() {
	for _, n := range l.lines {
		_ = n.drop.Close() // it was read from only
		if n.folder != "" {
			_ = os.RemoveAll(n.folder) // nothing that is not empty by now
		}
	}
}

// use calls f with the connection.
func (n *connection) use(ctx context.Context, f func(drop.Drop) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.opened) > maxAge {
		d, err := n.app.openDrop(ctx, n.config)
		if err != nil {
			return fmt.Errorf("%w: %w", inspect.ErrLost, err)
		}
		_ = n.drop.Close()
		n.drop, n.opened = d, time.Now()
	}
	err := f(n.drop)
	switch {
	case errors.Is(err, drop.ErrUnavailable), durable.IsNoSpace(err), errors.Is(err, drop.ErrNoSpace):
		return fmt.Errorf("%w: %w", inspect.ErrLost, err)
	case errors.Is(err, drop.ErrConflict):
		// What is no regular file there is the file's fault, and nothing that
		// an operator has to decide.
		return errors.New(err.Error())
	}
	return err
}

func (n *connection) dossiers(ctx context.Context) (codes []string, err error) {
	err = n.use(ctx, func(d drop.Drop) error {
		lister, ok := d.(interface {
			Dossiers(context.Context) ([]string, error)
		})
		if !ok {
			return errors.ErrUnsupported
		}
		codes, err = lister.Dossiers(ctx)
		return err
	})
	return codes, err
}

func (n *connection) tills(ctx context.Context, dossier string) (tills []string, err error) {
	err = n.use(ctx, func(d drop.Drop) error {
		tills, err = d.Tills(ctx, dossier)
		return err
	})
	return tills, err
}

// place is a stream at the other end.
func (n *connection) place(stream string, only int64) inspect.Place {
	where := fmt.Sprintf("sftp://%s@%s%s/%s", n.config.Drop.User, n.config.Drop.Host, strings.TrimSuffix(n.config.Drop.Path, "/"), stream)
	return inspect.Place{Stream: stream, Only: only, Where: where, Files: farFiles{n, stream}}
}

// farFiles reads a stream's folder over a line.
type farFiles struct {
	line   *connection
	stream string
}

func (f farFiles) List(ctx context.Context) (out inspect.Listing, err error) {
	err = f.line.use(ctx, func(d drop.Drop) error {
		l, err := d.List(ctx, f.stream)
		var names []string
		for _, x := range l.Files {
			names = append(names, x.Name)
		}
		out = inspect.ListingOf(names)
		out.Strays += int64(l.Ignored)
		return err
	})
	return out, err
}

func (f farFiles) Read(ctx context.Context, name string, limit int64) (data []byte, err error) {
	dossier, rest, _ := strings.Cut(f.stream, "/")
	err = f.line.use(ctx, func(d drop.Drop) error {
		data, err = dropFiles{d, dossier}.Read(ctx, rest+"/"+name, limit)
		data = bytes.Clone(data)
		return err
	})
	return data, err
}

// Open fetches an archive into a private file, unless the server says that it
// has another size than was signed. The file loses its name at once where the
// system allows that, so that not even a kill leaves anything of it.
func (f farFiles) Open(ctx context.Context, name string, size int64) (file *os.File, err error) {
	full := f.stream + "/" + name
	err = f.line.use(ctx, func(d drop.Drop) error {
		got, err := d.Stat(ctx, full)
		if err != nil {
			return err
		}
		if got != size {
			return inspect.WrongSize(got, size)
		}
		if file, err = os.CreateTemp(f.line.folder, "*.tar.zst"); err != nil {
			return err
		}
		_ = os.Remove(file.Name())
		p := f.line.app.newProgress("fetching "+name, size, true)
		defer p.Done()
		if err := d.Get(ctx, full, 0, io.MultiWriter(&atMost{file, size}, p)); err != nil {
			return err
		}
		_, err = file.Seek(0, io.SeekStart)
		return err
	})
	if err != nil && file != nil {
		file.Close()
		_ = os.Remove(file.Name())
		file = nil
	}
	return file, err
}

// atMost takes no more bytes than were signed: the file may have grown.
type atMost struct {
	w    io.Writer
	left int64
}

func (a *atMost) Write(p []byte) (int, error) {
	if a.left -= int64(len(p)); a.left < 0 {
		return 0, fmt.Errorf("it has more bytes than the manifest says: %w", drop.ErrTooLarge)
	}
	return a.w.Write(p)
}
