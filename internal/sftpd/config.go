package sftpd

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/drop"
)

// Config says what is served to whom. Root, HostKey and Users are required.
type Config struct {
	// Root is the drop: the folder that holds one folder per dossier.
	Root string
	// HostKey is the server's identity, which every client has pinned.
	HostKey ssh.Signer
	// Users returns the entries of one login name, none for an unknown one;
	// a name with two keys has two entries. It is asked at every login, so
	// that a revoked key needs no restart, and from several goroutines.
	Users func(name string) []User

	Limits Limits
	Log    *slog.Logger // nil: no log
}

// A User is one login with one key. It is either a till, a writer or a release
// manager.
type User struct {
	Name    string
	Key     ssh.PublicKey
	Dossier string // the one folder it sees
	Till    string // number of the till; empty for the others
	// Writer is the server side's own exporter when it runs elsewhere: it
	// reads its dossier and writes down/, trust/ and receipts/. Packages it
	// only reads: a stolen login of the server must not be able to touch code.
	Writer bool
	// Release is a release manager: he reads trust/ and packages/ and writes
	// packages/. Data he does not even see.
	Release bool
}

// StaticUsers serves a fixed list as Config.Users.
func StaticUsers(users ...User) func(name string) []User {
	return func(name string) []User {
		var found []User
		for _, u := range users {
			if u.Name == name {
				found = append(found, u)
			}
		}
		return found
	}
}

// Limits bound what one client can take from all others. Neither
// x/crypto/ssh nor pkg/sftp has any of them.
type Limits struct {
	Connections int           // in all; 1024
	PerAddress  int           // from one IP address; 128, for a shop's tills stand behind one
	PerUser     int           // logged in under one name; 4. One more ends the one that is silent for longest: after a cut line the dead one may stand for minutes
	Channels    int           // SFTP sessions in one connection; 2
	Handles     int           // open files and folders in one connection; 16
	FileSize    int64         // of one file; 4 GiB
	Entries     int           // in one folder; 100,000, more than a reader accepts helps nobody
	Handshake   time.Duration // from connect to logged in; 30 s
	Idle        time.Duration // without one byte; 5 min
	Grace       time.Duration // at the end, for transfers under way; 10 s
}

func (l Limits) withDefaults() Limits {
	count := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	count(&l.Connections, 1024)
	count(&l.PerAddress, 128)
	count(&l.PerUser, 4)
	count(&l.Channels, 2)
	count(&l.Handles, 16)
	count(&l.Entries, drop.MaxEntries)
	if l.FileSize <= 0 {
		l.FileSize = 4 << 30
	}
	wait := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	wait(&l.Handshake, 30*time.Second)
	wait(&l.Idle, 5*time.Minute)
	wait(&l.Grace, 10*time.Second)
	return l
}

// A Server serves one drop. Make one with New, run it with Serve, give its
// folder back with Close.
type Server struct {
	cfg  Config
	root *os.Root
	ssh  *ssh.ServerConfig

	mu      sync.Mutex
	conns   map[*conn]struct{}
	folders map[string]*folder // what is being written, by folder of the drop

	before func(op, path string) // tests only: called first in every handler
}

// New checks cfg and opens the drop's folder, which must exist.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Root == "":
		return nil, errors.New("sftpd: no folder to serve")
	case cfg.HostKey == nil:
		return nil, errors.New("sftpd: no host key")
	case cfg.Users == nil:
		return nil, errors.New("sftpd: no users")
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	root, err := os.OpenRoot(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("sftpd: folder of the drop: %w", err)
	}
	s := &Server{cfg: cfg, root: root, conns: map[*conn]struct{}{}, folders: map[string]*folder{}}
	s.ssh = s.sshConfig()
	return s, nil
}

// Close gives the drop's folder back. Call it after Serve has returned.
func (s *Server) Close() error { return s.root.Close() }

var codePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// Check returns an error unless u can be served: a key, a dossier and a till
// number that are names of folders, and one role.
func (u User) Check() error {
	var wrong []string
	if u.Name == "" {
		wrong = append(wrong, "no name")
	}
	if u.Key == nil {
		wrong = append(wrong, "no key")
	}
	if !codePattern.MatchString(u.Dossier) {
		wrong = append(wrong, fmt.Sprintf("dossier %q", u.Dossier))
	}
	if u.Till != "" && !codePattern.MatchString(u.Till) {
		wrong = append(wrong, fmt.Sprintf("till %q", u.Till))
	}
	roles := 0
	for _, has := range []bool{u.Till != "", u.Writer, u.Release} {
		if has {
			roles++
		}
	}
	if roles != 1 {
		wrong = append(wrong, "must be either a till, a writer or a release manager")
	}
	if wrong != nil {
		return fmt.Errorf("sftpd: user %q: %s", u.Name, strings.Join(wrong, ", "))
	}
	return nil
}
