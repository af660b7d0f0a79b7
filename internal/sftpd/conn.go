package sftpd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A conn is one TCP connection. As a net.Conn it renews its deadlines with
// every byte, once the handshake is over: the library has none.
type conn struct {
	net.Conn
	server   *Server
	address  string // IP
	user     string // guarded by Server.mu
	idle     atomic.Int64
	lastByte atomic.Int64
	busy     atomic.Int32 // open files
}

func newConn(s *Server, c net.Conn) *conn {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		host = c.RemoteAddr().String()
	}
	n := &conn{Conn: c, server: s, address: host}
	n.lastByte.Store(time.Now().UnixNano())
	return n
}

func (c *conn) Read(p []byte) (int, error) {
	if idle := c.idle.Load(); idle > 0 {
		c.Conn.SetReadDeadline(time.Now().Add(time.Duration(idle))) //nolint:errcheck // a closed connection shows in Read
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.lastByte.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if idle := c.idle.Load(); idle > 0 {
		c.Conn.SetWriteDeadline(time.Now().Add(time.Duration(idle))) //nolint:errcheck // likewise
	}
	return c.Conn.Write(p)
}

// serve runs the connection to its end.
func (c *conn) serve() {
	log := c.server.cfg.Log.With("from", c.address)
	defer func() {
		if r := recover(); r != nil {
			log.Error("sftp connection panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	limits := c.server.cfg.Limits
	c.SetDeadline(time.Now().Add(limits.Handshake)) //nolint:errcheck // a closed connection shows below
	sc, chans, reqs, err := ssh.NewServerConn(c, c.server.ssh)
	if err != nil {
		log.Debug("sftp handshake", "err", err)
		return
	}
	defer sc.Close()
	c.idle.Store(int64(limits.Idle))
	c.SetDeadline(time.Now().Add(limits.Idle)) //nolint:errcheck // likewise
	user, ok := sc.Permissions.ExtraData[userKey{}].(User)
	if !ok {
		log.Error("sftp: login without a user")
		return
	}
	c.server.crowd(c, user.Name)
	log = log.With("user", user.Name)
	log.Debug("sftp connected", "client", string(sc.ClientVersion()))
	go ssh.DiscardRequests(reqs) // ends with the connection; answers keepalives
	c.channels(user, chans, log)
}

// channels serves the connection's channels: sessions for SFTP and nothing
// else, no more than Limits.Channels at a time.
func (c *conn) channels(user User, chans <-chan ssh.NewChannel, log *slog.Logger) {
	var running sync.WaitGroup
	var open atomic.Int32
	s, err := c.server.newSession(c, user, log)
	if err != nil {
		log.Error("sftp: cannot open the dossier's folder", "err", err)
		return
	}
	defer s.close()
	defer running.Wait() // before the folder is closed
	for ch := range chans {
		if ch.ChannelType() != "session" {
			ch.Reject(ssh.UnknownChannelType, "only SFTP sessions are served") //nolint:errcheck // the client is gone
			continue
		}
		if open.Add(1) > int32(c.server.cfg.Limits.Channels) {
			open.Add(-1)
			ch.Reject(ssh.ResourceShortage, "too many sessions") //nolint:errcheck // the client is gone
			continue
		}
		channel, requests, err := ch.Accept()
		if err != nil {
			open.Add(-1)
			continue
		}
		running.Go(func() {
			defer open.Add(-1)
			defer channel.Close()
			s.serve(channel, requests)
		})
	}
}

// serve waits for the request of the SFTP subsystem (RFC 4254, section 6.5)
// and serves it. Shells, commands and environments are refused.
func (s *session) serve(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("sftp session panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	for req := range requests {
		var sub struct{ Name string }
		ok := req.Type == "subsystem" && ssh.Unmarshal(req.Payload, &sub) == nil && sub.Name == "sftp"
		if req.WantReply {
			req.Reply(ok, nil) //nolint:errcheck // the client is gone
		}
		if !ok {
			continue
		}
		go ssh.DiscardRequests(requests) // ends with the channel
		err := sftp.NewRequestServer(channel, s.handlers()).Serve()
		if err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Debug("sftp session ended", "err", err)
		}
		// Stock clients report an error when no status comes.
		channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0})) //nolint:errcheck // the client is gone
		return
	}
}
