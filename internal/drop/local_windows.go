package drop

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/windows"
)

const openNonblock = 0

// links says 1: the number of a file's names is not in a FileInfo on Windows,
// where making a hard link needs the right to write the file anyway.
func links(fs.FileInfo) uint64 { return 1 }

func readOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// gone reports whether err is how a disk or network share that was pulled out
// answers.
func gone(err error) bool {
	return errors.Is(err, windows.ERROR_NOT_READY) || errors.Is(err, windows.ERROR_BAD_NETPATH) ||
		errors.Is(err, windows.ERROR_NETNAME_DELETED) || errors.Is(err, windows.ERROR_DEV_NOT_EXIST)
}
