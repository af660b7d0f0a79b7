//go:build !unix

package keys

import "io/fs"

// Windows has access lists instead of modes; Go shows none of them, so what
// keeps others out there is the folder's own list.
func checkPrivateMode(string, fs.FileMode) error { return nil }

func checkTrustMode(string, fs.FileMode) error { return nil }

// syncFolder: NTFS journals names itself, and a folder cannot be opened for it.
func syncFolder(string) error { return nil }
