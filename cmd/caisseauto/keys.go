package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	xterm "golang.org/x/term"

	"caisseauto/internal/term"
	"caisseauto/keys"
)

func (a *app) keysCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "Make a signing key, show keys and their fingerprints",
		Long: `Keys are OpenSSH keys: ssh-keygen makes as good ones, and reads these. A private
key has mode 0600 and is never overwritten.`,
		Example: `  caisseauto keys new keys/server --principal server@acme
  caisseauto keys show allowed_signers
  caisseauto keys fingerprint keys/server.pub`,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.keysNewCommand(), a.keysShowCommand(), a.keysFingerprintCommand())
	return c
}

type newKeyFlags struct {
	kind, comment, principal string
	passphrase               bool
}

func (a *app) keysNewCommand() *cobra.Command {
	var f newKeyFlags
	c := &cobra.Command{
		Use:   "new PATH",
		Short: "Make a key; nothing is overwritten",
		Long: `Makes a private key in PATH (mode 0600) and its public half in PATH.pub, and prints
its fingerprint and, with --principal, the line of allowed_signers for those who are
to trust it. Ed25519 is the default; --type ecdsa (P-256) is for tills under a fiscal
regime that lists ECDSA and not Ed25519, such as NF525.

With --passphrase the private key is encrypted. The passphrase is typed twice, or
comes from the file of mode 0600 that CAISSEAUTO_PASSPHRASE_FILE names, which is also
where scheduled commands find it (under systemd: LoadCredential=passphrase:FILE).`,
		Example: `  caisseauto keys new keys/server --principal server@acme
  caisseauto keys new keys/till --type ecdsa --principal till-017@acme
  caisseauto keys new root-1 --passphrase --principal root-1@acme`,
		RunE: func(_ *cobra.Command, args []string) error { return a.keysNew(args, f) },
	}
	c.Flags().StringVar(&f.kind, "type", string(keys.Ed25519), "`KIND` of key: ed25519, or ecdsa (P-256)")
	c.Flags().StringVar(&f.comment, "comment", "", "`TEXT` behind the public half; else the principal")
	c.Flags().StringVar(&f.principal, "principal", "", "`NAME` that signs with it: server@…, till-NUMBER@DOSSIER, release@…, root-N@…")
	c.Flags().BoolVar(&f.passphrase, "passphrase", false, "encrypt the private key")
	return c
}

func (a *app) keysNew(args []string, f newKeyFlags) error {
	if len(args) != 1 {
		return &usageError{errors.New("PATH: where shall the private key go? its public half goes to PATH.pub")}
	}
	if kind := keys.Kind(f.kind); kind != keys.Ed25519 && kind != keys.ECDSA {
		return &usageError{fmt.Errorf("--type %s: write ed25519 or ecdsa", f.kind)}
	}
	namespaces, err := namespacesOf(f.principal)
	if err != nil {
		return err
	}
	o := keys.NewOptions{Kind: keys.Kind(f.kind), Comment: f.comment}
	if o.Comment == "" {
		o.Comment = f.principal
	}
	if f.passphrase {
		if o.Passphrase, err = a.newPassphrase(args[0]); err != nil {
			return err
		}
		defer clear(o.Passphrase)
	}
	pub, err := keys.New(args[0], o)
	if err != nil {
		return err
	}
	d := keys.DescribeKey(pub, o.Comment)
	d.File, d.Private, d.Encrypted = args[0], true, f.passphrase
	if a.json {
		return term.JSON(a.stdout, d)
	}
	a.printf("%s\nprivate half in %s (keep it where only this account reads it), public half in %s.pub\n", d, args[0], args[0])
	if f.principal != "" {
		a.printf("\nthe line of allowed_signers for those who are to trust it:\n%s\n", keys.AllowedLine([]string{f.principal}, namespaces, pub, ""))
	}
	return nil
}

// namespacesOf says what a principal signs, by its role.
func namespacesOf(principal string) ([]string, error) {
	if principal == "" {
		return nil, nil
	}
	if !keys.ValidPrincipal(principal) {
		return nil, &usageError{fmt.Errorf("--principal %s: write a name in lower case such as server@acme or till-017@acme", principal)}
	}
	role, _, _ := strings.Cut(principal, "@")
	switch {
	case role == "server":
		return serverNamespaces, nil
	case strings.HasPrefix(role, "till-"):
		return tillNamespaces, nil
	case role == "release":
		return releaseNamespaces, nil
	case strings.HasPrefix(role, "root-"):
		return []string{keys.NamespaceTrust}, nil
	}
	return nil, &usageError{fmt.Errorf("--principal %s: the roles are server@…, till-NUMBER@DOSSIER, release@… and root-N@…", principal)}
}

