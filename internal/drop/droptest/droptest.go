// Package droptest is the conformance suite that every kind of drop passes:
// the local folder, the embedded SFTP server and a stock OpenSSH server. It
// sees a drop only through the interface, and the disk behind it.
//
//	func TestConformance(t *testing.T) {
//		droptest.Run(t, func(t *testing.T) droptest.Fixture { … })
//	}
package droptest

import (
	"testing"

	"caisseauto/internal/drop"
)

// Dir is the folder that the suite writes to: a till's own stream, so that a
// server which confines a till to it can be tested too.
const Dir = "ACME/up/017"

// A Fixture is one empty tree and a drop that shows it.
type Fixture struct {
	// Drop is a connection to the tree. The suite closes it.
	Drop drop.Drop
	// Reopen gives one more connection to the same tree. The suite closes it.
	Reopen func(t *testing.T) drop.Drop
	// Raw is the tree's root on this machine's disk, where the suite puts
	// strange files and looks at what arrived: Raw/ACME/up/017/….
	Raw string

	// Jailed: only files below Dir may be written through Drop, and no other
	// till's folder is seen.
	Jailed bool
	// NoResume: an interrupted Put starts again from the first byte.
	NoResume bool
	// HeadGap: for a moment during Replace, a reader may find no file.
	HeadGap bool
}

// Run runs the suite. open makes a fresh Fixture, cleaned up with t.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	tests := []struct {
		name string
		run  func(t *testing.T, s *suite)
	}{
		{"PutGet", testPutGet},
		{"PutAgain", testPutAgain},
		{"PutEmpty", testPutEmpty},
		{"PutWrongLength", testPutWrongLength},
		{"PutResume", testPutResume},
		{"PutResumeElsewhere", testPutResumeElsewhere},
		{"PutAfterRemove", testPutAfterRemove},
		{"PutPartTooLong", testPutPartTooLong},
		{"PutPartIsLink", testPutPartIsLink},
		{"PutHidesUnfinished", testPutHidesUnfinished},
		{"PutRefusesHead", testPutRefusesHead},
		{"GetOffset", testGetOffset},
		{"GetShrinking", testGetShrinking},
		{"GetPassesErrors", testGetPassesErrors},
		{"Missing", testMissing},
		{"Replace", testReplace},
		{"ReplaceOnlyHeads", testReplaceOnlyHeads},
		{"ReplaceReceipt", testReplaceReceipt},
		{"ReplaceIsWhole", testReplaceIsWhole},
		{"Remove", testRemove},
		{"ListHostileNames", testListHostileNames},
		{"ListMany", testListMany},
		{"ListTooMany", testListTooMany},
		{"Tills", testTills},
		{"TillsHostileNames", testTillsHostileNames},
		{"TillsFolderIsNoFolder", testTillsFolderIsNoFolder},
		{"RefusedNames", testRefusedNames},
		{"NotAFile", testNotAFile},
		{"FolderIsNoFolder", testFolderIsNoFolder},
		{"Cancelled", testCancelled},
		{"CancelledUnderWay", testCancelledUnderWay},
		{"MirrorPush", testMirrorPush},
		{"MirrorPull", testMirrorPull},
		{"MirrorPushInterrupted", testMirrorPushInterrupted},
		{"MirrorPullInterrupted", testMirrorPullInterrupted},
		{"MirrorConflict", testMirrorConflict},
		{"MirrorWaits", testMirrorWaits},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{Fixture: open(t)}
			t.Cleanup(func() { s.Drop.Close() })
			test.run(t, s)
		})
	}
}
