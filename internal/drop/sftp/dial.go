package sftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"caisseauto/internal/drop"
)

// A Client is a drop behind an SFTP server, over one connection. It
// implements drop.Drop. When a method returns drop.ErrUnavailable the
// connection is gone: Close the client and Dial again later.
type Client struct {
	cfg    Config
	conn   *watchedConn
	ssh    *ssh.Client
	sftp   *sftp.Client
	frames *frameReader
	dialed time.Time
	direct bool // write final names, no rename

	background sync.WaitGroup // keepalive, watchdog, closing of read handles
	stop       chan struct{}
	closeOnce  sync.Once
	closeErr   error
}

var _ drop.Drop = (*Client)(nil)

// Dial connects, checks the server's key against the pinned ones, logs in and
// starts SFTP, all within Timeouts.Connect + Timeouts.Handshake or until ctx
// ends; later operations have contexts of their own.
//
// Errors: drop.ErrUnavailable when the server cannot be reached or does not
// answer in time, drop.ErrDenied when trying again does not help (host key,
// login, no common algorithm, no SFTP), a plain error for a bad Config.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	algs, err := hostKeyAlgorithms(cfg.HostKeys)
	if err != nil {
		return nil, err
	}
	raw, err := connect(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("sftp %s: %w: %w", cfg.Addr, drop.ErrUnavailable, err)
	}
	c := &Client{
		cfg: cfg, conn: newWatchedConn(raw), dialed: time.Now(),
		direct: cfg.RenameMode == RenameNever, stop: make(chan struct{}),
	}
	release := context.AfterFunc(ctx, func() { c.conn.kill(errAbandoned) })
	err = c.handshake(algs)
	if !release() {
		err = ctx.Err() // perhaps in the last moment: the connection is closed already
	}
	if err != nil {
		raw.Close()
		return nil, c.explainDial(err)
	}
	c.background.Go(c.keepAlive)
	c.background.Go(c.watch)
	c.background.Go(func() {
		c.conn.kill(fmt.Errorf("%w: connection lost: %w", drop.ErrUnavailable, cmp.Or(c.ssh.Wait(), io.EOF)))
	})
	cfg.Log.Debug("sftp connected", "addr", cfg.Addr, "user", cfg.User, "server", string(c.ssh.ServerVersion()))
	return c, nil
}

func connect(ctx context.Context, cfg Config) (net.Conn, error) {
	d := net.Dialer{
		Timeout:         cfg.Timeouts.Connect,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3},
		Control:         tcpControl(cfg.Timeouts.Stall),
	}
	return d.DialContext(ctx, "tcp", cfg.Addr)
}

// handshake runs key exchange, login and SFTP's INIT under one absolute
// deadline. ssh.ClientConfig.Timeout would cover the TCP connect only.
func (c *Client) handshake(algs []string) error {
	if err := c.conn.SetDeadline(time.Now().Add(c.cfg.Timeouts.Handshake)); err != nil {
		return err
	}
	conn, chans, reqs, err := ssh.NewClientConn(c.conn, c.cfg.Addr, &ssh.ClientConfig{
		Config:            transportConfig(),
		User:              c.cfg.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(c.cfg.Signers...)},
		HostKeyCallback:   pinned(c.cfg.Addr, c.cfg.HostKeys),
		HostKeyAlgorithms: algs,
		ClientVersion:     "SSH-2.0-caisseauto",
	})
	if err != nil {
		return err
	}
	c.ssh = ssh.NewClient(conn, chans, reqs)
	if err := c.startSFTP(); err != nil {
		return err
	}
	return c.conn.SetDeadline(time.Time{})
}

// errNoSFTP: logged in, but the account offers no SFTP.
var errNoSFTP = errors.New("the server lets us in but offers no SFTP to this account")

// startSFTP opens the session by hand instead of with sftp.NewClient, so that
// the packets pass through our frameReader.
func (c *Client) startSFTP() error {
	ch, reqs, err := c.ssh.OpenChannel("session", nil)
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	go ssh.DiscardRequests(reqs)             // ends with the channel
	go io.Copy(io.Discard, ch.Stderr())      //nolint:errcheck // unread, it would fill the window; ends with the channel
	request := struct{ Name string }{"sftp"} // RFC 4254, section 6.5
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(request))
	if err != nil {
		return fmt.Errorf("request subsystem sftp: %w", err)
	}
	if !ok {
		return errNoSFTP
	}
	c.frames = &frameReader{r: ch, limit: maxEntries, onExcess: c.conn.kill}
	c.sftp, err = sftp.NewClientPipe(c.frames, ch,
		sftp.MaxPacketChecked(packetSize),
		sftp.MaxConcurrentRequestsPerFile(maxRequests))
	if err != nil {
		return fmt.Errorf("start sftp: %w", err)
	}
	return nil
}

// explainDial sorts a failed handshake into "try again later" and "trying
// again does not help".
func (c *Client) explainDial(err error) error {
	var noKey *HostKeyError
	var noAlg *ssh.AlgorithmNegotiationError
	switch where := "sftp " + c.cfg.User + "@" + c.cfg.Addr; {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", where, err)
	case errors.As(err, &noKey):
		return fmt.Errorf("%s: %w", where, noKey)
	case errors.As(err, &noAlg):
		return fmt.Errorf("%s: %w: no common %s: the server offers %s, this program accepts %s. A host key of another type has to be pinned as host_key; for the rest the server needs an update",
			where, drop.ErrDenied, noAlg.What, strings.Join(noAlg.RequestedAlgorithms, ", "), strings.Join(noAlg.SupportedAlgorithms, ", "))
	case strings.Contains(err.Error(), "unable to authenticate"): // x/crypto has no type for it
		return fmt.Errorf("%s: %w: login refused: the server does not accept the key %s for this user. Have its public key entered there, or check that the account is not locked",
			where, drop.ErrDenied, ssh.FingerprintSHA256(c.cfg.Signers[0].PublicKey()))
	case errors.Is(err, errNoSFTP):
		return fmt.Errorf("%s: %w: %w", where, drop.ErrDenied, err)
	default:
		return fmt.Errorf("%s: %w: %w", where, drop.ErrUnavailable, err)
	}
}

// Close ends the session. On a connection known to be bad the TCP connection
// goes first: everything else would wait for an answer that never comes. It
// waits until the client's goroutines are gone.
func (c *Client) Close() error {
	c.closeOnce.Do(func() {
		close(c.stop)
		if c.conn.killed() == nil {
			t := time.AfterFunc(min(5*time.Second, c.cfg.Timeouts.Metadata), func() { c.conn.Conn.Close() })
			c.sftp.Close() // errors say only that the other side was faster
			c.ssh.Close()
			t.Stop()
		}
		c.conn.kill(errClosed)
		c.background.Wait()
	})
	return c.closeErr
}

// errClosed answers the use of a client after Close.
var errClosed = fmt.Errorf("%w: the client is closed", drop.ErrUnavailable)
