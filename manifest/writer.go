package manifest

// What a stream's writer keeps in its own database, beside the rows. These
// types stand here because both the seal engine and the database rooms speak
// of them, and neither may know the other.

// A Pending is a batch whose number is taken and whose content is fixed, but
// which may not have been published yet.
type Pending struct {
	Position
	Kind   Kind
	Cursor string // what the next delta begins after; opaque to the engine
}

// A Stand is the writer's record of one stream.
type Stand struct {
	Last     Position // newest batch that was published; zero: none yet
	Baseline int64    // sequence of the newest baseline, 0: none
	Pending  *Pending // a batch that a crash left between its number and its publication
}

// A Shared is what the hosts that write one stream, each into an outbox of its
// own, know through the database between them.
type Shared struct {
	Stand
	Issue  int64 // the highest issue that a head of the stream was given, 0: none
	Oldest int64 // the oldest number whose archive is kept, as the newest head says, 0: none
	Moved  bool  // the database was restored, failed over or moved since the last batch
	Kept   []Kept
}

// A Kept is a batch of which the database keeps a copy until it is known to be
// on the drop; of the newest one and the newest baseline it then keeps what is
// signed.
type Kept struct {
	Epoch     int64
	Sequence  int64
	Document  []byte // the manifest's bytes
	Signature []byte // nil: not signed yet
	Settled   bool   // it was on the drop: its archive is not kept
}

// An Extract is what a database handed over for one batch.
type Extract struct {
	Kind   Kind
	Cursor string
	Tables []Table // in a baseline every table, in a delta those with rows or with scope whole

	// As in [Manifest].
	Unchanged   bool
	Integrated  int64
	Uploads     []Upload
	Totals      []Total
	Applied     *StreamPosition
	Incarnation string
}
