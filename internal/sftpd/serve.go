package sftpd

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Serve accepts connections on ln until ctx ends, then closes ln, lets
// transfers under way finish for Limits.Grace, closes the rest and returns
// nil. Any other return is the listener's error. When Serve returns, none of
// its goroutines is left.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var running sync.WaitGroup
	defer running.Wait()
	ended := make(chan struct{})
	defer close(ended)
	running.Go(func() {
		select {
		case <-ctx.Done():
		case <-ended:
		}
		ln.Close()
		s.drain()
	})
	for pause := time.Millisecond; ; {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // no more file descriptors, or the client was gone already
			s.cfg.Log.Warn("sftp accept", "err", err)
			pause = min(2*pause, time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = time.Millisecond
		if conn := s.admit(c); conn != nil {
			running.Go(func() {
				defer s.forget(conn)
				conn.serve()
			})
			if ctx.Err() != nil { // drain may have looked before
				conn.Close()
			}
		}
	}
}

// admit counts a new connection, or closes it when there are too many.
func (s *Server) admit(c net.Conn) *conn {
	n := newConn(s, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	same := 0
	for other := range s.conns {
		if other.address == n.address {
			same++
		}
	}
	if len(s.conns) >= s.cfg.Limits.Connections || same >= s.cfg.Limits.PerAddress {
		s.cfg.Log.Warn("sftp connection refused: too many", "from", n.address, "all", len(s.conns), "same address", same)
		c.Close()
		return nil
	}
	s.conns[n] = struct{}{}
	return n
}

func (s *Server) forget(c *conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// crowd ends the longest silent connection of a name that has too many. The
// newest lives: after a cut line it is the one with a client behind it.
func (s *Server) crowd(c *conn, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.user = user
	n := 0
	oldest := c
	for other := range s.conns {
		if other.user != user {
			continue
		}
		n++
		if other != c && (oldest == c || other.lastByte.Load() < oldest.lastByte.Load()) {
			oldest = other
		}
	}
	if n > s.cfg.Limits.PerUser {
		s.cfg.Log.Info("sftp: one connection too many, the longest silent is closed", "user", user)
		oldest.user = "" // not counted twice
		oldest.Close()
	}
}

// drain closes what is idle at once and the rest after the grace.
func (s *Server) drain() {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for end := time.Now().Add(s.cfg.Limits.Grace); ; <-t.C {
		left := 0
		s.mu.Lock()
		for c := range s.conns {
			if c.busy.Load() == 0 || time.Now().After(end) {
				c.Close()
			}
			left++
		}
		s.mu.Unlock()
		if left == 0 {
			return
		}
	}
}
