package sftp_test

import (
	"os"
	"path/filepath"
	"testing"

	"caisseauto/internal/drop"
	"caisseauto/internal/drop/droptest"
	"caisseauto/internal/drop/sftp"
	"caisseauto/internal/sftpd"
)

// The embedded server, seen by a till.
func TestConformanceEmbedded(t *testing.T) {
	droptest.Run(t, func(t *testing.T) droptest.Fixture {
		e := startEmbedded(t, sftpd.Limits{})
		open := func(t *testing.T) drop.Drop { return dial(t, e.config("till017")) }
		return droptest.Fixture{Drop: open(t), Reopen: open, Raw: e.root, Jailed: true}
	})
}

// The embedded server in the place of an object-store gateway: final names are
// written directly and show when the file is closed.
func TestConformanceEmbeddedWithoutRename(t *testing.T) {
	droptest.Run(t, func(t *testing.T) droptest.Fixture {
		e := startEmbedded(t, sftpd.Limits{})
		cfg := e.config("till017")
		cfg.RenameMode = sftp.RenameNever
		open := func(t *testing.T) drop.Drop { return dial(t, cfg) }
		return droptest.Fixture{Drop: open(t), Reopen: open, Raw: e.root, Jailed: true, NoResume: true}
	})
}

// OpenSSH with everything it offers.
func TestConformanceOpenSSH(t *testing.T) {
	conformOpenSSH(t, startSSHD(t, ""), sftp.RenameAuto, droptest.Fixture{})
}

// OpenSSH as in a jail that allows neither posix-rename nor fsync nor statvfs.
func TestConformanceOpenSSHReduced(t *testing.T) {
	conformOpenSSH(t, startSSHD(t, "-P posix-rename,fsync,statvfs,hardlink,symlink,setstat,fsetstat"), sftp.RenameAlways,
		droptest.Fixture{HeadGap: true})
}

func conformOpenSSH(t *testing.T, s openssh, mode sftp.RenameMode, f droptest.Fixture) {
	droptest.Run(t, func(t *testing.T) droptest.Fixture {
		cfg := s.config()
		cfg.Path = filepath.Join(s.root, filepath.Base(t.TempDir()), t.Name())
		cfg.RenameMode = mode
		if err := os.MkdirAll(cfg.Path, 0o755); err != nil {
			t.Fatal(err)
		}
		open := func(t *testing.T) drop.Drop { return dial(t, cfg) }
		f := f
		f.Drop, f.Reopen, f.Raw = open(t), open, cfg.Path
		return f
	})
}
