package exporter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"caisseauto/manifest"
)

// ErrKey: the signing key is not the one that readers would accept.
var ErrKey = errors.New("the signing key is not trusted")

// probe is what the self-check signs. It is no JSON, so that the signature
// could never serve as one of a manifest or a head.
var probe = []byte("caisseauto: may this key sign?\n")

// selfCheck makes sure, before any number is taken, that a reader with our
// allowed_signers would accept what we are about to sign.
func (e *Exporter) selfCheck() error {
	for _, namespace := range []string{manifest.BatchNamespace(e.Stream), manifest.HeadNamespace} {
		sig, err := e.Signer.Sign(probe, namespace)
		if err != nil {
			return err
		}
		who, err := e.Trust.Identify(probe, sig, namespace)
		if err != nil {
			return fmt.Errorf("%w: %w; nothing was sealed; add this line to allowed_signers, here and at the readers: %s",
				ErrKey, err, e.signersLine())
		}
		if !slices.Contains(who.Principals, e.Principal) {
			return fmt.Errorf("%w: allowed_signers knows it as %v, and [signing] says %s; nothing was sealed; the line there should be: %s",
				ErrKey, who.Principals, e.Principal, e.signersLine())
		}
		if err := e.Trust.Current(who.Fingerprint, dossierOf(e.Stream)); err != nil {
			return fmt.Errorf("%w: %w; nothing was sealed; name the key that follows it under [signing]", ErrKey, err)
		}
	}
	return nil
}

func dossierOf(stream string) string {
	dossier, _, _ := strings.Cut(stream, "/")
	return dossier
}

// signersLine is the line of allowed_signers that lets the key sign.
func (e *Exporter) signersLine() string {
	return fmt.Sprintf("%s namespaces=%q %s", e.Principal, manifest.BatchNamespace(e.Stream)+","+manifest.HeadNamespace,
		bytes.TrimSpace(ssh.MarshalAuthorizedKey(e.Signer.Public())))
}
