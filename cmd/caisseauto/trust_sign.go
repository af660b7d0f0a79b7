package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"caisseauto/internal/durable"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

type rootFlags struct {
	key, principal, signers string
	agent, yes              bool
}

func (a *app) trustSignCommand() *cobra.Command {
	var f rootFlags
	c := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a draft with a root's key (off line, where the root is kept)",
		Long: `Shows what the draft says and its digest, which all who sign compare with each
other, asks on a terminal, and writes the signature beside it. It needs no
configuration, no database and no network; ssh-keygen -Y sign does the same. A root
that the draft no longer names signs as well, with --principal: it has to agree.`,
		Example: `  caisseauto trust sign 0000000001.json --key root-1
  caisseauto trust sign 0000000002.json --agent --principal root-1@acme --signers allowed_signers`,
		RunE: func(_ *cobra.Command, args []string) error { return a.trustSign(args, f) },
	}
	c.Flags().StringVar(&f.key, "key", "", "private key `FILE` of the root")
	c.Flags().BoolVar(&f.agent, "agent", false, "the root's key is in the SSH agent, or in a token that it reaches")
	c.Flags().StringVar(&f.principal, "principal", "", "`NAME` of the root, where the draft does not name its key")
	c.Flags().StringVar(&f.signers, "signers", "", "allowed_signers `FILE`, to be shown what changes")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	return c
}

func (a *app) trustSign(args []string, f rootFlags) error {
	if len(args) != 1 || (f.key == "") == !f.agent {
		return &usageError{errors.New("FILE, and --key FILE or --agent: what is to be signed, with which root's key?")}
	}
	doc, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	d, err := rotation.Parse(args[0], doc)
	if err != nil {
		return err
	}
	signer, principal, err := a.rootSigner(d, f)
	if err != nil {
		return err
	}
	var before *keys.Block
	if f.signers != "" {
		t, err := keys.LoadTrust(f.signers)
		if err != nil {
			return err
		}
		before = t.Block(d.Dossier)
	}
	if err := a.describe(d, doc, before); err != nil {
		return err
	}
	if err := a.agree(f.yes, "Sign it as "+principal+"? [y/N] "); err != nil {
		return err
	}
	sig, err := signer.Sign(doc, keys.NamespaceTrust)
	if err != nil {
		return err
	}
	name := rotation.SignatureName(args[0], principal)
	if err := durable.WriteFile(name, sig, 0o644); err != nil {
		return err
	}
	a.printf("\n%s signed it: %s\n", principal, name)
	return nil
}

// rootSigner finds the root's key, and the root's name by it.
func (a *app) rootSigner(d *rotation.Document, f rootFlags) (keys.Signer, string, error) {
	names := map[string]string{}
	for _, r := range d.Roots {
		names[r.Key] = r.Principal
	}
	name := func(pub ssh.PublicKey) string { return names[keys.AuthorizedLine(pub, "")] }
	var signer keys.Signer
	var err error
	if f.agent {
		agent, err := keys.OpenAgent()
		if err != nil {
			return nil, "", err
		}
		signer, err = agent.Signer("a root of "+d.Dossier, func(pub ssh.PublicKey) bool {
			return f.principal == "" && name(pub) != "" || f.principal != "" && (name(pub) == f.principal || name(pub) == "")
		})
		if err != nil {
			return nil, "", err
		}
	} else if signer, err = keys.Load(f.key, a.passphrase); err != nil {
		return nil, "", err
	}
	principal := name(signer.Public())
	switch {
	case principal == "" && rotation.ValidRoot(f.principal):
		return signer, f.principal, nil
	case principal == "":
		return nil, "", &usageError{errors.New("the draft does not name this key as a root; a root that goes says who it is with --principal root-N@…")}
	case f.principal != "" && f.principal != principal:
		return nil, "", &usageError{fmt.Errorf("--principal %s: the draft knows this key as %s", f.principal, principal)}
	}
	return signer, principal, nil
}

// agree asks on a terminal. Without one, who has given the command has agreed.
func (a *app) agree(yes bool, question string) error {
	f, ok := a.stdin.(*os.File)
	if yes || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	fmt.Fprint(a.stderr, question)
	answer, _ := bufio.NewReader(f).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes", "o", "oui":
		return nil
	}
	return errors.New("not agreed; nothing was signed")
}
