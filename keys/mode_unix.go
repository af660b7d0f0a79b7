//go:build unix

package keys

import (
	"fmt"
	"io/fs"
	"os"
)

// checkPrivateMode refuses what ssh itself refuses: a private key that its
// group or others can touch is not private any more.
func checkPrivateMode(path string, mode fs.FileMode) error {
	if mode.Perm()&0o077 != 0 {
		return fmt.Errorf("%w: %s can be read by other accounts (mode %04o); run: chmod 600 %s", ErrPermission, path, mode.Perm(), path)
	}
	return nil
}

// checkTrustMode refuses a list of trusted keys that every account can change.
func checkTrustMode(path string, mode fs.FileMode) error {
	if mode.Perm()&0o002 != 0 {
		return fmt.Errorf("%w: %s can be changed by every account (mode %04o); look whether it still holds the right keys, then run: chmod go-w %s",
			ErrPermission, path, mode.Perm(), path)
	}
	return nil
}

// syncFolder makes a new name in the folder survive a power cut.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
