package durable

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncFileSystem brings all that was written to the file system of the folder
// dir to its disk: for a release of thousands of files one wait instead of
// thousands. Since Linux 5.8 syncfs(2) reports that bytes were lost on the
// way; before, it reports success over them. A kernel without the call is
// errors.ErrUnsupported.
func syncFileSystem(dir string) error {
	d, err := Tree{}.openDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
}

// renameNoReplace renames when to is free, in one step. A kernel or a file
// system that cannot is errors.ErrUnsupported.
func renameNoReplace(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EINVAL) { // rename(2): "The filesystem does not support one of the flags"
		err = fmt.Errorf("%w: %w", err, errors.ErrUnsupported)
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}
