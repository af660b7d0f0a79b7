package manifest

import (
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
