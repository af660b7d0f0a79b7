package retail

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"caisseauto/internal/sqlite/sqlite3"
)

// ChangeClient changes a customer as the ERP's form does, on the server or at
// a till: the values by their columns, the version one higher, and at as the
// time of the change. A customer that is not there is an error.
func ChangeClient(conn *sqlite3.Conn, dossier, code string, at time.Time, values map[string]any) error {
	set, args := []string{"version = version + 1", "modifie_le = ?"}, []any{at.UTC().Format(time.RFC3339)}
	for _, column := range slices.Sorted(maps.Keys(values)) {
		set = append(set, `"`+strings.ReplaceAll(column, `"`, `""`)+`" = ?`)
		args = append(args, values[column])
	}
	err := conn.Run("UPDATE client SET "+strings.Join(set, ", ")+" WHERE dossier = ? AND code = ?", append(args, dossier, code)...)
	if err == nil && conn.Changes() != 1 {
		err = errors.New("there is no such customer")
	}
	if err != nil {
		return fmt.Errorf("changing customer %s of dossier %s: %w", code, dossier, err)
	}
	return nil
}
