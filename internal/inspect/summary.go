package inspect

import (
	"time"

	"caisseauto/manifest"
)

// A Summary is all that is told of one batch but its rows and files, for
// machines.
type Summary struct {
	Stream      string                   `json:"stream"`
	Epoch       int64                    `json:"epoch"`
	Sequence    int64                    `json:"sequence"`
	Kind        manifest.Kind            `json:"kind"`
	Created     time.Time                `json:"created"`
	Signer      string                   `json:"signer"`
	Key         string                   `json:"key"` // fingerprint
	Trusted     bool                     `json:"trusted"`
	Digest      string                   `json:"manifest_sha256"`
	Previous    string                   `json:"previous"`
	Archive     manifest.Archive         `json:"archive"`
	Contents    Contents                 `json:"contents"`
	Reason      string                   `json:"reason,omitempty"` // why they were not read
	Tables      []Table                  `json:"tables"`
	Package     *manifest.Package        `json:"package,omitempty"` // nil: it has rows
	Unchanged   bool                     `json:"unchanged,omitempty"`
	Integrated  int64                    `json:"integrated,omitempty"`
	Uploads     []string                 `json:"uploads,omitempty"` // tables that tills are told to send
	Totals      []manifest.Total         `json:"totals,omitempty"`
	Applied     *manifest.StreamPosition `json:"applied,omitempty"`
	Incarnation string                   `json:"incarnation,omitempty"`
}

// Contents says what has become of a batch's archive.
type Contents string

// What can become of an archive.
const (
	Good    Contents = "good"    // size, SHA-256 and every member are what was signed
	Pruned  Contents = "pruned"  // removed by its writer's retention, as the head says
	Missing Contents = "missing" // not there, and nothing says that it was removed
	Refused Contents = "refused" // there, and not what was signed; or it cannot be read
)

// summary is what the manifest says.
func (b *Batch) summary() *Summary {
	m := b.Manifest
	s := &Summary{
		Stream: m.Stream, Epoch: m.Epoch, Sequence: m.Sequence, Kind: m.Kind, Created: m.Created, Signer: m.Signer,
		Key: b.Key, Trusted: b.Trusted, Digest: b.Digest, Previous: m.Previous, Archive: m.Archive, Tables: b.Tables(), Package: m.Package,
		Unchanged: m.Unchanged, Integrated: m.Integrated, Totals: m.Totals, Applied: m.Applied, Incarnation: m.Incarnation,
	}
	for _, u := range m.Uploads {
		s.Uploads = append(s.Uploads, u.Table)
	}
	if s.Tables == nil {
		s.Tables = []Table{}
	}
	return s
}
