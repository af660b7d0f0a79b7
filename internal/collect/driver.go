package collect

import (
	"context"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A Driver is one connection to an ERP's database. It belongs to one
// goroutine at a time.
type Driver interface {
	database.Conn

	// Name names the database in messages: its path, or host and name.
	Name() string
	Close() error

	// SQL returns the statements that make our tables where they are not
	// there yet, from those in SQLite's words.
	SQL(tables string) string
	// Install runs what SQL returned, in one transaction.
	Install(ctx context.Context, sql string) error
	// Has reports whether all these tables of ours are there.
	Has(ctx context.Context, tables ...string) (bool, error)

	// Locked runs work in a transaction that may write, and commits it. It
	// returns how long locks were held. With a stream nobody else changes
	// the rows of its till meanwhile; "" is a piece of work that is one
	// statement for each row. After an error everything is as it was.
	Locked(ctx context.Context, stream string, work func() error) (time.Duration, error)
	// Snapshot runs work, which only reads, so that all that it sees belongs
	// together.
	Snapshot(ctx context.Context, work func() error) error
	// Claim takes a till for this collector alone, until release is called,
	// and reports false when another one has it: then it is in good hands.
	// What is integrated is right without it, too.
	Claim(ctx context.Context, stream string) (release func(), ok bool, err error)

	// Takes reports whether anything is taken of the tills of a stream down.
	Takes(down string) bool
	// Uploads returns what is taken of them, parents first.
	Uploads(ctx context.Context, down string) ([]*database.Upload, error)
	// Stand returns what stands of a stream down, ok is false where nothing
	// is kept of streams.
	Stand(ctx context.Context, stream string) (st manifest.Stand, ok bool, err error)
	// Stored returns text as a till sends it that has read it from such a
	// column.
	Stored(column *database.Column, text string) change.Value

	// Batch returns an engine for one batch.
	Batch(r *Run) Batch

	// Explain makes an error recognisable that says something of the machine
	// and not of the data: one of those in package database.
	Explain(ctx context.Context, err error) error
	// Interrupted reports whether an error is what a context that ended
	// makes of a statement.
	Interrupted(err error) bool
}

// A Batch is the rows of one batch on their way into the database. The calls
// come in this order: Table for each table; Read, and in it Op for each new
// kind of rows, Keep and KeepBase; then Integrate, or Locked; Close in any
// case. The errors of a Batch are of the machine: what is wrong with rows is
// said by a [Refused].
type Batch interface {
	// Table plans a table that the rules have nothing against. Bad says why
	// no row of it can be taken.
	Table(t *Table) (bad string, err error)
	// Op plans an operation that the rules have nothing against.
	Op(op *Op) (bad string, err error)

	// Read runs read, which keeps all rows. Nothing is locked meanwhile.
	Read(read func() error) error
	// Keep keeps a row, its own copy. Ref says that a rule refuses it.
	Keep(op *Op, row []change.Value, ref *Refused) error
	// KeepBase keeps a row as it was before the till changed it. The first
	// one of a key counts.
	KeepBase(op *Op, row []change.Value) error

	// Each calls work for every kept row in its order, as it came.
	Each(work func(op *Op, row []change.Value) error) error
	// Bases calls work for the base rows of a table: all of them, or the one
	// of the key of a row of op.
	Bases(t *Table, op *Op, row []change.Value, work func(base []change.Value) error) error
	// Touch journals a row's key, so that the row goes down again.
	Touch(op *Op, row []change.Value) error

	// Locked is the Driver's, for work on this batch's stream that also uses
	// the kept rows. Work may be run more than once.
	Locked(work func() error) (time.Duration, error)
	// Integrate takes all rows in, in one transaction of Locked. Before runs
	// first in it, and after last. What is refused goes to [Run.Quarantine],
	// by its units. Refused says that a rule refuses some row.
	Integrate(refused bool, before, after func() error) (time.Duration, error)
	Close()
}