// newPassphrase finds the passphrase of a key that is to be made.
func (a *app) newPassphrase(path string) ([]byte, error) {
	if os.Getenv(passphraseFile) != "" {
		return a.passphrase(path)
	}
	f, ok := a.stdin.(*os.File)
	if !ok || !xterm.IsTerminal(int(f.Fd())) {
		return nil, fmt.Errorf("%w: --passphrase: there is nobody here to type one; start it on a terminal, or name a file of mode 0600 that holds it in %s; nothing was made", keys.ErrPermission, passphraseFile)
	}
	first, err := a.prompt(f, "New passphrase for "+path+": ")
	if err != nil {
		return nil, err
	}
	second, err := a.prompt(f, "Again: ")
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if len(first) == 0 || !bytes.Equal(first, second) {
		return nil, &usageError{errors.New("the two are empty or differ; nothing was made")}
	}
	return first, nil
}

func (a *app) keysShowCommand() *cobra.Command {
	var agent bool
	c := &cobra.Command{
		Use:   "show PATH…",
		Short: "Show the keys in files, in lists of trusted keys, in the SSH agent",
		Example: `  caisseauto keys show keys/server allowed_signers
  caisseauto keys show --agent`,
		RunE: func(_ *cobra.Command, args []string) error {
			list, err := a.described(args, agent)
			if err != nil {
				return err
			}
			if a.json {
				return term.JSON(a.stdout, list)
			}
			return showKeys(list).Print(a.stdout)
		},
	}
	c.Flags().BoolVar(&agent, "agent", false, "what the SSH agent holds")
	return c
}

func (a *app) keysFingerprintCommand() *cobra.Command {
	var agent bool
	c := &cobra.Command{
		Use:   "fingerprint PATH…",
		Short: "Print fingerprints as ssh-keygen -l does, to be compared over the telephone",
		Example: `  caisseauto keys fingerprint keys/server.pub
  caisseauto keys fingerprint --agent`,
		RunE: func(_ *cobra.Command, args []string) error {
			list, err := a.described(args, agent)
			if err != nil {
				return err
			}
			if a.json {
				return term.JSON(a.stdout, list)
			}
			for _, d := range list {
				a.printf("%s\n", term.Clean(d.String()))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&agent, "agent", false, "what the SSH agent holds")
	return c
}

// described describes the keys in files, or in the agent.
func (a *app) described(paths []string, agent bool) ([]keys.Description, error) {
	if agent == (len(paths) > 0) {
		return nil, &usageError{errors.New("PATH: name private keys, .pub files or lists of trusted keys; or say --agent")}
	}
	list := []keys.Description{}
	for _, p := range paths {
		d, err := keys.Describe(p)
		if err != nil {
			return nil, err
		}
		list = append(list, d...)
	}
	if !agent {
		return list, nil
	}
	held, err := keys.OpenAgent()
	if err != nil {
		return nil, err
	}
	defer held.Close()
	all, err := held.Keys()
	for _, k := range all {
		list = append(list, keys.DescribeKey(k.Public, k.Comment))
	}
	return list, err
}

func showKeys(list []keys.Description) *term.Table {
	t := term.NewTable("key", "bits", "fingerprint", "what", "whose", "signs")
	for _, d := range list {
		what := "public"
		switch {
		case d.Encrypted:
			what = "private, encrypted"
		case d.Private:
			what = "private"
		case len(d.Principals) > 0:
			what = "trusted"
		}
		whose, signs := d.Comment, ""
		if len(d.Principals) > 0 {
			whose, signs = strings.Join(d.Principals, ", "), "everything"
			if len(d.Namespaces) > 0 {
				signs = strings.Join(d.Namespaces, ", ")
			}
		}
		t.Row(d.Type, fmt.Sprint(d.Bits), d.Fingerprint, what, dash(whose), dash(signs))
	}
	return t
}
