package manifest

import "time"

// Mode says how the rows of a table that tills send are taken in.
type Mode string

// The modes of an [Upload].
const (
	// Append: rows are only ever added (tickets, JET).
	Append Mode = "append"
	// Replace: the till's row is the one that counts.
	Replace Mode = "replace"
	// Both: both sides change the rows; a conflict is found and resolved.
	Both Mode = "both"
)

// An Upload is what the server wants of one table from its tills. It stands in
// manifests of the stream down, so that a till needs no list of its own.
// Columns that are empty are not there.
type Upload struct {
	Table   string   `json:"table"`
	Mode    Mode     `json:"mode"`
	Key     []string `json:"key"`
	Dossier string   `json:"dossier_column"` // holds the dossier's code
	Till    string   `json:"till_column"`    // holds the number of the till that the row belongs to
	Number  string   `json:"number_column"`  // counts without gaps for each till
	Sums    []string `json:"sums"`           // columns whose sums are control totals
	Exclude []string `json:"exclude"`        // columns that are not sent
	Parent  string   `json:"parent"`         // table of the row that this one is a part of: a ticket's line has the ticket
	Link    []string `json:"parent_columns"` // columns here that hold the parent's key, in its order
	// Columns are the server's columns that are sent, so that a till that has
	// nothing yet can make the table.
	Columns []Column `json:"columns"`
}

// A Total is the control total of one table: of a batch, or of all that was
// integrated. Numbers are decimal strings, so that no reader rounds them.
type Total struct {
	Table   string   `json:"table"`
	Rows    string   `json:"rows"`    // operations: rows added or changed, and deletes
	Sums    []Sum    `json:"sums"`    // in the order of the upload's Sums
	Numbers []string `json:"numbers"` // of the upload's Number, as ranges in order: "1-1000", "1003"
}

// A Sum is the sum of one column, exact.
type Sum struct {
	Column string `json:"column"`
	Sum    string `json:"sum"` // "123456", "-12.5": no exponent, no plus, no zeros at either end
}

// A StreamPosition is a place in a named stream.
type StreamPosition struct {
	Stream   string `json:"stream"`
	Epoch    int64  `json:"epoch"`
	Sequence int64  `json:"sequence"`
	Digest   string `json:"manifest_sha256"`
}

// Position returns the place without the stream.
func (p StreamPosition) Position() Position {
	return Position{Epoch: p.Epoch, Sequence: p.Sequence, Digest: p.Digest}
}

// A TillState is what a till says of itself in the head of its stream.
type TillState struct {
	Applied       *StreamPosition // of the stream down; nil: nothing yet
	Incarnation   string          // of its database: 32 lower-case hex digits
	Host          string          // the machine's name
	Version       string          // of the program
	Waiting       int64           // rows in its outbox that no receipt covers
	OldestWaiting time.Time       // when the oldest of them was written; zero: none waits
	FreeBytes     int64           // on the disk of its database; 0: not known
	Alarms        []string        // what stands wrong on the till, in words
	Software      *Software       // nil: no packages are installed on this till
}

// A Receipt is the reader's signed statement of what it has integrated of a
// till's stream. Nothing is delivered without one.
type Receipt struct {
	Format      string    `json:"format"`
	Stream      string    `json:"stream"` // the till's
	Signer      string    `json:"signer"`
	Epoch       int64     `json:"epoch"`
	Sequence    int64     `json:"sequence"` // everything up to here is integrated or in quarantine
	Digest      string    `json:"manifest_sha256"`
	Incarnation string    `json:"incarnation"` // that the batch named
	Issue       int64     `json:"issue"`       // counts the receipts of this stream
	Issued      time.Time `json:"issued"`
	// Integrated is the number that the newest integrated batch got. A batch
	// of the stream down whose Integrated is not smaller holds what became
	// of its rows.
	Integrated int64   `json:"integrated"`
	Totals     []Total `json:"totals"`     // of every row integrated since the first batch
	Waiting    int64   `json:"quarantine"` // rows that wait in quarantine
	Discarded  int64   `json:"discarded"`  // rows that an operator has closed
	Held       []Held  `json:"held"`       // the oldest units of either, at most MaxHeld
}

// MaxHeld is how many units a receipt names.
const MaxHeld = 200

// A Held is a unit (a whole ticket, a single row, a batch) that is in
// quarantine, or was closed there.
type Held struct {
	Sequence int64  `json:"sequence"` // of the batch
	Table    string `json:"table"`    // of its first row; empty: the whole batch
	Key      string `json:"key"`      // of that row, as a JSON array
	Rows     int64  `json:"rows"`
	Reason   string `json:"reason"`
	Closed   string `json:"closed"` // why an operator closed it; empty: it waits
}

// Position returns the place that the receipt names.
func (r *Receipt) Position() Position {
	return Position{Epoch: r.Epoch, Sequence: r.Sequence, Digest: r.Digest}
}
