package manifest

import "caisseauto/keys"

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
	Namespace     = keys.NamespaceManifest
	HeadNamespace = keys.NamespaceHead
)
