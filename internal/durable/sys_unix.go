//go:build unix

package durable

import (
	"errors"
	"os"
	"syscall"
)

// openNonblock keeps open from waiting for the other end of a FIFO. It means
// nothing for regular files and folders.
const openNonblock = syscall.O_NONBLOCK

const canSyncDir = true

const canPoint = true

// openToSync opens a file whose bytes are to be synced: any way will do.
const openToSync = os.O_RDONLY

// cannotSync reports whether err is how a file system says that it does not
// sync folders: CIFS and FUSE give EINVAL or ENOTSUP.
func cannotSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS)
}

// noHardLinks reports whether link failed because this file system or kernel
// offers no hard links here. FAT says EPERM; EMLINK is a file with no link
// left; EACCES comes from Android's policy. Where the real cause was a missing
// permission, the rename that follows fails with it.
func noHardLinks(err error) bool {
	for _, e := range []syscall.Errno{syscall.EPERM, syscall.EACCES, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EMLINK} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// IsNoSpace reports whether err says that the disk, or the share of it that
// this account may use, is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// syncReadOnly syncs the bytes of a file that is open for reading only.
func syncReadOnly(f *os.File) error { return f.Sync() }

func rename(sys system, oldname, newname string) error { return sys.Rename(oldname, newname) }
