package durable

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// Windows has no FIFOs in folders, so opening never waits for one.
const openNonblock = 0

// NTFS journals its names; FlushFileBuffers refuses a folder.
const canSyncDir = false

// A symbolic link needs a right here that accounts do not have by default.
const canPoint = false

// FlushFileBuffers wants a handle open for writing.
const openToSync = os.O_RDWR

func cannotSync(error) bool { return true }

// noHardLinks reports whether link failed because the file system has none:
// FAT and exFAT say ERROR_INVALID_FUNCTION, network shares ERROR_NOT_SUPPORTED.
func noHardLinks(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_FUNCTION) || errors.Is(err, windows.ERROR_NOT_SUPPORTED)
}

// IsNoSpace reports whether err says that the disk, or the share of it that
// this account may use, is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// syncReadOnly does nothing: FlushFileBuffers wants a handle open for writing.
func syncReadOnly(*os.File) error { return nil }

// rename tries for two seconds: a virus scanner or a reader that has the
// target open makes MoveFileEx fail for a moment, see golang.org/issue/8914.
func rename(sys system, oldname, newname string) (err error) {
	for range 40 {
		err = sys.Rename(oldname, newname)
		if !errors.Is(err, windows.ERROR_SHARING_VIOLATION) && !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}
