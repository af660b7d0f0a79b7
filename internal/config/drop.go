package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A Drop is the tree of folders that both sides reach. After loading, either
// Folder is set, or Host with User, Path and host keys.
type Drop struct {
	URL     string     `toml:"url"`      // file:PATH or sftp://user@host:port/path
	HostKey PublicKeys `toml:"host_key"` // sftp: the keys that the server may show
	Key     string     `toml:"key"`      // sftp: private key of the login; the signing key by default

	Folder   string          `toml:"-"` // absolute path of a local drop
	Host     string          `toml:"-"` // host:port
	User     string          `toml:"-"`
	Path     string          `toml:"-"` // on the server, slashes, absolute
	HostKeys []ssh.PublicKey `toml:"-"` // HostKey, read
}

// Local reports whether the drop is a folder of this machine.
func (d *Drop) Local() bool { return d.Folder != "" }

// ParseDrop reads the address of a drop as it stands in drop.url. A relative
// folder begins at dir.
func ParseDrop(address, dir string) (Drop, error) {
	d := Drop{URL: address}
	return d, parseDropURL(&d, dir)
}

// The forms of an address, for messages.
const dropForms = `write "file:PATH" or "sftp://user@host:port/path"`

// parseDropURL fills in what url says. dir is the folder for relative paths.
func parseDropURL(d *Drop, dir string) error {
	switch {
	case strings.HasPrefix(d.URL, "file:"):
		p, err := filePath(d.URL)
		if err != nil {
			return err
		}
		d.Folder = resolve(dir, p)
		return nil
	case strings.HasPrefix(d.URL, "sftp:"):
		return parseSFTP(d)
	}
	// Not repeated: it may hold a password.
	return errors.New("not an address of a drop; " + dropForms)
}

func parseSFTP(d *Drop) error {
	u, err := url.Parse(d.URL)
	if err != nil {
		// The error of url.Parse repeats the address, which may hold a password.
		return errors.New("not an address; " + dropForms)
	}
	if _, secret := u.User.Password(); secret {
		return errors.New("a password must never stand in a configuration; take it out and log in with a key ([drop] key)")
	}
	if u.User.Username() == "" || u.Hostname() == "" {
		return errors.New(`the address lacks its user or its host; write "sftp://user@host:port/path"`)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return errors.New(`an address has no "?" and no "#"; options are keys of [drop]`)
	}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port; write a number from 1 to 65535", port)
	}
	if strings.ContainsFunc(u.Path+u.User.Username()+u.Hostname(), isControl) {
		return errors.New("control characters in the address; " + dropForms)
	}
	d.Host = net.JoinHostPort(u.Hostname(), port)
	d.User = u.User.Username()
	d.Path = path.Clean("/" + u.Path)
	return nil
}

// filePath takes the path out of "file:PATH" or "file:///PATH". The path is
// taken as it stands: no percent sign is decoded, no "?" begins options.
func filePath(s string) (string, error) {
	p := strings.TrimPrefix(s, "file:")
	if strings.HasPrefix(p, "//") {
		if p = p[2:]; !strings.HasPrefix(p, "/") {
			return "", errors.New(`the address names a host; write "file:PATH" for a folder of this machine`)
		}
		if len(p) > 2 && p[2] == ':' { // file:///C:/drop
			p = p[1:]
		}
	}
	if p == "" {
		return "", errors.New(`the path is missing; write "file:PATH"`)
	}
	return p, nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
