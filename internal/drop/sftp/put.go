package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/pkg/sftp"

	"caisseauto/internal/drop"
)

// An upload is one file on its way to the server.
type upload struct {
	c     *Client
	name  string // within the drop, for messages
	final string // on the server
	part  string
	size  int64
	feed  drop.Feed
}

// Put creates name with size bytes from feed. It writes NAME.part, has the
// server sync it where it can, checks the size and renames it to the final
// name without replacing anything. What an earlier call left in NAME.part is
// carried on; so is an earlier call whose last answer was lost: name is then
// there with its size, and nothing is left to do. Where the server has no
// rename the final name is written directly (see RenameMode).
//
// Errors: drop.ErrConflict when name is there with another size,
// drop.ErrNoSpace, drop.ErrDenied, drop.ErrUnavailable (NAME.part stays, for
// the next call), the feed's own error (likewise). After a write the server
// refused, NAME.part is removed: requests are answered out of order, so
// there may be a hole before its end.
func (c *Client) Put(ctx context.Context, name string, size int64, feed drop.Feed) error {
	if err := drop.CheckPut(name); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("sftp: put %s: size %d: %w", name, size, fs.ErrInvalid)
	}
	p := c.join(name)
	u := &upload{c: c, name: name, final: p, part: p + partSuffix, size: size, feed: feed}
	return c.explain("put", name, u.run(ctx))
}

func (u *upload) run(ctx context.Context) error {
	there, partSize, err := u.look(ctx)
	switch {
	case err != nil || there:
		return err
	case u.c.direct:
		return u.writeDirect(ctx, partSize >= 0)
	}
	f, offset, err := u.openPart(ctx, partSize)
	if err != nil {
		return u.mapFull(ctx, err)
	}
	if err := u.fill(ctx, f, offset, u.part); err != nil {
		return err
	}
	err = u.rename(ctx)
	if isUnsupported(err) && u.c.cfg.RenameMode == RenameAuto {
		u.c.cfg.Log.Warn("the server has no rename: final names are written directly from now on", "addr", u.c.cfg.Addr)
		u.c.direct = true
		u.remove(ctx, u.part)
		return u.writeDirect(ctx, false)
	}
	return err
}

// look asks for the final name and the part at once. there: name is complete.
// partSize is below zero when there is no part.
func (u *upload) look(ctx context.Context) (there bool, partSize int64, err error) {
	var finalSize int64
	var finalErr, partErr error
	err = u.c.do(ctx, u.c.metadata(), func() error {
		both(func() { finalSize, finalErr = u.c.lstat(u.final) },
			func() { partSize, partErr = u.c.lstat(u.part) })
		if finalErr != nil && !errors.Is(finalErr, fs.ErrNotExist) {
			return finalErr
		}
		if partErr != nil && !errors.Is(partErr, fs.ErrNotExist) {
			return partErr
		}
		return nil
	})
	if err != nil {
		return false, 0, err
	}
	if partErr != nil {
		partSize = -1
	}
	switch {
	case finalErr != nil: // not there yet
	case finalSize == u.size:
		if partSize >= 0 { // a rename that was interrupted between link and unlink
			u.remove(ctx, u.part)
		}
		return true, 0, nil
	case u.c.direct && partSize >= 0: // our own, cut off: see writeDirect
		u.remove(ctx, u.final)
	default:
		return false, 0, u.conflict(finalSize)
	}
	return false, partSize, nil
}

func (u *upload) conflict(got int64) error {
	return fmt.Errorf("%w: %d bytes on the server, %d here; nothing was changed", drop.ErrConflict, got, u.size)
}

// openPart opens the part: an earlier one to carry on, or a new one. offset
// is where to go on.
//
// Writes are answered out of order, so after a lost connection the last
// requests under way may have left holes: the last 2·WriteRequests packets
// are sent again, twice as many as were ever under way.
func (u *upload) openPart(ctx context.Context, partSize int64) (f *sftp.File, offset int64, err error) {
	if partSize >= 0 {
		offset = partSize - 2*int64(u.c.cfg.WriteRequests)*packetSize
		offset = max(offset-offset%packetSize, 0)
		if partSize <= u.size {
			// Neither TRUNC nor APPEND: OpenSSH ignores offsets under APPEND.
			f, err = u.openFile(ctx, u.part, os.O_WRONLY)
			if err == nil || u.c.conn.killed() != nil {
				return f, offset, err
			}
		}
		u.remove(ctx, u.part) // longer than the whole, or not ours to reopen
	}
	f, err = u.create(ctx, u.part)
	return f, 0, err
}

// create opens a new file, and makes its folder when that is missing.
func (u *upload) create(ctx context.Context, p string) (*sftp.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := u.openFile(ctx, p, flags)
	if errors.Is(err, fs.ErrNotExist) {
		u.c.makeFolders(ctx, path.Dir(u.name))
		f, err = u.openFile(ctx, p, flags)
	}
	return f, err
}

func (u *upload) openFile(ctx context.Context, p string, flags int) (f *sftp.File, err error) {
	err = u.c.do(ctx, u.c.metadata(), func() (err error) {
		f, err = u.c.sftp.OpenFile(p, flags)
		return err
	})
	return f, err
}

