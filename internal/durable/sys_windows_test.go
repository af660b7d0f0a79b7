package durable

import (
	"os"

	"golang.org/x/sys/windows"
)

var errNoLink error = windows.ERROR_NOT_SUPPORTED

// mkfifo makes a folder: Windows has no FIFOs in folders.
func mkfifo(path string) error { return os.Mkdir(path, 0o700) }
