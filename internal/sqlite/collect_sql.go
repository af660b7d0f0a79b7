package sqlite

import (
	"fmt"
	"strings"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
)

// sqls writes the statements that judge a row. All take the whole row as
// parameters ?1, ?2, …. SQLite itself compares, because a value is not the
// same before and after a column has stored it: in a column of type INTEGER
// the text "7" is the number 7.
func (op *collectOp) sqls() {
	t, u := op.apply.table, op.Op.Table.Upload
	from := " FROM " + database.Quote(t.Name) + " WHERE " + op.apply.where()
	if op.Header.Op != change.Delete {
		op.sameSQL = "SELECT 1" + from + op.table.same(op.apply)
	}
	// A row of another till or dossier can stand under a key that names
	// neither. In append tables it is the same key with other content.
	var own []string
	for i, column := range []string{u.Dossier, u.Till} {
		if column != "" && !containsName(u.Key, column) {
			own = append(own, fmt.Sprintf("%s IS ?%d COLLATE BINARY", t.qualified(column), len(op.Header.Columns)+1+i))
		}
	}
	if len(own) > 0 {
		op.ownSQL = "SELECT " + strings.Join(own, " AND ") + from
	}
	if p := u.Above; p != nil && len(op.Link) > 0 && op.Header.Op == change.Upsert && !op.table.linked {
		var terms []string
		for i, k := range p.Key {
			terms = append(terms, database.Quote(k)+" = "+param(op.Link[i]))
		}
		for i, column := range []string{p.Dossier, p.Till} {
			if column != "" {
				terms = append(terms, fmt.Sprintf("%s IS ?%d COLLATE BINARY", database.Quote(column), len(op.Header.Columns)+1+i))
			}
		}
		op.parentSQL = "SELECT 1 FROM " + database.Quote(p.Table) + " WHERE " + strings.Join(terms, " AND ")
	}
	op.serversSQL = "SELECT " + database.QuoteAll("", plain(t.Table)) + from
}

// same returns the condition that the live row has the values that are sent.
func (t *collectTable) same(op *applyOp) string {
	var b strings.Builder
	for _, i := range op.write {
		q := op.table.qualified(op.columns[i])
		fmt.Fprintf(&b, " AND %s IS %s COLLATE BINARY", q, param(i))
		if op.table.keeps(op.columns[i]) {
			fmt.Fprintf(&b, " AND typeof(%s) = typeof(%s)", q, param(i))
		}
	}
	return b.String()
}
