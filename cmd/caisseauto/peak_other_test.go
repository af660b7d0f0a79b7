//go:build !linux

package main

import "os"

// peak is the most memory that a process had, in KiB; 0: not known here.
func peak(*os.ProcessState) int64 { return 0 }
