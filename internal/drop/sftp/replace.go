package sftp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"

	"caisseauto/internal/drop"
)

// Replace puts data under name, whatever was there: NAME.part, then
// posix-rename. Where the server has none, or only says so, the old file is
// removed and the new one renamed; a reader may then find no head for a
// moment, which is why a head is never needed to find a batch.
func (c *Client) Replace(ctx context.Context, name string, data []byte) error {
	err := drop.CheckReplace(name, data)
	if err != nil {
		return err
	}
	p := c.join(name)
	target := p + partSuffix
	if c.direct {
		target = p
	}
	if err := c.writeWhole(ctx, name, target, data); err != nil {
		return c.explain("replace", name, c.mapFull(ctx, path.Dir(p), int64(len(data)), err))
	}
	if !c.direct {
		err = c.renameOver(ctx, target, p)
	}
	return c.explain("replace", name, err)
}

// writeWhole writes a small file in place, truncating what was there.
func (c *Client) writeWhole(ctx context.Context, name, p string, data []byte) error {
	var f *sftp.File
	open := func() (err error) {
		f, err = c.sftp.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		return err
	}
	err := c.do(ctx, c.metadata(), open)
	if errors.Is(err, fs.ErrNotExist) {
		c.makeFolders(ctx, path.Dir(name))
		err = c.do(ctx, c.metadata(), open)
	}
	if err != nil {
		return err
	}
	err = c.do(ctx, c.sending(int64(len(data))), func() error {
		n, err := f.ReadFromWithConcurrency(bytes.NewReader(data), c.cfg.WriteRequests)
		if err == nil && n != int64(len(data)) {
			err = io.ErrShortWrite
		}
		return err
	})
	if err == nil && c.hasSync() {
		err = c.do(ctx, c.commit(), f.Sync)
	}
	if errClose := c.do(ctx, c.commit(), f.Close); err == nil {
		err = errClose
	}
	return err
}

// renameOver renames part to p, replacing it.
func (c *Client) renameOver(ctx context.Context, part, p string) error {
	err := errNoPosixRename
	if _, ok := c.sftp.HasExtension("posix-rename@openssh.com"); ok {
		err = c.do(ctx, c.commit(), func() error { return c.sftp.PosixRename(part, p) })
	}
	if err == nil || c.conn.killed() != nil || ctx.Err() != nil {
		return err
	}
	// Not offered, or offered and failing, as by servers that answer with
	// an empty implementation. RENAME may replace by itself (SFTPGo).
	return c.do(ctx, c.commit(), func() error {
		if err := c.sftp.Rename(part, p); err == nil {
			return nil
		}
		if err := c.sftp.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := c.sftp.Rename(part, p); err != nil {
			return fmt.Errorf("the old file is removed and the new one could not be renamed from %s: %w", path.Base(part), err)
		}
		return nil
	})
}

var errNoPosixRename = errors.New("the server offers no posix-rename")

// Remove removes the file and what an interrupted Put left of it; one that is
// not there is no error.
func (c *Client) Remove(ctx context.Context, name string) error {
	p, err := c.file(name)
	if err != nil {
		return err
	}
	err = c.do(ctx, c.metadata(), func() error {
		var errPart, errFile error
		both(func() { errPart = c.removeFile(p + partSuffix) }, func() { errFile = c.removeFile(p) })
		return cmp.Or(errPart, errFile)
	})
	return c.explain("remove", name, err)
}

// removeFile looks first: sftp.Client.Remove also removes an empty folder of
// that name.
func (c *Client) removeFile(p string) error {
	_, err := c.lstat(p)
	if err == nil {
		err = c.sftp.Remove(p)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// makeFolders makes the folders of dir, a path within the drop. Its errors
// are not looked at: a folder that is there, or that we may not make, shows
// in the next request.
func (c *Client) makeFolders(ctx context.Context, dir string) {
	parts := strings.Split(dir, "/")
	for i := range parts {
		p := c.join(path.Join(parts[:i+1]...))
		if err := c.do(ctx, c.metadata(), func() error { return c.sftp.Mkdir(p) }); err != nil {
			c.cfg.Log.Debug("sftp mkdir", "folder", p, "err", err)
		}
	}
}

// mapFull turns a refusal into drop.ErrNoSpace when the server says so in
// words, or when its file system has less room than need (StatVFS, as restic
// does). Any other err is returned as it is.
func (c *Client) mapFull(ctx context.Context, dir string, need int64, err error) error {
	var status *sftp.StatusError
	if !errors.As(err, &status) || status.FxCode() == sftp.ErrSSHFxPermissionDenied || isUnsupported(err) {
		return err
	}
	full := fmt.Errorf("%w on the server: %w", drop.ErrNoSpace, err)
	if status.Code == 14 || status.Code == 15 { // NO_SPACE_ON_FILESYSTEM, QUOTA_EXCEEDED of later drafts
		return full
	}
	text := strings.ToLower(status.Error())
	for _, word := range []string{"no space", "disk full", "quota"} {
		if strings.Contains(text, word) {
			return full
		}
	}
	var vfs *sftp.StatVFS
	if _, ok := c.sftp.HasExtension("statvfs@openssh.com"); ok {
		c.do(ctx, c.metadata(), func() (err error) { //nolint:errcheck // vfs stays nil
			vfs, err = c.sftp.StatVFS(dir)
			return err
		})
	}
	if vfs != nil && (vfs.Frsize*vfs.Bavail < uint64(need) || vfs.Files > 0 && vfs.Favail == 0) {
		return full
	}
	return err
}
