package importer

import "caisseauto/manifest"

// ErrRefused is what every error wraps that says: this data must not be used.
var ErrRefused = manifest.ErrRefused

// Stream returns the name of the stream that the tills of a dossier follow.
func Stream(dossier string) string { return manifest.StreamDown(dossier) }

// A Head is a writer's statement of its newest batch.
type Head = manifest.Head

// OpenHead verifies a head that was read elsewhere than from an inbox, and
// that it belongs to the stream. Whoever copies files may plan by it what to
// copy; what is applied is decided in Run.
func OpenHead(stream string, doc, sig []byte, trust *manifest.Trust) (*Head, error) {
	h, err := manifest.OpenHead(manifest.HeadName, doc, sig, trust)
	if err != nil {
		return nil, err
	}
	return h, h.Expect(manifest.HeadName, stream)
}
