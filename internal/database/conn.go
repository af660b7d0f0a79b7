package database

import (
	"context"

	"caisseauto/internal/change"
)

// A Row is the current row of a query. Columns count from 0. A column of
// another kind than is asked for gives what the database makes of it: 0 for
// the Int of NULL.
type Row interface {
	Kind(i int) change.Kind
	Int(i int) int64
	Text(i int) string
	Bytes(i int) []byte // the row's own, good until the callback returns
}

// A Conn runs SQL that all kinds of databases understand: parameters are
// written ?1, ?2, …, and names are those of our own tables. Arguments are nil,
// int, int64, bool, string and []byte (a blob).
type Conn interface {
	Run(ctx context.Context, sql string, args ...any) error
	// Query calls row for every row of the result, which is small: it may be
	// read to its end before. Row may run statements of its own.
	Query(ctx context.Context, sql string, row func(Row) error, args ...any) error
}
