package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/internal/database"
)

// A Table is a table as the catalog has it.
type Table struct {
	OID         uint32
	Schema      string
	Name        string
	Kind        string // pg_class.relkind
	Persistence string // p permanent, u unlogged, t temporary
	Parent      bool   // others inherit from it, and it is not partitioned
	Columns     []Column
	Unique      []Index
	ForeignKeys []ForeignKey
	Partitions  []string // of all levels, as SQL; the table itself is not one
	unusable    string   // a partition whose changes cannot be captured
}

// A Column is one column of a table.
type Column struct {
	Name      string
	Number    int16
	Type      string // in SQL, with its length or precision; of a domain its base type
	Base      uint32 // OID of that type
	Declared  string // the type in SQL, a domain's name
	Collation string // as SQL; empty: the default, or none
	Folding   bool   // texts that are not the same may be equal in the collation
	NotNull   bool
	Generated bool // cannot be written to
	Identity  string
	wire      wire
}

// An Index is a unique index on columns alone, valid and without a condition.
type Index struct {
	Name      string
	Primary   bool
	Immediate bool // not deferrable
	Columns   []string
	Equals    []string // for each column the operator by which the index compares
}

// A ForeignKey is a reference to a parent table.
type ForeignKey struct {
	OID      uint32 // the parent
	Schema   string
	Table    string
	From, To []string
}

// Column returns the column of that name, nil when there is none. Names have
// a case.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// sql returns the table's name as SQL.
func (t *Table) sql() string { return quote(t.Schema, t.Name) }

func (t *Table) columnNames() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

// A tableRef names a table as a configuration does.
type tableRef struct{ schema, name string }

func (r tableRef) String() string {
	if r.schema == "" {
		return quote(r.name)
	}
	return quote(r.schema, r.name)
}

// readTables reads the tables from the catalog as the transaction sees it. A
// name without a schema is looked for in path. Tables that are not there are
// not in the answer.
func readTables(ctx context.Context, q querier, path []string, refs []tableRef) (map[tableRef]*Table, error) {
	tables := make(map[tableRef]*Table, len(refs))
	byOID := map[uint32]*Table{}
	schemas, names := make([]string, len(refs)), make([]string, len(refs))
	for i, r := range refs {
		schemas[i], names[i] = r.schema, r.name
	}
	rows, err := q.Query(ctx, `SELECT i.n, c.oid, c.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.parent
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS i(schema, name, n), LATERAL (
			SELECT c.oid, s.nspname, c.relname, c.relkind, c.relpersistence,
				c.relkind <> 'p' AND EXISTS (SELECT 1 FROM pg_inherits AS h WHERE h.inhparent = c.oid) AS parent
			FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace
			WHERE c.relname = i.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
				AND CASE WHEN i.schema = '' THEN s.nspname = ANY($3::text[]) ELSE s.nspname = i.schema END
			ORDER BY array_position($3::text[], s.nspname::text) LIMIT 1) AS c`, schemas, names, path)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		t := &Table{}
		if err := rows.Scan(&n, &t.OID, &t.Schema, &t.Name, &t.Kind, &t.Persistence, &t.Parent); err != nil {
			return nil, err
		}
		if known := byOID[t.OID]; known != nil {
			t = known
		}
		byOID[t.OID], tables[refs[n-1]] = t, t
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	oids := make([]uint32, 0, len(byOID))
	for oid := range byOID {
		oids = append(oids, oid)
	}
	slices.Sort(oids)
	for _, read := range []func(context.Context, querier, map[uint32]*Table, []uint32) error{readColumns, readIndexes, readForeignKeys, readPartitions} {
		if err := read(ctx, q, byOID, oids); err != nil {
			return nil, err
		}
	}
	return tables, nil
}

