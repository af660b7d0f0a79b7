package keys

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrMayNotSign: whoever has this list of keys would not accept what the key
// signs.
var ErrMayNotSign = errors.New("the signing key is not trusted")

// question is what [Trust.MaySign] signs. It is no JSON, so that the signature
// could never serve as one of a statement.
var question = []byte("caisseauto: may this key sign?\n")

// MaySign makes sure, before anything is sealed, that who has this list of
// keys accepts what s signs in these namespaces, in the principal's name, for
// the dossier, now. An error wraps [ErrMayNotSign]; others are those of s.
func (t *Trust) MaySign(s Signer, principal, dossier string, namespaces ...string) error {
	for _, namespace := range namespaces {
		sig, err := s.Sign(question, namespace)
		if err != nil {
			return err
		}
		who, err := t.Identify(question, sig, namespace)
		if err != nil {
			return fmt.Errorf("%w for %s: %w", ErrMayNotSign, namespace, err)
		}
		if !slices.Contains(who.Principals, principal) {
			return fmt.Errorf("%w for %s: allowed_signers knows it as %s, and [signing] says %s", ErrMayNotSign, namespace, strings.Join(who.Principals, ", "), principal)
		}
		if err := t.Current(who.Fingerprint, dossier); err != nil {
			return fmt.Errorf("%w for %s: %w; name the key that follows it under [signing]", ErrMayNotSign, namespace, err)
		}
	}
	return nil
}
