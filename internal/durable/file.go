package durable

import (
	"fmt"
	"os"
)

// SyncFile brings what was written to f to the disk. A file that is to be
// published must be synced first: a name that survives a crash without its
// bytes is worse than no name.
func SyncFile(f *os.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.Name(), err)
	}
	return nil
}