// readColumns reads the columns. Of a domain the base type counts, at the end
// of the chain, with the length that the last domain gives it.
func readColumns(ctx context.Context, q querier, tables map[uint32]*Table, oids []uint32) error {
	rows, err := q.Query(ctx, `SELECT a.attrelid, a.attname, a.attnum, format_type(b.oid, b.mod), b.oid, format_type(a.atttypid, a.atttypmod),
			CASE WHEN a.attcollation IN (0, 100) THEN '' ELSE (SELECT format('%I.%I', s.nspname, l.collname)
				FROM pg_collation AS l JOIN pg_namespace AS s ON s.oid = l.collnamespace WHERE l.oid = a.attcollation) END,
			EXISTS (SELECT 1 FROM pg_collation AS l WHERE l.oid = a.attcollation AND NOT l.collisdeterministic), a.attnotnull, a.attgenerated <> '', a.attidentity::text
		FROM pg_attribute AS a, LATERAL (
			WITH RECURSIVE d(oid, typtype, base, mod, next, depth) AS (
				SELECT t.oid, t.typtype, t.typbasetype, a.atttypmod, t.typtypmod, 0 FROM pg_type AS t WHERE t.oid = a.atttypid
				UNION ALL SELECT t.oid, t.typtype, t.typbasetype, d.next, t.typtypmod, depth + 1 FROM d JOIN pg_type AS t ON t.oid = d.base WHERE d.typtype = 'd')
			SELECT oid, mod FROM d ORDER BY depth DESC LIMIT 1) AS b
		WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum`, oids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var oid uint32
		var c Column
		if err := rows.Scan(&oid, &c.Name, &c.Number, &c.Type, &c.Base, &c.Declared, &c.Collation, &c.Folding, &c.NotNull, &c.Generated, &c.Identity); err != nil {
			return err
		}
		c.wire = wires[c.Base]
		tables[oid].Columns = append(tables[oid].Columns, c)
	}
	return rows.Err()
}

func readIndexes(ctx context.Context, q querier, tables map[uint32]*Table, oids []uint32) error {
	rows, err := q.Query(ctx, `SELECT i.indrelid, c.relname, i.indisprimary, i.indimmediate, k.names, k.equals
		FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid, LATERAL (
			SELECT array_agg(a.attname::text ORDER BY n) AS names,
				array_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY n) AS equals
			FROM unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS u(num, class, n)
			JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = u.num
			JOIN pg_opclass AS p ON p.oid = u.class
			JOIN pg_amop AS m ON m.amopfamily = p.opcfamily AND m.amoplefttype = p.opcintype AND m.amoprighttype = p.opcintype AND m.amopstrategy = 3
			JOIN pg_operator AS o ON o.oid = m.amopopr JOIN pg_namespace AS s ON s.oid = o.oprnamespace
			WHERE n <= i.indnkeyatts) AS k
		WHERE i.indrelid = ANY($1) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.names IS NOT NULL
		ORDER BY i.indrelid, i.indisprimary DESC, c.relname`, oids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var oid uint32
		var x Index
		if err := rows.Scan(&oid, &x.Name, &x.Primary, &x.Immediate, &x.Columns, &x.Equals); err != nil {
			return err
		}
		tables[oid].Unique = append(tables[oid].Unique, x)
	}
	return rows.Err()
}

func readForeignKeys(ctx context.Context, q querier, tables map[uint32]*Table, oids []uint32) error {
	rows, err := q.Query(ctx, `SELECT f.conrelid, f.confrelid, s.nspname, c.relname, k.child, k.parent
		FROM pg_constraint AS f JOIN pg_class AS c ON c.oid = f.confrelid JOIN pg_namespace AS s ON s.oid = c.relnamespace, LATERAL (
			SELECT array_agg(a.attname::text ORDER BY n) AS child, array_agg(b.attname::text ORDER BY n) AS parent
			FROM unnest(f.conkey, f.confkey) WITH ORDINALITY AS u(a, b, n)
			JOIN pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = u.a
			JOIN pg_attribute AS b ON b.attrelid = f.confrelid AND b.attnum = u.b) AS k
		WHERE f.contype = 'f' AND f.conrelid = ANY($1) AND f.conparentid = 0 ORDER BY f.conrelid, f.conname`, oids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var oid uint32
		var f ForeignKey
		if err := rows.Scan(&oid, &f.OID, &f.Schema, &f.Table, &f.From, &f.To); err != nil {
			return err
		}
		tables[oid].ForeignKeys = append(tables[oid].ForeignKeys, f)
	}
	return rows.Err()
}

