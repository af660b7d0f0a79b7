//go:build linux || darwin

package main

import "syscall"

// freeBytes returns the room that is left on the disk of a folder, 0 when
// that cannot be found out.
func freeBytes(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
