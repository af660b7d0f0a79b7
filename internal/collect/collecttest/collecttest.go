// Package collecttest is the conformance suite that every kind of ERP database
// passes as the one that tills' batches are taken into: SQLite and PostgreSQL.
// It sees a database through a [collect.Collector], and through the SQL of the
// ERP's own programs.
//
//	func TestConformance(t *testing.T) {
//		collecttest.Run(t, &collecttest.Kind{New: …})
//	}
//
// Where two kinds must differ, the language of a trigger or the words of an
// error, the [Kind] says it.
package collecttest

import (
	"context"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/manifest"
)

// A Kind is one kind of database.
type Kind struct {
	// New makes a database with the ERP's tables, in the words of
	// testdata/schema that the kind makes its own, and with capture of the
	// stream ACME/down. It lasts as long as the test.
	New func(t testing.TB, sql string, config database.SourceConfig) Database
	// Touched is the query of the codes of customers whose keys the journal
	// has, each once, ordered.
	Touched string
	// NotNull and Unique are what errors say of a NULL in a column that takes
	// none, and of a customer's card that another one has.
	NotNull func(table, column string) string
	Unique  string
	// Refuse returns the statements of a trigger that refuses, with these
	// words, new rows of a table for which a condition on NEW holds. Silent
	// makes one that drops them without a word. RollBack makes one that
	// ends the whole transaction; nil where none can.
	Refuse, RollBack func(table, condition, words string) string
	Silent           func(table, condition string) string
	// Claims reports whether a claimed till is refused to others.
	Claims bool
}

// A Database is one ERP's database.
type Database interface {
	// Exec runs statements of an ERP's program, which sees our tables too.
	// It is not in a transaction, unless they make one.
	Exec(sql string) error
	// Rows returns the rows of a query, values as text, NULL as "".
	Rows(sql string) ([][]string, error)
	// Open opens a collector on the database. The test closes it.
	Open(o Options) (*collect.Collector, error)
	// Uploads returns what tills are asked to send under a configuration of
	// ACME/down.
	Uploads(config database.SourceConfig) ([]*database.Upload, error)
	// Source returns the database as the writer of ACME/down.
	Source(config database.SourceConfig) Source
	// Hold makes every collector wait, until release is called.
	Hold() (release func(), err error)
}

// Options are the settings of a collector. The zero value is the default.
type Options struct {
	BusyTimeout time.Duration
	// Small makes everything that depends on a batch's size do so from the
	// first rows on.
	Small bool
	// Hook is called at named places of a batch's way: "prepared" when all
	// rows are read and no lock is held, "commit" right before and
	// "committed" right after the end of the transaction.
	Hook func(place string)
	Now  func() time.Time
}

// A Source is the part of a writer of streams that the suite needs.
type Source interface {
	Read(ctx context.Context, stream string, full bool, sink change.Sink) (manifest.Extract, error)
	Reserve(ctx context.Context, stream string, p manifest.Pending) error
	Publish(ctx context.Context, stream string, p manifest.Pending) error
}

// Run runs the suite. A name of a subtest is that of what it shows.
func Run(t *testing.T, k *Kind) {
	for _, part := range []struct {
		name string
		test func(*testing.T, *Kind)
	}{
		{"Uploads", testUploads},
		{"UploadsRefused", testUploadsRefused},
		{"UploadsOffered", testUploadsOffered},
		{"Tickets", testTickets},
		{"Quarantine", testQuarantine},
		{"RefusedTables", testRefusedTables},
		{"KeyTwice", testKeyTwice},
		{"Moved", testMoved},
		{"Stopped", testStopped},
		{"Conflicts", testConflicts},
		{"Swap", testSwap},
		{"ForeignRow", testForeignRow},
		{"HeldCustomer", testHeldCustomer},
		{"TouchReachesReader", testTouchReachesReader},
		{"Rounds", testRounds},
		{"Rival", testRival},
		{"Numbers", testNumbers},
		{"Totals", testTotals},
		{"Hold", testHold},
		{"Heads", testHeads},
		{"Incarnation", testIncarnation},
		{"ReceiptDue", testReceiptDue},
		{"Random", testRandom},
		{"Loop", testLoop},
		{"Together", testTogether},
		{"ExactlyOnce", testExactlyOnce},
		{"Claim", testClaim},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, k) })
	}
}
