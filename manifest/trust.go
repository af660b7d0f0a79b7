package manifest

import (
	"errors"
	"fmt"
	"strings"

	"caisseauto/keys"
)

// The engines speak of keys only where they sign or verify a statement, and
// do so in these words; package keys has the rest.
type (
	// A Signer signs in the name of one key.
	Signer = keys.Signer
	// Trust says whose signatures count, and for what.
	Trust = keys.Trust
)

// ErrKey: a signing key is not one that readers would accept; see
// [keys.Trust.MaySign].
var ErrKey = keys.ErrMayNotSign

// KeyMaySign makes sure that readers who have trust accept the batches and heads of
// stream that s signs in the principal's name. An error wraps [ErrKey], says
// that nothing was sealed, and shows what the line in allowed_signers should be.
func KeyMaySign(trust *Trust, s Signer, principal, stream string) error {
	namespaces := []string{BatchNamespace(stream), HeadNamespace}
	err := trust.MaySign(s, principal, dossierOf(stream), namespaces...)
	switch {
	case !errors.Is(err, ErrKey):
		return err
	case errors.Is(err, keys.ErrRetired), errors.Is(err, keys.ErrRevoked):
		return fmt.Errorf("%w; nothing was sealed", err)
	}
	return fmt.Errorf("%w; nothing was sealed; the line in allowed_signers, here and at the readers, should be: %s",
		err, keys.AllowedLine([]string{principal}, namespaces, s.Public(), ""))
}

// The namespaces that statements are signed in.
const (
	Namespace        = keys.NamespaceManifest
	HeadNamespace    = keys.NamespaceHead
	ReceiptNamespace = keys.NamespaceReceipt
)

// IsUp reports whether the stream is a till's.
func IsUp(stream string) bool {
	_, rest, _ := strings.Cut(stream, "/")
	return strings.HasPrefix(rest, "up/")
}

// BatchNamespace returns the namespace that the batches of a stream are signed
// in: a till's tickets, a release manager's packages, a server's data.
func BatchNamespace(stream string) string {
	_, rest, _ := strings.Cut(stream, "/")
	switch {
	case IsUp(stream):
		return keys.NamespaceTickets
	case rest == "packages":
		return keys.NamespacePackage
	}
	return keys.NamespaceManifest
}