// fill writes [offset, size) into f, open as p, and closes it. Every answer
// counts: object gateways do their work at close.
func (u *upload) fill(ctx context.Context, f *sftp.File, offset int64, p string) error {
	err := u.send(ctx, f, offset)
	if err == nil && u.c.hasSync() {
		err = u.c.do(ctx, u.c.commit(), f.Sync)
	}
	if errClose := u.c.do(ctx, u.c.commit(), f.Close); err == nil {
		err = errClose
	}
	var got int64
	if err == nil {
		err = u.c.do(ctx, u.c.metadata(), func() (err error) {
			got, err = u.c.lstat(p)
			return err
		})
	}
	if err == nil && got != u.size {
		err = fmt.Errorf("the server holds %d of %d bytes after the upload; it was removed there, try again", got, u.size)
	}
	var local *localError
	if err == nil || errors.As(err, &local) || ctx.Err() != nil {
		return err // a part that our side cut short has no holes
	}
	full := u.mapFull(ctx, err)
	u.remove(ctx, p)
	return full
}

// send runs the feed against WriteRequests concurrent writes. The feed runs in
// the caller's goroutine, so that its panic is the caller's.
func (u *upload) send(ctx context.Context, f *sftp.File, offset int64) error {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	r, w := io.Pipe()
	feedCtx, cancel := context.WithCancel(ctx)
	stop := func() {
		cancel()
		r.CloseWithError(errEnough)
	}
	// A dead connection must not wait for a feed that is slow or stuck.
	defer context.AfterFunc(u.c.conn.dead, stop)()
	var n int64
	var err error
	var sending sync.WaitGroup
	sending.Go(func() {
		defer stop()
		err = u.c.do(ctx, u.c.sending(u.size-offset), func() (err error) {
			n, err = f.ReadFromWithConcurrency(io.LimitReader(r, u.size-offset+1), u.c.cfg.WriteRequests)
			return err
		})
	})
	defer sending.Wait()
	defer w.CloseWithError(errEnough) // should the feed panic
	feedErr := u.feed(feedCtx, offset, w)
	w.CloseWithError(feedErr) // nil is the end of the file
	sending.Wait()
	return u.settle(ctx, offset+n, err, feedErr)
}

// settle tells the server's failures from those of our side. at is how far
// the feed came.
func (u *upload) settle(ctx context.Context, at int64, err, feedErr error) error {
	ours := feedErr != nil && !errors.Is(feedErr, errEnough)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !(ours && errors.Is(err, feedErr)):
		return err
	case at > u.size:
		return &localError{fmt.Errorf("the source gives more than the %d bytes it announced: %w", u.size, drop.ErrTooLarge)}
	case ours:
		return &localError{feedErr}
	case at < u.size:
		return &localError{fmt.Errorf("the source ended at %d of %d bytes: %w", at, u.size, io.ErrUnexpectedEOF)}
	}
	return nil
}

// errEnough ends a feed that goes on after the upload is over.
var errEnough = errors.New("the upload is over")

// hasSync: the server offers fsync@openssh.com (OpenSSH PROTOCOL, section
// 4.4). pkg/sftp's servers do not; ours syncs on its own.
func (c *Client) hasSync() bool {
	data, ok := c.sftp.HasExtension("fsync@openssh.com")
	return ok && data == "1"
}

// rename commits. RENAME, never posix-rename, which replaces silently.
// OpenSSH answers "already there" and "disk full" alike with FAILURE, so a
// refusal is looked into.
func (u *upload) rename(ctx context.Context) error {
	err := u.c.do(ctx, u.c.commit(), func() error { return u.c.sftp.Rename(u.part, u.final) })
	if err == nil || u.c.conn.killed() != nil || isUnsupported(err) {
		return err
	}
	var got int64
	errStat := u.c.do(ctx, u.c.metadata(), func() (err error) {
		got, err = u.c.lstat(u.final)
		return err
	})
	switch {
	case errStat == nil && got == u.size: // done after all, or by another run of ours
		u.remove(ctx, u.part)
		return nil
	case errStat == nil:
		return u.conflict(got)
	}
	return u.mapFull(ctx, err)
}

// writeDirect writes the final name, for servers without rename. Nothing
// there is replaced: EXCL. An empty part stands beside it meanwhile: it tells
// the next call that what it finds under the final name is an upload of ours
// that was cut off, and not another file.
func (u *upload) writeDirect(ctx context.Context, marked bool) error {
	if !marked {
		mark, err := u.create(ctx, u.part)
		if err == nil {
			err = u.c.do(ctx, u.c.commit(), mark.Close)
		}
		if err != nil {
			return u.mapFull(ctx, err)
		}
	}
	f, err := u.create(ctx, u.final)
	if err != nil {
		return u.mapFull(ctx, err)
	}
	if err := u.fill(ctx, f, 0, u.final); err != nil {
		u.remove(ctx, u.final) // also after our own side's error: it stands under the final name
		return err
	}
	u.remove(ctx, u.part)
	return nil
}

// remove is a clean-up whose failure changes nothing: the file is found again
// by the next call.
func (u *upload) remove(ctx context.Context, p string) {
	if err := u.c.do(ctx, u.c.metadata(), func() error { return u.c.sftp.Remove(p) }); err != nil {
		u.c.cfg.Log.Debug("sftp clean-up", "file", p, "err", err)
	}
}

// mapFull finds out whether a refusal means a full disk, for which SFTP
// version 3 has no code.
func (u *upload) mapFull(ctx context.Context, err error) error {
	return u.c.mapFull(ctx, path.Dir(u.final), u.size, err)
}

// Lacks names what the server does not offer of what this client can use.
// Nothing of it is needed: a file is sealed whoever carries it.
func (c *Client) Lacks() []string {
	var list []string
	for _, x := range []struct{ name, without string }{
		{"fsync@openssh.com", "a file that was shipped may be lost when the server loses power"},
		{"posix-rename@openssh.com", "a head is missing for a moment while it is replaced"},
		{"statvfs@openssh.com", "a full disk is told as any failure to write"},
	} {
		if _, ok := c.sftp.HasExtension(x.name); !ok {
			list = append(list, x.name+": without it "+x.without)
		}
	}
	return list
}
