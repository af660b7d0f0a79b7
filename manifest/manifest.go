package manifest

import "time"

// Kind says what a batch is.
type Kind string

// The kinds of batches.
const (
	Delta    Kind = "delta"    // the changes since the batch before
	Baseline Kind = "baseline" // every row of the stream's tables at one snapshot
)

// Scope says what the rows of one table in a batch are.
type Scope string

// The scopes of a table.
const (
	// Changes: rows that are not in the batch stay as they are.
	Changes Scope = "changes"
	// Whole: the batch holds every row of the table; the reader deletes
	// what it holds beside them. Always so in a baseline; in a delta when
	// the writer could not know what had changed (its triggers were gone).
	Whole Scope = "whole"
)

// A Manifest is the signed statement of what one batch holds. The order of
// the fields is the order in the file; see SPEC.md for each field's grammar.
type Manifest struct {
	Format   string    `json:"format"`
	Stream   string    `json:"stream"`
	Epoch    int64     `json:"epoch"`
	Sequence int64     `json:"sequence"`
	Previous string    `json:"previous"`
	Kind     Kind      `json:"kind"`
	Created  time.Time `json:"created"`
	Signer   string    `json:"signer"`
	Archive  Archive   `json:"archive"`
	Tables   []Table   `json:"tables"`
	Members  []Member  `json:"members"`

	// Of a baseline only: its rows are those that a reader holds who has
	// applied the batch before it, so that such a reader needs no archive.
	Unchanged bool `json:"unchanged,omitempty"`

	// Of the stream down only. Integrated counts the batches of the dossier's
	// tills that were integrated before the snapshot; see [Receipt]. Uploads
	// says what tills are to send; without it nothing changes in that.
	Integrated int64    `json:"integrated,omitempty"`
	Uploads    []Upload `json:"uploads,omitempty"`

	// Of a stream up only. Totals are the control totals of the batch,
	// Applied the place in the stream down that the till had reached (nil:
	// none), Incarnation the till's database.
	Totals      []Total         `json:"totals,omitempty"`
	Applied     *StreamPosition `json:"applied,omitempty"`
	Incarnation string          `json:"incarnation,omitempty"`

	*Package // of the stream of packages only, nil in others
}

// Archive names the one file that holds the batch's rows.
type Archive struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`     // bytes on the drop
	SHA256  string `json:"sha256"`   // of these bytes, lower-case hex
	TarSize int64  `json:"tar_size"` // bytes when decompressed
}

// A Table is one table as the writer knew it when it sealed the batch.
type Table struct {
	Name    string   `json:"name"`
	Scope   Scope    `json:"scope"`
	Columns []Column `json:"columns"`
	Key     []string `json:"key"`
	Schema  string   `json:"schema"` // see [Fingerprint]
}

// A Column has a name and the type that the writer's database declares, which
// may be empty.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// A Member is one file in the archive.
type Member struct {
	Name   string `json:"name"`
	Table  string `json:"table"`
	Rows   int64  `json:"rows"` // the header line not counted
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// A Position is a place in a stream: the batch that was written or applied
// last. The digest binds everything before it. The zero Position is the place
// before the first batch.
type Position struct {
	Epoch    int64
	Sequence int64
	Digest   string // SHA-256 of the manifest's bytes, lower-case hex
}

// IsZero reports whether p is the place before the first batch.
func (p Position) IsZero() bool { return p == Position{} }

// A Head is the writer's signed, expiring statement of its newest batch.
type Head struct {
	Format   string    `json:"format"`
	Stream   string    `json:"stream"`
	Epoch    int64     `json:"epoch"`
	Sequence int64     `json:"sequence"`
	Digest   string    `json:"manifest_sha256"`
	Baseline int64     `json:"baseline"` // sequence of the newest baseline; 0 in streams that have none
	Oldest   int64     `json:"oldest"`   // sequence of the oldest batch still on the drop
	Issue    int64     `json:"issue"`    // counts the heads of this stream
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expires"`
	// Trust is the newest version of the dossier's trust documents that the
	// writer of a stream down knows, so that nobody can withhold one unseen;
	// 0: it follows none.
	Trust int64 `json:"trust,omitempty"`
	// Till is what the head of a stream up says beyond that, on the same
	// level of the file; nil for other streams.
	Till *TillState `json:"-"`
}

// Position returns the place that the head names.
func (h *Head) Position() Position {
	return Position{Epoch: h.Epoch, Sequence: h.Sequence, Digest: h.Digest}
}
