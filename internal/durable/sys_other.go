//go:build !linux

package durable

import "errors"

// syncFileSystem is Linux's alone.
func syncFileSystem(string) error { return errors.ErrUnsupported }

// renameNoReplace is Linux's alone.
func renameNoReplace(string, string) error { return errors.ErrUnsupported }
