package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sort"

	"caisseauto/internal/drop"
)

// List lists the folder dir: the regular files whose names belong to the
// format, by name; everything else is only counted. A folder that does not
// exist lists empty. More than 100,000 entries are drop.ErrTooMany, and the
// connection is closed, because the protocol has no way to stop a server in
// the middle of a listing it keeps answering.
func (c *Client) List(ctx context.Context, dir string) (drop.Listing, error) {
	p, err := c.folder(dir)
	if err != nil {
		return drop.Listing{}, err
	}
	entries, err := c.readFolder(ctx, dir, p)
	return sift(dir, entries), err
}

// Tills lists the numbers of the tills that have a folder; see drop.Drop. A
// user that is confined to one till's folder sees that one only.
func (c *Client) Tills(ctx context.Context, dossier string) ([]string, error) {
	if err := drop.CheckDossier(dossier); err != nil {
		return nil, err
	}
	dir := dossier + "/up"
	entries, err := c.readFolder(ctx, dir, c.join(dir))
	var tills []string
	for _, e := range entries {
		if e.IsDir() && drop.ValidTill(e.Name()) {
			tills = append(tills, e.Name())
		}
	}
	slices.Sort(tills)
	return slices.Compact(tills), err
}

// Dossiers lists the folders in the drop's root whose names can be a dossier's.
func (c *Client) Dossiers(ctx context.Context) ([]string, error) {
	entries, err := c.readFolder(ctx, ".", c.join("."))
	var codes []string
	for _, e := range entries {
		if e.IsDir() && drop.CheckDossier(e.Name()) == nil {
			codes = append(codes, e.Name())
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes), err
}

// readFolder reads the folder dir, which is p on the server; one that does
// not exist is empty.
func (c *Client) readFolder(ctx context.Context, dir, p string) (entries []os.FileInfo, err error) {
	b := c.metadata()
	b.rate = c.cfg.Timeouts.MinRate // 100,000 names are 14 MB
	err = c.do(ctx, b, func() (err error) {
		c.frames.arm()
		defer c.frames.disarm()
		// Not the caller's ctx: on its end do closes the connection, while
		// ReadDirContext would first close the handle, which can hang.
		entries, err = c.sftp.ReadDirContext(context.Background(), p)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, c.explain("list", dir, err)
	}
	return entries, nil
}

// sift keeps what belongs to the format. A name that comes twice is kept
// once; a size below zero is one above 2^63 on the wire.
func sift(dir string, entries []os.FileInfo) drop.Listing {
	var l drop.Listing
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if !e.Mode().IsRegular() || !drop.ValidPath(dir+"/"+e.Name()) || e.Size() < 0 || seen[e.Name()] {
			l.Ignored++
			continue
		}
		seen[e.Name()] = true
		l.Files = append(l.Files, drop.File{Name: e.Name(), Size: e.Size()})
	}
	sort.Slice(l.Files, func(i, j int) bool { return l.Files[i].Name < l.Files[j].Name })
	return l
}

// Stat returns the size of the file, or fs.ErrNotExist. A folder or a
// symbolic link under that name is drop.ErrConflict.
func (c *Client) Stat(ctx context.Context, name string) (int64, error) {
	p, err := c.file(name)
	if err != nil {
		return 0, err
	}
	var size int64
	err = c.do(ctx, c.metadata(), func() (err error) {
		size, err = c.lstat(p)
		return err
	})
	return size, c.explain("stat", name, err)
}

// errNotRegular: a folder, link or device stands where a file should.
var errNotRegular = fmt.Errorf("not a regular file on the server: %w", drop.ErrConflict)

// lstat is one LSTAT request: size of a regular file.
func (c *Client) lstat(p string) (int64, error) {
	fi, err := c.sftp.Lstat(p)
	if err != nil {
		return 0, err
	}
	return regularSize(fi)
}

func regularSize(fi os.FileInfo) (int64, error) {
	if !fi.Mode().IsRegular() || fi.Size() < 0 {
		return 0, errNotRegular
	}
	return fi.Size(), nil
}