func readPartitions(ctx context.Context, q querier, tables map[uint32]*Table, oids []uint32) error {
	rows, err := q.Query(ctx, `SELECT c.oid, `+quotedSQL("s.nspname", "p.relname")+`, p.relkind = 'f' OR p.relpersistence = 'u'
		FROM pg_class AS c, LATERAL pg_partition_tree(c.oid) AS t JOIN pg_class AS p ON p.oid = t.relid JOIN pg_namespace AS s ON s.oid = p.relnamespace
		WHERE c.oid = ANY($1) AND c.relkind = 'p' AND t.relid <> c.oid ORDER BY 1, t.level, 2`, oids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var oid uint32
		var name string
		var bad bool
		if err := rows.Scan(&oid, &name, &bad); err != nil {
			return err
		}
		tables[oid].Partitions = append(tables[oid].Partitions, name)
		if bad {
			tables[oid].unusable = name
		}
	}
	return rows.Err()
}

// usable says why the changes of a relation cannot be captured, nil when they
// can.
func (t *Table) usable() error {
	switch {
	case t.Kind != "r" && t.Kind != "p":
		return errors.New("is a view or a foreign table, whose changes no trigger sees; name the table behind it")
	case t.Persistence == "u":
		return errors.New("is unlogged: a crash of the server empties it without a word; ALTER TABLE … SET LOGGED, or leave it out")
	case t.Persistence == "t":
		return errors.New("is temporary; leave it out")
	case t.unusable != "":
		return fmt.Errorf("has partition %s, which is a foreign table or unlogged: the server does not see its changes, or empties it after a crash; DETACH it, or leave the table out", t.unusable)
	case t.Parent:
		return errors.New("has tables that inherit from it, whose rows it shows and whose changes its triggers do not see; name these, or make it a partitioned table")
	}
	return nil
}

// declared returns a digest of all that a table's journal depends on.
func (t *Table) declared() string {
	return database.Fingerprint(fmt.Sprintf("%+v", t.Columns), fmt.Sprintf("%+v", t.Unique), strings.Join(t.Partitions, " "), t.Persistence)
}

// keyOf returns the columns that name a row, with the operators of the index
// that keeps them unique.
func (t *Table) keyOf(names []string) (*Index, error) {
	if len(names) == 0 {
		if i := slices.IndexFunc(t.Unique, func(x Index) bool { return x.Primary }); i >= 0 {
			return t.checkKey(&t.Unique[i])
		}
		return nil, errors.New(`has no PRIMARY KEY; name columns with a UNIQUE index on them: key = ["…"]`)
	}
	for _, name := range names {
		if t.Column(name) == nil {
			return nil, fmt.Errorf("key names column %s, which does not exist; the table has %q", quote(name), t.columnNames())
		}
	}
	for i := range t.Unique {
		x := &t.Unique[i]
		if len(x.Columns) != len(names) || slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(x.Columns, n) }) {
			continue
		}
		ordered := &Index{Name: x.Name, Primary: x.Primary, Immediate: x.Immediate, Columns: names}
		for _, n := range names {
			ordered.Equals = append(ordered.Equals, x.Equals[slices.Index(x.Columns, n)])
		}
		return t.checkKey(ordered)
	}
	return nil, fmt.Errorf("nothing keeps its key %q unique; choose a key with a PRIMARY KEY or a UNIQUE index on exactly these columns", names)
}

func (t *Table) checkKey(x *Index) (*Index, error) {
	for _, name := range x.Columns {
		if t.Column(name).Generated {
			return nil, fmt.Errorf("its key has column %s, which is generated and cannot be written to on the other side", quote(name))
		}
	}
	return x, nil
}
