package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"

	"caisseauto/internal/durable"
)

// verify reads a release on the disk, and refuses one that has not each file
// with the size, the mode and the digest that were signed. alone, it must have
// nothing else; a release that has run may have made files of its own.
func (t *Till) verify(ctx context.Context, dir string, b *Batch, alone bool) error {
	if fi, err := os.Lstat(dir); err != nil || !fi.IsDir() {
		return errors.Join(err, fmt.Errorf("%s is no folder", dir))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	told, done := t.progress("verifying", b.Package.Size()), int64(0)
	signed := make(map[string]bool, len(b.Files))
	buf := make([]byte, 256<<10)
	for _, file := range b.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := durable.In(root).OpenRegular(file.Name)
		if err != nil {
			return err
		}
		s := newSum(io.LimitReader(f, file.Size+1))
		n, err := io.CopyBuffer(onlyWriter{io.Discard}, s, buf)
		fi, serr := f.Stat()
		if err = errors.Join(err, serr, f.Close()); err != nil {
			return err
		}
		if n != file.Size {
			return fmt.Errorf("%s has not the %d bytes that the manifest says", file.Name, file.Size)
		}
		if err := s.check(file); err != nil {
			return err
		}
		if mode, err := fileMode(file.Mode); err != nil || runtime.GOOS != "windows" && fi.Mode() != mode {
			return fmt.Errorf("%s has the mode %s, the manifest says %s", file.Name, fi.Mode(), file.Mode)
		}
		for name := file.Name; name != "." && !signed[name]; name = path.Dir(name) {
			signed[name] = true
		}
		done += n
		told(done)
	}
	if !alone {
		return nil
	}
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && !signed[name]:
			return fmt.Errorf("%s is not in the manifest", name)
		case !d.IsDir() || runtime.GOOS == "windows":
			return nil
		}
		if fi, err := d.Info(); err != nil || fi.Mode() != fs.ModeDir|folderMode {
			return errors.Join(err, fmt.Errorf("%s has not the mode %s", name, folderMode))
		}
		return nil
	})
}
