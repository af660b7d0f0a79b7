package database

import "errors"

// What a database, and not the data, can have against a piece of work. In
// every case nothing was changed, and the same work can be tried again.
var (
	// ErrNotInstalled says that the database has none of our tables yet.
	ErrNotInstalled = errors.New("the database is not prepared")
	// ErrDSN says that nothing can be made of a connection string.
	ErrDSN = errors.New("the connection string cannot be read")
	// ErrNoTable says that there is no such table.
	ErrNoTable = errors.New("no such table")
	// ErrBusy says that another program held a lock for longer than the
	// configured wait.
	ErrBusy = errors.New("the database is busy")
	// ErrNoSpace says that a disk is full.
	ErrNoSpace = errors.New("the disk is full")
	// ErrReadOnly says that the database cannot be written to: a file or
	// folder without the right to, a replica.
	ErrReadOnly = errors.New("the database cannot be written to")
	// ErrMoved says that the ledger does not stand where the batch begins:
	// another program has applied something meanwhile, or the batch is not
	// the next one.
	ErrMoved = errors.New("the ledger stands elsewhere")
	// ErrUnavailable says that a database server cannot be reached: nobody
	// answers, the connection was lost, it is starting or shutting down.
	ErrUnavailable = errors.New("the database cannot be reached")
	// ErrDenied says that a database server does not permit it: the password
	// is wrong, the account lacks a right.
	ErrDenied = errors.New("the database does not permit it")
)
