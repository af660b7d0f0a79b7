package sftpd

import (
	"strings"

	"github.com/pkg/sftp"
)

// Filecmd implements sftp.FileCmder: everything that moves no data.
//
// Setting times or modes succeeds and does nothing: they are the server's
// own, and stock clients take a refusal for a failed transfer. Cutting a file
// short is refused. No folder, link or symbolic link can be made or removed.
func (s *session) Filecmd(r *sftp.Request) error {
	_, err := guard(s, strings.ToLower(r.Method), r.Filepath, func() (struct{}, error) {
		return struct{}{}, s.command(r)
	})
	return err
}

func (s *session) command(r *sftp.Request) error {
	switch r.Method {
	case "Remove":
		return s.remove(r.Filepath)
	case "Rename":
		return s.rename(r.Filepath, r.Target, false)
	case "Setstat":
		if _, err := s.take(r.Filepath); err != nil || r.AttrFlags().Size {
			return sftp.ErrSSHFxPermissionDenied
		}
		return nil
	case "Mkdir", "Rmdir":
		return sftp.ErrSSHFxPermissionDenied
	}
	return sftp.ErrSSHFxOpUnsupported // Link, Symlink
}

// PosixRename implements sftp.PosixRenameFileCmder. It replaces heads and
// receipts. For every other file it is a plain rename, because the stock
// `sftp` client uses it for its command rename wherever it is offered.
func (s *session) PosixRename(r *sftp.Request) error {
	_, err := guard(s, "posix-rename", r.Filepath, func() (struct{}, error) {
		return struct{}{}, s.rename(r.Filepath, r.Target, true)
	})
	return err
}

// rename commits an upload: from NAME.part to NAME, and nothing else.
func (s *session) rename(from, to string, replace bool) error {
	p, err := s.take(to)
	if err != nil {
		return err
	}
	if p.part || from != to+partSuffix {
		return sftp.ErrSSHFxPermissionDenied
	}
	folder := s.lockFolder(p)
	defer folder.mu.Unlock()
	folder.revoke(p.final() + partSuffix)
	return s.publish(p, replace)
}

func (s *session) remove(path string) error {
	p, err := s.take(path)
	if err != nil {
		return err
	}
	if !s.user.removable(p) {
		return sftp.ErrSSHFxPermissionDenied
	}
	folder := s.lockFolder(p)
	defer folder.mu.Unlock()
	fi, err := s.root.Lstat(p.onDisk())
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return sftp.ErrSSHFxPermissionDenied
	}
	if p.part {
		folder.revoke(p.onDisk())
	}
	return s.tree.Remove(p.onDisk())
}
