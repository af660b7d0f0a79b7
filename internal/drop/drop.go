package drop

import (
	"context"
	"errors"
	"io"
)

// Errors that callers branch on. Every implementation wraps them with the
// name of the file or folder and, where it can, with what to do next.
// A missing file is fs.ErrNotExist; a full disk is ErrNoSpace.
var (
	// ErrConflict: the name is there with other bytes. Nothing was changed.
	ErrConflict = errors.New("the name is there already, with other bytes")
	// ErrUnavailable: no network, no server, a dead connection, a time limit. Try again later.
	ErrUnavailable = errors.New("not reachable")
	// ErrDenied: login, host key or permission. Trying again does not help.
	ErrDenied = errors.New("not permitted")
	// ErrNoSpace: the receiving side's disk is full.
	ErrNoSpace = errors.New("no space left")
	// ErrTooMany: a folder lists more entries than a reader accepts.
	ErrTooMany = errors.New("too many entries in the folder")
	// ErrTooLarge: a file is larger than the reader accepts.
	ErrTooLarge = errors.New("file too large")
)

// A File is one file of a listing.
type File struct {
	Name string // base name; with its folder it is a path that ValidPath accepts
	Size int64
}

// A Listing is what a folder holds: the files whose names belong to the
// format, sorted by name, and how many other entries were passed over
// (temporary files, folders, links, anything a stranger put there).
type Listing struct {
	Files   []File
	Ignored int
}

// A Feed writes a file's bytes from offset to its end into w. It is how the
// giving side of a copy is asked for what the receiving side still lacks.
type Feed func(ctx context.Context, offset int64, w io.Writer) error

// A Drop is a tree of stream folders: a local folder, or one behind an SFTP
// server. Names are slash-separated paths under its root, for example
// "ACME/down/0000000042.manifest.json", which must satisfy ValidPath (ValidDir
// for a folder); other names are refused with an error that wraps
// fs.ErrInvalid. What is no regular file is never read, followed or removed.
// All methods honour ctx and may be called from one goroutine at a time.
type Drop interface {
	// List lists the folder dir. A folder that does not exist lists empty.
	List(ctx context.Context, dir string) (Listing, error)
	// Tills lists the numbers of the tills that have a folder of their own
	// below the dossier's, sorted: what the one who collects reads. Links and
	// names that are no numbers are passed over. A dossier without tills
	// lists none.
	Tills(ctx context.Context, dossier string) ([]string, error)
	// Stat returns the size of the file name, or fs.ErrNotExist.
	Stat(ctx context.Context, name string) (int64, error)
	// Get copies the file from offset to its end into w. It fails when fewer
	// bytes come than the file had when it was opened. Errors of w and of
	// ctx come back wrapped.
	Get(ctx context.Context, name string, offset int64, w io.Writer) error
	// Put creates name with size bytes from feed, durably and all at once,
	// and makes its folder. It resumes what an earlier call left. When name
	// is there with the same size it compares nothing and succeeds; with
	// another size it is ErrConflict. A feed that gives fewer or more bytes
	// than size publishes nothing. Errors of feed come back wrapped. Heads
	// and receipts are refused (CheckPut): they are replaced.
	Put(ctx context.Context, name string, size int64, feed Feed) error
	// Replace puts data under name in one step, whatever was there. Only
	// heads and receipts are ever replaced (CheckReplace).
	Replace(ctx context.Context, name string, data []byte) error
	// Remove removes the file and what an interrupted Put left of it; one
	// that is not there is no error.
	Remove(ctx context.Context, name string) error
	Close() error
}
