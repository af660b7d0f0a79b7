//go:build unix

package drop

import (
	"errors"
	"io/fs"
	"syscall"
)

// openNonblock keeps open from waiting at a FIFO that took a folder's name.
const openNonblock = syscall.O_NONBLOCK

// links returns how many names a file has. A part with a second name is not
// ours alone, and os.Root does not protect against hard links.
func links(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}

// readOnly reports whether err says that the file system takes no writes.
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// gone reports whether err is how a disk or network share that was pulled out
// or lost its server answers.
func gone(err error) bool {
	for _, e := range []syscall.Errno{syscall.EIO, syscall.ENODEV, syscall.ENXIO, syscall.ESTALE,
		syscall.ENOTCONN, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ETIMEDOUT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
