package inspect

import "runtime/debug"

// memoryLimit is where the collector begins to work for its memory: what is in
// use stays below it, and without it as much again is garbage.
const memoryLimit = 64 << 20

// LimitMemory has the Go runtime collect garbage earlier, so that this process
// stays within 100 MiB on archives of any size, and returns what takes that
// back. It is for a process that does nothing else. A lower limit that is there
// already (GOMEMLIMIT) stays.
func LimitMemory() (restore func()) {
	before := debug.SetMemoryLimit(-1)
	debug.SetMemoryLimit(min(before, memoryLimit))
	return func() { debug.SetMemoryLimit(before) }
}
