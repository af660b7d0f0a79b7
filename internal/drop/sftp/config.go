package sftp

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// RenameMode says how a finished upload gets its final name.
type RenameMode string

const (
	// RenameAuto uploads to NAME.part and renames. A server that answers
	// "operation unsupported" is written to directly from then on.
	RenameAuto RenameMode = ""
	// RenameAlways uploads to NAME.part and renames, or fails.
	RenameAlways RenameMode = "rename"
	// RenameNever writes the final name directly, for object-store gateways
	// where a rename is a copy or does not exist. The manifest, shipped last,
	// is then the only commit; nothing is resumed.
	RenameNever RenameMode = "direct"
)

// Config says which server, who we are, and how patient to be. Addr, User,
// HostKeys and Signers are required; every other zero value is a default.
type Config struct {
	Addr     string          // host:port
	User     string          // login name
	Path     string          // the drop's root on the server; empty is the folder the login lands in
	HostKeys []ssh.PublicKey // the pinned keys: the one in use and, during a change of keys, the next one
	Signers  []ssh.Signer    // our keys, tried in this order

	Timeouts Timeouts

	// ReadRequests and WriteRequests are how many 32 KiB requests are under
	// way at a time; 16 and 8 by default, at most 64, which fills the 2 MiB
	// window of an SSH channel. More than 8 upwards only fills the queue of
	// a slow line: same throughput at 1 Mbit/s, but a keepalive then takes
	// 16 s instead of 2 s to come back.
	ReadRequests  int
	WriteRequests int

	RenameMode RenameMode
	Log        *slog.Logger // nil: no log
}

// Timeouts bound every wait. They exist because neither pkg/sftp nor
// x/crypto/ssh has any of its own: a silent server hangs ssh.Dial for ever
// (golang/go#51926), a black-holed link hangs Stat and even Close
// (pkg/sftp#297).
type Timeouts struct {
	Connect   time.Duration // TCP connect; 15 s
	Handshake time.Duration // key exchange, login and the start of SFTP together; 45 s
	KeepAlive time.Duration // between keepalive requests; 15 s
	Stall     time.Duration // something is pending and no byte was read; 60 s
	Metadata  time.Duration // one request that moves no data; 30 s
	Data      time.Duration // what a transfer may take beyond its bytes at MinRate; 60 s
	Commit    time.Duration // fsync, close, rename, which are where gateways do their work; 120 s
	Session   time.Duration // age at which the client refuses new operations; 30 min
	MinRate   int64         // slowest transfer that is still called one, bytes per second; 8000
}

// The largest number of requests under way: 64 of 32 KiB are the 2 MiB
// channel window of both OpenSSH and x/crypto/ssh.
const maxRequests = 64

// packetSize is the payload of a READ or WRITE, the size every server must
// accept (draft-ietf-secsh-filexfer-02, section 3). Larger ones lose data
// silently on servers that answer short (pkg/sftp#658).
const packetSize = 32768

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&t.Connect, 15*time.Second)
	set(&t.Handshake, 45*time.Second)
	set(&t.KeepAlive, 15*time.Second)
	set(&t.Stall, 60*time.Second)
	set(&t.Metadata, 30*time.Second)
	set(&t.Data, 60*time.Second)
	set(&t.Commit, 120*time.Second)
	set(&t.Session, 30*time.Minute)
	if t.MinRate <= 0 {
		t.MinRate = 8000
	}
	return t
}

// check fills in the defaults and refuses what cannot work.
func (c Config) check() (Config, error) {
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return c, fmt.Errorf("sftp: address %q: want host:port: %w", c.Addr, err)
	}
	if c.User == "" {
		return c, errors.New("sftp: no user name")
	}
	if len(c.HostKeys) == 0 {
		return c, fmt.Errorf("sftp: no host key for %s: put the server's public key into the configuration as host_key = \"ssh-ed25519 AAAA…\" (ssh-keyscan shows it, compare it by another way)", c.Addr)
	}
	if len(c.Signers) == 0 {
		return c, fmt.Errorf("sftp: no key to log in to %s with", c.Addr)
	}
	if strings.ContainsRune(c.Path, 0) {
		return c, errors.New("sftp: the path holds a NUL")
	}
	if c.Path != "" {
		c.Path = path.Clean(c.Path)
	}
	switch c.RenameMode {
	case RenameAuto, RenameAlways, RenameNever:
	case "auto":
		c.RenameMode = RenameAuto
	default:
		return c, fmt.Errorf("sftp: rename mode %q: want auto, rename or direct", c.RenameMode)
	}
	c.ReadRequests = clampRequests(c.ReadRequests, 16)
	c.WriteRequests = clampRequests(c.WriteRequests, 8)
	c.Timeouts = c.Timeouts.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func clampRequests(n, def int) int {
	if n <= 0 {
		return def
	}
	return min(n, maxRequests)
}
