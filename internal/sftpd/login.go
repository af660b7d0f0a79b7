package sftpd

import (
	"bytes"
	"errors"

	"golang.org/x/crypto/ssh"
)

// userKey is where a login's User stands in ssh.Permissions.
type userKey struct{}

// sshConfig says how to log in: by public key only, three tries. Key
// exchanges have forward secrecy, nothing uses SHA-1.
func (s *Server) sshConfig() *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256},
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305, ssh.CipherAES256CTR},
			MACs:         []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
		},
		MaxAuthTries:      3,
		PublicKeyCallback: s.login,
		AuthLogCallback: func(c ssh.ConnMetadata, method string, err error) {
			if err != nil && method != "none" {
				s.cfg.Log.Warn("sftp login refused", "user", c.User(), "from", c.RemoteAddr().String(), "method", method)
			}
		},
		ServerVersion: "SSH-2.0-caisseauto",
	}
	cfg.AddHostKey(s.cfg.HostKey)
	return cfg
}

// errLogin is the one answer to every refused login.
var errLogin = errors.New("not permitted")

// login looks the key up. The client may ask for several keys and then prove
// another one, so nothing is kept here: who logged in is what the library
// hands back with the proven key (CVE-2024-45337).
func (s *Server) login(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if _, isCert := key.(*ssh.Certificate); isCert {
		return nil, errLogin
	}
	for _, u := range s.cfg.Users(c.User()) {
		if u.Key == nil || u.Name != c.User() || !bytes.Equal(u.Key.Marshal(), key.Marshal()) {
			continue
		}
		if err := u.Check(); err != nil {
			s.cfg.Log.Error("sftp login refused: bad entry", "err", err)
			continue
		}
		return &ssh.Permissions{ExtraData: map[any]any{userKey{}: u}}, nil
	}
	return nil, errLogin
}
