package keys

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// An Agent is the SSH agent of this account (draft-ietf-sshm-ssh-agent): it
// holds private keys, or speaks to a token that does (FIDO2, PKCS#11), and signs
// without giving them away.
type Agent struct {
	client agent.ExtendedAgent
	conn   net.Conn
}

// OpenAgent connects to the agent whose socket the environment names
// (SSH_AUTH_SOCK; on Windows the pipe of its service). None there is
// [ErrPermission].
func OpenAgent() (*Agent, error) {
	conn, err := dialAgent()
	if err != nil {
		return nil, fmt.Errorf("SSH agent: %w: %w; start one with: eval $(ssh-agent), then ssh-add FILE", ErrPermission, err)
	}
	return &Agent{client: agent.NewClient(conn), conn: conn}, nil
}

// Close ends the connection. Keys from it sign no more.
func (a *Agent) Close() error { return a.conn.Close() }

// An AgentKey is a key that the agent holds.
type AgentKey struct {
	Public  ssh.PublicKey
	Comment string
}

// Keys lists what the agent holds.
func (a *Agent) Keys() ([]AgentKey, error) {
	list, err := a.client.List()
	if err != nil {
		return nil, fmt.Errorf("SSH agent: %w", err)
	}
	var out []AgentKey
	for _, k := range list {
		// One that cannot be parsed is of a kind that nothing here can use.
		if pub, err := ssh.ParsePublicKey(k.Blob); err == nil {
			out = append(out, AgentKey{pub, k.Comment})
		}
	}
	return out, nil
}

// Key returns a signer for the one key of the agent that fits. what says in
// errors which is looked for. None, and more than one, is [ErrPermission], and
// the error lists what the agent has.
func (a *Agent) Key(what string, fits func(ssh.PublicKey) bool) (ssh.Signer, error) {
	signers, err := a.client.Signers()
	if err != nil {
		return nil, fmt.Errorf("SSH agent: %w", err)
	}
	var found []ssh.Signer
	held := ""
	for _, s := range signers {
		if fits(s.PublicKey()) {
			found = append(found, s)
		}
		held += "\n  " + s.PublicKey().Type() + " " + ssh.FingerprintSHA256(s.PublicKey())
	}
	switch {
	case len(signers) == 0:
		return nil, fmt.Errorf("SSH agent: %w: it holds no key; add %s with ssh-add", ErrPermission, what)
	case len(found) == 0:
		return nil, fmt.Errorf("SSH agent: %w: it does not hold %s; it holds:%s", ErrPermission, what, held)
	case len(found) > 1:
		return nil, fmt.Errorf("SSH agent: %w: several of its keys are %s; name one with key = \"FILE\", whose FILE.pub is its public half; it holds:%s", ErrPermission, what, held)
	}
	return found[0], nil
}

// Signer returns [Agent.Key] as a signer of statements.
func (a *Agent) Signer(what string, fits func(ssh.PublicKey) bool) (Signer, error) {
	s, err := a.Key(what, fits)
	if err != nil {
		return nil, err
	}
	signer, err := NewSigner(s)
	if err != nil {
		return nil, fmt.Errorf("SSH agent: %s: %w", what, err)
	}
	return signer, nil
}

// Is returns a condition for [Agent.Key]: this very key.
func Is(pub ssh.PublicKey) func(ssh.PublicKey) bool {
	blob := pub.Marshal()
	return func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), blob) }
}

// Holds returns a condition for [Agent.Key]: the trust lists the key for the
// principal.
func (t *Trust) Holds(principal string) func(ssh.PublicKey) bool {
	return func(k ssh.PublicKey) bool {
		blob := k.Marshal()
		for _, e := range t.entries {
			for _, p := range e.principals {
				if p == principal && bytes.Equal(e.blob, blob) {
					return true
				}
			}
		}
		return false
	}
}

// LoadPublic reads a .pub file, one line as in authorized_keys, with its
// comment.
func LoadPublic(path string) (ssh.PublicKey, string, error) {
	data, err := readFile(path, maxKeyFile, checkAnyMode)
	if err != nil {
		return nil, "", fmt.Errorf("public key: %w", err)
	}
	pub, comment, _, rest, err := ssh.ParseAuthorizedKey(data)
	if err == nil && len(bytes.TrimSpace(rest)) > 0 {
		err = errors.New("there is more than one key in it")
	}
	if err != nil {
		return nil, "", fmt.Errorf("public key %s: %w; it must hold one line: type, base64, comment", path, err)
	}
	return pub, comment, nil
}

// Signers returns all that the agent holds, for a login: the server takes the
// one that it knows.
func (a *Agent) Signers() ([]ssh.Signer, error) {
	list, err := a.client.Signers()
	if err != nil {
		return nil, fmt.Errorf("SSH agent: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("SSH agent: %w: it holds no key; add one with ssh-add", ErrPermission)
	}
	return list, nil
}
