//go:build unix

package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience is how long a server may take to start or stop.
const patience = time.Minute

// Options of a cluster.
type Options struct {
	// Durable writes through to the disk (fsync), as a real server does. Else
	// a commit survives Kill, and not the machine's power cut.
	Durable bool
	// Settings of postgresql.conf, which win over this package's own.
	Settings map[string]string
	// Folder holds the cluster when it is given: one from Folder, or a disk
	// mounted there. It must be empty.
	Folder string
}

// A Cluster is one PostgreSQL server and its data. The superuser is postgres,
// with trust over the socket for every role, and SCRAM over TCP.
type Cluster struct {
	m      *machine
	dir    string // holds data, the socket and the log
	port   int
	given  bool // the folder is the test's
	shared bool
	server *keeper // nil when it does not run
	pid    int     // of the postmaster
}

var shared struct {
	sync.Mutex
	cluster *Cluster
	err     error
}

// Get returns the one cluster of this test binary, started at first use and
// ended with the process. It cannot be stopped: other tests use it.
func Get(t testing.TB) *Cluster {
	t.Helper()
	m := need(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil && shared.err == nil {
		shared.cluster, shared.err = m.create(Options{})
		if shared.cluster != nil {
			shared.cluster.shared = true
		}
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

// Start makes and starts a cluster of the test's own, which is removed at the
// test's end. If the test fails, the end of the server's log is shown.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := need(t).create(o)
	if err != nil {
		t.Fatal(err)
	}
	c.clean(t)
	return c
}

// clean removes the cluster at the end of the test.
func (c *Cluster) clean(t testing.TB) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of the server on port %d:\n%s", c.port, c.tail())
		}
		if err := c.remove(); err != nil {
			t.Error(err)
		}
	})
}

func (c *Cluster) remove() error {
	errs := []error{c.stop(Immediate)}
	entries, err := os.ReadDir(c.dir)
	errs = append(errs, err)
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(c.dir, e.Name())))
	}
	if !c.given {
		errs = append(errs, os.Remove(c.dir))
	}
	return errors.Join(errs...)
}

// create makes a cluster with initdb and starts it.
func (m *machine) create(o Options) (*Cluster, error) {
	c, err := m.place(o.Folder)
	if err != nil {
		return nil, err
	}
	err = m.run(c.dir, "initdb", "-D", c.Data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale="+locale(), "--no-sync")
	if err == nil {
		err = c.configure(o)
	}
	if err == nil {
		err = c.start()
	}
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

// place makes the folders of a new cluster, and finds it a port.
func (m *machine) place(dir string) (*Cluster, error) {
	given := dir != ""
	if !given {
		var err error
		if dir, err = os.MkdirTemp(m.root, ""); err != nil {
			return nil, fmt.Errorf("pgtest: %w", err)
		}
	}
	c := &Cluster{m: m, dir: dir, given: given, port: freePort()}
	if c.port == 0 {
		return nil, errors.New("pgtest: no free port on 127.0.0.1 from 20000 to 32000")
	}
	return c, errors.Join(m.give(dir), m.folder(c.Data()))
}

// freePort returns a port nobody listens on, or 0. Not among those that the
// system gives to outgoing connections: a stopped cluster keeps its port.
func freePort() int {
	for range 100 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			l.Close()
			return port
		}
	}
	return 0
}

// Data is the folder of the server's data (PGDATA).
func (c *Cluster) Data() string { return filepath.Join(c.dir, "data") }

// Port is that of the server on 127.0.0.1, also when it is stopped.
func (c *Cluster) Port() int { return c.port }

// configure writes the settings and who may log in how.
func (c *Cluster) configure(o Options) error {
	settings := map[string]string{
		"max_connections":           "200",
		"password_encryption":       "scram-sha-256", // 13 would take md5
		"timezone":                  "UTC",
		"log_timezone":              "UTC",
		"lc_messages":               "C",
		"log_line_prefix":           "%m [%p] %q%u@%d %a ",
		"max_prepared_transactions": "10",
		// Files below the data instead of /dev/shm: they go with the folder.
		"dynamic_shared_memory_type": "mmap",
	}
	if !o.Durable {
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
	}
	maps.Copy(settings, o.Settings)
	return errors.Join(
		c.write("postgresql.conf", conf(settings)),
		c.write("pg_hba.conf", "local all all trust\nlocal replication all trust\n"+
			"host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"))
}

// conf writes settings as postgresql.conf has them.
func conf(settings map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	return b.String()
}

// write replaces a file in the data's folder.
func (c *Cluster) write(name, content string) error {
	p := filepath.Join(c.Data(), name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	return c.m.give(p)
}

// Start starts a stopped or killed cluster, and waits until it answers.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	c.own(t)
	if c.running() {
		t.Fatal("pgtest: the server runs already")
	}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
}

// start starts the server; where and on which port is said on its command
// line, so that a copy of the data starts elsewhere.
func (c *Cluster) start() error {
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer log.Close()
	c.server, err = keep(serverScript, c.m.account, log, c.m.janitor.input, filepath.Join(c.m.bin, "postgres"), "-D", c.Data(),
		"-c", "listen_addresses=127.0.0.1", "-c", "port="+strconv.Itoa(c.port), "-c", "unix_socket_directories="+c.dir)
	if err != nil {
		return err
	}
	if c.pid, err = c.server.pid(); err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := c.ping()
		switch {
		case err == nil:
			return nil
		case c.server.ended():
			return fmt.Errorf("pgtest: the server has ended (%v):\n%s", c.server.err, c.tail())
		case time.Now().After(end):
			return errors.Join(fmt.Errorf("pgtest: the server does not answer after %s: %w\n%s", patience, err, c.tail()), c.stop(Immediate))
		}
	}
}

func (c *Cluster) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.DSN("postgres", "postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (c *Cluster) running() bool { return c.server != nil && !c.server.ended() }

func (c *Cluster) log() string { return filepath.Join(c.dir, "log") }

// Log returns what the server has written to its log so far.
func (c *Cluster) Log(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(c.log())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tail is the end of the log.
func (c *Cluster) tail() string {
	b, err := os.ReadFile(c.log())
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(b), "\n")
	return strings.Join(lines[max(0, len(lines)-50):], "")
}

// own refuses what would take the cluster away from other tests.
func (c *Cluster) own(t testing.TB) {
	t.Helper()
	if c.shared {
		t.Fatal("pgtest: this cluster is shared by all tests; take one of your own with pgtest.Start")
	}
}
