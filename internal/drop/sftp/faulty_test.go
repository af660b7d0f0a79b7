package sftp_test

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"

	pkgsftp "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"caisseauto/internal/drop/sftp"
)

// A faulty is an SFTP server over a file system in memory, of which single
// handlers are replaced by ones that fail as real servers do.
type faulty struct {
	addr string
	host ssh.Signer
	t    testing.TB

	mu   sync.Mutex
	conn net.Conn // the newest
}

// startFaulty serves h; it lets everybody in.
func startFaulty(t testing.TB, change func(h *pkgsftp.Handlers, f *faulty)) *faulty {
	t.Helper()
	f := &faulty{host: newKey(t), t: t}
	h := pkgsftp.InMemHandler()
	for _, dir := range []string{"/ACME", "/ACME/down"} {
		if err := h.FileCmd.Filecmd(pkgsftp.NewRequest("Mkdir", dir)); err != nil {
			t.Fatal(err)
		}
	}
	change(&h, f)
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	cfg.AddHostKey(f.host)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conn = c
			f.mu.Unlock()
			running.Go(func() { serveFaulty(c, cfg, h) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		f.cut()
	})
	return f
}

func serveFaulty(c net.Conn, cfg *ssh.ServerConfig, h pkgsftp.Handlers) {
	defer c.Close()
	sc, chans, reqs, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	defer sc.Close()
	go ssh.DiscardRequests(reqs)
	for n := range chans {
		ch, reqs, err := n.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range reqs {
				r.Reply(r.Type == "subsystem", nil)
			}
		}()
		go func() {
			pkgsftp.NewRequestServer(ch, h).Serve()
			ch.Close()
		}()
	}
}

// cut closes the newest connection.
func (f *faulty) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil {
		f.conn.Close()
	}
}

func (f *faulty) config() sftp.Config {
	return sftp.Config{Addr: f.addr, User: "anyone", Path: "/", HostKeys: []ssh.PublicKey{f.host.PublicKey()}, Signers: []ssh.Signer{newKey(f.t)}}
}

// Handlers as functions.
type (
	readerFunc func(*pkgsftp.Request) (io.ReaderAt, error)
	writerFunc func(*pkgsftp.Request) (io.WriterAt, error)
	listerFunc func(*pkgsftp.Request) (pkgsftp.ListerAt, error)
	cmdFunc    func(*pkgsftp.Request) error
	readAtFunc func([]byte, int64) (int, error)
	listAtFunc func([]os.FileInfo, int64) (int, error)
)

func (f readerFunc) Fileread(r *pkgsftp.Request) (io.ReaderAt, error)      { return f(r) }
func (f writerFunc) Filewrite(r *pkgsftp.Request) (io.WriterAt, error)     { return f(r) }
func (f listerFunc) Filelist(r *pkgsftp.Request) (pkgsftp.ListerAt, error) { return f(r) }
func (f cmdFunc) Filecmd(r *pkgsftp.Request) error                         { return f(r) }
func (f readAtFunc) ReadAt(p []byte, off int64) (int, error)               { return f(p, off) }
func (f listAtFunc) ListAt(p []os.FileInfo, off int64) (int, error)        { return f(p, off) }

// A writerAt fails where fail says so.
type writerAt struct {
	io.WriterAt
	fail func(off int64) error
	shut error // of Close
}

func (w writerAt) WriteAt(p []byte, off int64) (int, error) {
	if err := w.fail(off); err != nil {
		return 0, err
	}
	return w.WriterAt.WriteAt(p, off)
}

func (w writerAt) Close() error { return w.shut }

// failingWrites makes the server's writes and closes fail.
func failingWrites(fail func(off int64) error, shut error) func(*pkgsftp.Handlers, *faulty) {
	return func(h *pkgsftp.Handlers, _ *faulty) {
		inner := h.FilePut
		h.FilePut = writerFunc(func(r *pkgsftp.Request) (io.WriterAt, error) {
			w, err := inner.Filewrite(r)
			if err != nil {
				return nil, err
			}
			return writerAt{w, fail, shut}, nil
		})
	}
}
