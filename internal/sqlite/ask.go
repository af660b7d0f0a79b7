package sqlite

import (
	"context"
	"errors"
	"fmt"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
)

// Ask runs a query of the configuration on a till's database, which it opens
// for reading alone, and reports whether the first column of the first row is
// anything but 0, NULL or an empty text. No row says no.
func Ask(ctx context.Context, path, query string) (yes bool, err error) {
	s := NewSource(path, nil, SourceOptions{})
	s.till = true
	enough := errors.New("enough")
	err = s.read(ctx, func(db *sqlite3.Conn) error {
		err := db.Query(query, func(r *sqlite3.Stmt) error {
			switch r.Kind(0) {
			case change.Null:
			case change.Integer:
				yes = r.Int(0) != 0
			case change.Real:
				yes = r.Real(0) != 0
			default:
				yes = len(r.Bytes(0)) > 0
			}
			return enough
		})
		if errors.Is(err, enough) {
			return nil
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("the query %q: %w", query, err)
	}
	return yes, nil
}
