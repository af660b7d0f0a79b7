package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"caisseauto/internal/config"
	"caisseauto/keys"
)

// signerOf finds the signing key of a configuration: in a file, or in the SSH
// agent, which stays connected as long as this process lives.
func (a *app) signerOf(c *config.Common) (keys.Signer, error) {
	if err := c.NeedSigning(); err != nil {
		return nil, err
	}
	if c.Signing.Agent {
		return agentSigner(c)
	}
	s, err := keys.Load(c.Signing.Key, a.passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w; or make all that is missing with: caisseauto init", keys.ErrPermission, err)
	}
	return s, err
}

// agentSigner finds the key in the agent: the one whose public half lies where
// the configuration says, else the one that allowed_signers lists for the
// principal, else, before there is such a list, the only one.
func agentSigner(c *config.Common) (keys.Signer, error) {
	agent, err := keys.OpenAgent()
	if err != nil {
		return nil, err
	}
	if c.Signing.Key != "" {
		pub, _, err := keys.LoadPublic(c.Signing.Key + ".pub")
		if err != nil {
			return nil, fmt.Errorf("%w: %w; with agent = true, key names the file beside which the public half lies", keys.ErrPermission, err)
		}
		return agent.Signer("the key of "+c.Signing.Key+".pub", keys.Is(pub))
	}
	trust, err := keys.LoadTrust(c.Trust.AllowedSigners)
	if errors.Is(err, fs.ErrNotExist) {
		return agent.Signer("a key", func(ssh.PublicKey) bool { return true })
	}
	if err != nil {
		return nil, err
	}
	return agent.Signer("a key that "+c.Trust.AllowedSigners+" lists for "+c.Signing.Principal, trust.Holds(c.Signing.Principal))
}

// loginOf finds what logs in to the drop: a key file, or where the
// configuration has none, everything that the agent holds. done ends the
// connection to it.
func (a *app) loginOf(c *config.Common) (login []ssh.Signer, done func(), err error) {
	if c.Drop.Key != "" {
		s, err := keys.LoadSSH(c.Drop.Key, a.passphrase)
		return []ssh.Signer{s}, func() {}, err
	}
	agent, err := keys.OpenAgent()
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = agent.Close() } // nothing is lost with it
	if login, err = agent.Signers(); err != nil {
		done()
	}
	return login, done, err
}

// passphraseFile is the variable that names a file with the passphrase of
// encrypted keys, for what runs without anybody there. systemd's credentials
// (LoadCredential=passphrase:FILE) come to the same.
const (
	passphraseFile   = "CAISSEAUTO_PASSPHRASE_FILE"
	credentialsDir   = "CREDENTIALS_DIRECTORY" // systemd.exec(5)
	credential       = "passphrase"
	threeWays        = "name a file of mode 0600 that holds it in " + passphraseFile + ", or start the command on a terminal to be asked, or keep the key in an SSH agent (agent = true under [signing])"
	maxPassphrase    = 1024
	passphrasePrompt = "Passphrase of %s: "
)

// passphrase finds the passphrase of a key: in the file of the environment, or
// from whoever sits at the terminal. Never in an argument, a configuration or
// a log.
func (a *app) passphrase(name string) ([]byte, error) {
	if path := os.Getenv(passphraseFile); path != "" {
		return readPassphrase(path, true)
	}
	if dir := os.Getenv(credentialsDir); dir != "" {
		b, err := readPassphrase(filepath.Join(dir, credential), false)
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, fmt.Errorf("%w: it is encrypted, and nothing here knows its passphrase; %s", keys.ErrPermission, threeWays)
	}
	return a.prompt(f, fmt.Sprintf(passphrasePrompt, name))
}

// prompt asks on the terminal, without showing what is typed.
func (a *app) prompt(f *os.File, text string) ([]byte, error) {
	fmt.Fprint(a.stderr, text)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.stderr)
	if err != nil {
		return nil, fmt.Errorf("%w: no passphrase was typed: %w", keys.ErrPermission, err)
	}
	return b, nil
}

// readPassphrase reads the first line of a file that nobody else may read.
func readPassphrase(path string, private bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: the passphrase: %w; %s", keys.ErrPermission, err, threeWays)
	}
	defer f.Close()
	if private {
		if err := keys.CheckPrivate(f); err != nil {
			return nil, fmt.Errorf("the passphrase: %w", err)
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPassphrase+1))
	if err != nil {
		return nil, fmt.Errorf("%w: the passphrase: %w", keys.ErrPermission, err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 || len(line) > maxPassphrase {
		return nil, fmt.Errorf("%w: %s does not hold a passphrase in its first line", keys.ErrPermission, path)
	}
	return line, nil
}
