package exporter

import "caisseauto/manifest"

// ErrKey: the signing key is not the one that readers would accept.
var ErrKey = manifest.ErrKey

// selfCheck makes sure, before any number is taken, that a reader with our
// allowed_signers would accept what we are about to sign.
func (e *Exporter) selfCheck() error {
	return manifest.KeyMaySign(e.Trust, e.Signer, e.Principal, e.Stream)
}
