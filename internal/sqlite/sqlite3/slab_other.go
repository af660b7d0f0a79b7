//go:build !linux && !darwin

package sqlite3

// slabMemory returns nothing: here the library's allocator serves alone.
func slabMemory(int) []byte { return nil }

func slabRelease([]byte) {}
