package sftp_test

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What a proxy does to a connection when the byte budget of one direction is
// used up.
const (
	freeze = "freeze" // black hole: nothing passes, nothing is closed
	reset  = "reset"  // RST to both sides
	finish = "finish" // FIN to both sides
)

// A fault is what a proxy does to the connections made while it is set.
type fault struct {
	delay time.Duration // each way
	rate  int           // bytes per second towards the client; 0: no limit
	up    int64         // budget towards the server; 0: none
	down  int64         // budget towards the client; 0: none
	then  string        // when a budget is used up
}

// A proxy stands between client and server in this process and can do to a
// connection what bad lines do.
type proxy struct {
	addr   string
	target string
	fault  atomic.Pointer[fault]
	frozen atomic.Bool // freezes all connections at once
	stop   chan struct{}
	wg     sync.WaitGroup
}

func startProxy(t testing.TB, target string, f fault) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: ln.Addr().String(), target: target, stop: make(chan struct{})}
	p.fault.Store(&f)
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		close(p.stop)
		ln.Close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) serve(client *net.TCPConn) {
	f := *p.fault.Load()
	c, err := net.Dial("tcp", p.target)
	if err != nil {
		client.Close()
		return
	}
	server := c.(*net.TCPConn)
	ended := make(chan struct{}, 2)
	p.wg.Go(func() { p.pump(server, client, f, f.up, 0); ended <- struct{}{} })
	p.wg.Go(func() { p.pump(client, server, f, f.down, f.rate); ended <- struct{}{} })
	select {
	case <-ended:
	case <-p.stop:
	}
	client.Close()
	server.Close()
}

// pump copies until an end or the fault.
func (p *proxy) pump(dst, src *net.TCPConn, f fault, budget int64, rate int) {
	size := 16 << 10
	if rate > 0 {
		size = max(1, rate/100)
	}
	write := dst.Write
	if f.delay > 0 {
		line := make(chan late, 1<<12)
		defer close(line)
		go deliver(dst, line)
		write = func(b []byte) (int, error) {
			line <- late{time.Now().Add(f.delay), bytes.Clone(b)}
			return len(b), nil
		}
	}
	buf := make([]byte, size)
	for passed := int64(0); ; {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		if p.frozen.Load() {
			<-p.stop
			return
		}
		if budget > 0 && passed+int64(n) >= budget {
			dst.Write(buf[:max(0, budget-passed)])
			p.fail(dst, src, f.then)
			return
		}
		if rate > 0 {
			time.Sleep(time.Second * time.Duration(n) / time.Duration(rate))
		}
		if _, err := write(buf[:n]); err != nil {
			return
		}
		passed += int64(n)
	}
}

// A late is data on a long line.
type late struct {
	due  time.Time
	data []byte
}

// deliver writes what comes down the line when it is due.
func deliver(dst *net.TCPConn, line <-chan late) {
	for l := range line {
		time.Sleep(time.Until(l.due))
		dst.Write(l.data) // a closed connection shows in the other direction
	}
}

func (p *proxy) fail(dst, src *net.TCPConn, how string) {
	switch how {
	case freeze:
		<-p.stop
	case reset:
		dst.SetLinger(0)
		src.SetLinger(0)
	}
	dst.Close()
	src.Close()
}
