//go:build unix

package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// errNoBinaries: this machine has no PostgreSQL server to start.
var errNoBinaries = errors.New("pgtest: no PostgreSQL server binaries here (initdb, postgres and pg_basebackup): neither on PATH, nor where pg_config says, nor in /usr/lib/postgresql/*/bin; on Debian: apt-get install postgresql")

// A machine is what clusters are made of in this process: the binaries, the
// account they run as, and one folder for all that they write.
type machine struct {
	bin     string // folder of initdb, postgres and pg_basebackup
	root    string // holds a folder for each cluster; removed with the process
	account *syscall.Credential
	janitor *keeper
}

// theMachine looks once, when the first test wants a cluster.
var theMachine = sync.OnceValues(newMachine)

func need(t testing.TB) *machine {
	t.Helper()
	m, err := theMachine()
	if errors.Is(err, errNoBinaries) && os.Getenv("CAISSEAUTO_NEED_POSTGRES") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newMachine() (*machine, error) {
	m := &machine{bin: binaries()}
	if m.bin == "" {
		return nil, errNoBinaries
	}
	var err error
	if m.account, err = unprivileged(); err != nil {
		return nil, err
	}
	if m.root, err = os.MkdirTemp(tempDir(), "pgtest-"); err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	if m.janitor, err = keep(janitorScript, nil, nil, nil, m.root); err != nil {
		return nil, errors.Join(err, os.RemoveAll(m.root))
	}
	// The account must pass through it, and only through it.
	return m, os.Chmod(m.root, 0o711)
}

// binaries returns the folder of the server's programs, or "".
func binaries() string {
	var found []string
	if p, err := exec.LookPath("initdb"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			found = append(found, filepath.Dir(p))
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		found = append(found, strings.TrimSpace(string(out)))
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is sound
	slices.SortFunc(debian, func(a, b string) int { return release(b) - release(a) })
	for _, dir := range append(found, debian...) {
		if !slices.ContainsFunc([]string{"initdb", "postgres", "pg_basebackup"}, func(name string) bool {
			_, err := exec.LookPath(filepath.Join(dir, name))
			return err != nil
		}) {
			return dir
		}
	}
	return ""
}

// release is the 15 of /usr/lib/postgresql/15/bin, 0 for another name.
func release(dir string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	if err != nil {
		return 0
	}
	return n
}

// unprivileged returns the account to run as, nil for the process's own: the
// server refuses to run as root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("pgtest: account %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("pgtest: PostgreSQL does not run as root, and this machine has neither an account postgres nor nobody")
}

// memoryDisk is where Linux has a disk in memory, which takes a third of the
// time off tests of a database that nobody wants to keep.
const memoryDisk = "/dev/shm"

// roomy is what such a disk must have free to be used: a cluster has some
// 100 MB, and a test may write as much again.
const roomy = 4 << 30

// tempDir is the folder for clusters: the disk in memory if it has room, else
// the folder for temporary files when the account reaches it and the path of a
// socket in it is not too long (103 bytes), else /tmp.
func tempDir() string {
	var fs syscall.Statfs_t
	if syscall.Statfs(memoryDisk, &fs) == nil && uint64(fs.Bavail)*uint64(fs.Bsize) >= roomy && os.Getenv("TMPDIR") == "" {
		return memoryDisk
	}
	dir, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil || len(dir) > 50 {
		return "/tmp"
	}
	for d := dir; d != filepath.Dir(d); d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil || os.Geteuid() == 0 && info.Mode()&0o001 == 0 {
			return "/tmp"
		}
	}
	return dir
}

// folder makes a folder that belongs to the account.
func (m *machine) folder(name string) error {
	if err := os.Mkdir(name, 0o700); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	return m.give(name)
}

func (m *machine) give(name string) error {
	if m.account == nil {
		return nil
	}
	if err := os.Chown(name, int(m.account.Uid), int(m.account.Gid)); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	return nil
}

// environ is all that the programs see: no PGDATA, PGPORT, … of the machine.
func environ() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

// run runs one of the server's programs to its end, in dir, as the account.
func (m *machine) run(dir, name string, args ...string) error {
	if !filepath.IsAbs(name) {
		name = filepath.Join(m.bin, name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: m.account}
	cmd.ExtraFiles = []*os.File{m.janitor.input}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pgtest: %s: %w\n%s", cmd, err, &out)
	}
	return nil
}

// locale orders text by code points. Only Linux is sure to have C.UTF-8.
func locale() string {
	if runtime.GOOS == "linux" {
		return "C.UTF-8"
	}
	return "C"
}

// Folder makes a folder that belongs to the servers' account and is removed
// at the end of the test: for Options.Folder, or for a disk to be mounted.
func Folder(t testing.TB) string {
	t.Helper()
	m := need(t)
	dir, err := os.MkdirTemp(m.root, "folder-")
	if err == nil {
		err = m.give(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
