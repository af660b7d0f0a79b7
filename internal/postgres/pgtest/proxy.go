//go:build unix

package pgtest

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// A Direction is one of the two in which a connection carries bytes.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

func (d Direction) String() string { return [...]string{"to the server", "to the client"}[d] }

// Passed counts what a Proxy has let through in one direction.
type Passed struct{ Bytes, Messages int }

// A Proxy is a network between a cluster and its clients that can be lost at
// any moment. Clients reach it over TCP, without a password: to the server
// they come through its socket.
//
// A cut ends all connections of that moment, once: whoever connects again
// finds the network whole. Messages are those of PostgreSQL's protocol; the
// startup message is the first to the server.
type Proxy struct {
	port   int
	socket string // of the server

	mu       sync.Mutex
	wake     sync.Cond
	listener net.Listener // nil while down
	links    map[*link]bool
	held     bool
	reset    bool
	passed   [2]Passed
	limit    *limit // the cut to come
	wasCut   bool
	running  sync.WaitGroup
}

// A limit is where the next cut happens.
type limit struct {
	in Direction
	at Passed // Bytes or Messages; the other is -1
}

// A link is one connection of a client, and the one to the server for it.
type link struct {
	client *net.TCPConn
	server *net.UnixConn
}

// newProxy opens a proxy before a server's socket.
func newProxy(t testing.TB, socket string, port int) *Proxy {
	t.Helper()
	p := &Proxy{port: port, socket: socket, links: map[*link]bool{}}
	p.wake.L = &p.mu
	p.Up(t)
	t.Cleanup(func() {
		p.Hold(false)
		p.Down()
		p.running.Wait()
	})
	return p
}

// Up makes the proxy reachable, again after Down.
func (p *Proxy) Up(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)))
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = l
	p.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // Down has closed it
			}
			p.running.Go(func() { p.serve(client.(*net.TCPConn)) })
		}
	})
}

// Down cuts all connections and refuses new ones until Up.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	p.cut()
}

// Cut ends all connections now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

// CutAfter sets the counters to zero and cuts once n more bytes have passed in
// a direction, counted over all connections; with 0, when the first byte comes.
func (p *Proxy) CutAfter(d Direction, n int) { p.arm(&limit{d, Passed{Bytes: n, Messages: -1}}) }

// CutAfterMessages is CutAfter, with whole messages.
func (p *Proxy) CutAfterMessages(d Direction, n int) {
	p.arm(&limit{d, Passed{Bytes: -1, Messages: n}})
}

// Count sets the counters to zero and takes back a cut that has not happened.
func (p *Proxy) Count() { p.arm(nil) }

func (p *Proxy) arm(l *limit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.passed, p.wasCut = l, [2]Passed{}, false
}

// WasCut reports whether the cut that was asked for last has happened.
func (p *Proxy) WasCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wasCut
}

// Passed returns what has passed since Count, or from CutAfter to the cut.
func (p *Proxy) Passed(d Direction) Passed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed[d]
}

// Hold stops all bytes without a word, as a network does that has gone silent,
// until it is called with false.
func (p *Proxy) Hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = on
	p.wake.Broadcast()
}

// Reset makes cuts look like a connection reset to the client (ECONNRESET);
// else it sees an end of the stream (EOF).
func (p *Proxy) Reset(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset = on
}

// cut ends all connections. The caller has the lock.
func (p *Proxy) cut() {
	for l := range p.links {
		if p.reset {
			l.client.SetLinger(0)
		}
		l.client.Close()
		l.server.Close()
		delete(p.links, l)
	}
	p.wake.Broadcast()
}

// serve carries one client's connection to its end.
func (p *Proxy) serve(client *net.TCPConn) {
	defer client.Close()
	server, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: p.socket, Net: "unix"})
	if err != nil {
		return // the server is down: the client sees it
	}
	defer server.Close()
	l := &link{client, server}
	p.mu.Lock()
	open := p.listener != nil
	if open {
		p.links[l] = true
	}
	p.mu.Unlock()
	if !open {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, ToServer, client, server) })
	both.Go(func() { p.pump(l, ToClient, server, client) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// A half is one direction of a connection.
type half interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// pump carries one direction until it ends or is cut.
func (p *Proxy) pump(l *link, d Direction, from, to half) {
	f := frames{untyped: d == ToServer}
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			pass, cut := p.let(l, d, &f, b[:n])
			if _, werr := to.Write(pass); werr != nil {
				err = errors.Join(err, werr)
			}
			if cut {
				p.Cut()
			}
		}
		if err != nil {
			to.CloseWrite() // what is on its way in the other direction still arrives
			return
		}
	}
}

// let waits while the network is silent, counts, and returns how much may
// pass, and whether all is to be cut then.
func (p *Proxy) let(l *link, d Direction, f *frames, b []byte) (pass []byte, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held && p.links[l] {
		p.wake.Wait()
	}
	if !p.links[l] {
		return nil, false
	}
	count := &p.passed[d]
	for n := 0; ; {
		if p.limit != nil && p.limit.in == d && (count.Bytes == p.limit.at.Bytes || count.Messages == p.limit.at.Messages) {
			p.limit = nil
			p.wasCut = true
			return b[:n], true
		}
		if n == len(b) {
			return b, false
		}
		size, whole := f.next(b[n:])
		if p.limit != nil && p.limit.in == d && p.limit.at.Bytes >= 0 {
			if left := p.limit.at.Bytes - count.Bytes; left < size {
				size, whole = left, false
			}
		}
		n += size
		if p.wasCut { // what comes later, as a client's request to cancel, is not counted
			continue
		}
		count.Bytes += size
		if whole {
			count.Messages++
		}
	}
}
