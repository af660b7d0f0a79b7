//go:build linux || darwin

package sqlite3

import "golang.org/x/sys/unix"

// slabMemory sets address space aside.
func slabMemory(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	return b
}

// slabRelease gives the memory behind addresses back to the system.
func slabRelease(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }
