package keys

import (
	"net"
	"os"
	"time"
)

// agentPipe is where OpenSSH's agent service of Windows listens.
const agentPipe = `\\.\pipe\openssh-ssh-agent`

// dialAgent opens the pipe, which reads and writes like a file.
func dialAgent() (net.Conn, error) {
	path := agentPipe
	if p := os.Getenv("SSH_AUTH_SOCK"); p != "" {
		path = p
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return pipe{f}, nil
}

// A pipe is a file that the agent's client takes for a connection.
type pipe struct{ *os.File }

func (p pipe) LocalAddr() net.Addr                { return &net.UnixAddr{Name: p.Name(), Net: "pipe"} }
func (p pipe) RemoteAddr() net.Addr               { return p.LocalAddr() }
func (p pipe) SetDeadline(t time.Time) error      { return p.File.SetDeadline(t) }
func (p pipe) SetReadDeadline(t time.Time) error  { return p.File.SetReadDeadline(t) }
func (p pipe) SetWriteDeadline(t time.Time) error { return p.File.SetWriteDeadline(t) }
