package droptest

import "os"

// mkfifo makes a folder: Windows has no FIFOs in folders.
func mkfifo(name string) error { return os.Mkdir(name, 0o777) }
