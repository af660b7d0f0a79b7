package sftpd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"

	"github.com/pkg/sftp"

	"caisseauto/internal/durable"
)

// Refusals that the client is told in words; they travel as SSH_FX_FAILURE.
var (
	errThere    = errors.New("the file is there already; nothing but heads and receipts is replaced")
	errTooLarge = errors.New("file too large")
	errFolder   = errors.New("too many files in the folder")
	errHandles  = errors.New("too many open files")
	errRevoked  = errors.New("the file was opened again or renamed meanwhile")
	errNoSpace  = errors.New("no space left on device")
)

// guard runs one handler: a panic in it must cost this request and not every
// till's connection, for pkg/sftp recovers nowhere. What goes out is an
// SFTP code or one of the sentences above; what really happened, with the
// server's paths in it, goes to the log.
func guard[T any](s *session, op, path string, f func() (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("sftp handler panicked", "op", op, "path", path, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = sftp.ErrSSHFxFailure
		}
	}()
	if s.server.before != nil {
		s.server.before(op, path)
	}
	v, err = f()
	if err == nil || err == io.EOF {
		return v, err
	}
	s.log.Info("sftp refused", "op", op, "path", path, "err", err)
	return v, outward(err)
}

// outward maps err to what the client may see.
func outward(err error) error {
	for _, known := range []error{
		errThere, errTooLarge, errFolder, errHandles, errRevoked,
		sftp.ErrSSHFxPermissionDenied, sftp.ErrSSHFxNoSuchFile, sftp.ErrSSHFxOpUnsupported, sftp.ErrSSHFxBadMessage,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sftp.ErrSSHFxNoSuchFile
	case errors.Is(err, fs.ErrPermission):
		return sftp.ErrSSHFxPermissionDenied
	case errors.Is(err, fs.ErrExist), errors.Is(err, durable.ErrDifferent):
		return errThere
	case durable.IsNoSpace(err):
		return errNoSpace
	}
	return sftp.ErrSSHFxFailure
}
