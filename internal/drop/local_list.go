package drop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// List implements [Drop].
func (l *Local) List(ctx context.Context, dir string) (Listing, error) {
	if err := CheckDir(dir); err != nil {
		return Listing{}, err
	}
	if err := ctx.Err(); err != nil {
		return Listing{}, err
	}
	var list Listing
	err := l.entries(ctx, dir, func(e fs.DirEntry) {
		if !e.Type().IsRegular() || !ValidPath(dir+"/"+e.Name()) {
			list.Ignored++
		} else if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			list.Files = append(list.Files, File{e.Name(), fi.Size()})
		} // else it went away since
	})
	if err != nil {
		return Listing{}, l.fail("list", dir, err)
	}
	slices.SortFunc(list.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Tills implements [Drop].
func (l *Local) Tills(ctx context.Context, dossier string) ([]string, error) {
	if err := errors.Join(CheckDossier(dossier), ctx.Err()); err != nil {
		return nil, err
	}
	var tills []string
	dir := dossier + "/up"
	err := l.entries(ctx, dir, func(e fs.DirEntry) {
		if e.IsDir() && ValidTill(e.Name()) {
			tills = append(tills, e.Name())
		}
	})
	if err != nil {
		return nil, l.fail("list", dir, err)
	}
	slices.Sort(tills)
	return tills, nil
}

// entries calls take for each entry of the folder dir, in no order; for none
// when dir does not exist. It reads the names in chunks, so that a folder with
// millions of them costs no more than MaxEntries.
func (l *Local) entries(ctx context.Context, dir string, take func(fs.DirEntry)) error {
	err := l.folder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := l.root.OpenFile(dir, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	for seen := 0; ; {
		entries, err := d.ReadDir(512)
		if seen += len(entries); seen > MaxEntries {
			return fmt.Errorf("more than %d: %w; move away what does not belong there", MaxEntries, ErrTooMany)
		}
		for _, e := range entries {
			take(e)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
