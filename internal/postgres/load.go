package postgres

import (
	"context"
	"fmt"
)

// An ownTable is a table that we make.
type ownTable struct{ name, sql string }

// ownTables are the tables that capture keeps in our schema. The journal has no
// other constraint than NOT NULL, nothing that could make a write of the ERP's
// fail; it is in the order of xid as good as always, and read by ranges of it.
var ownTables = []ownTable{
	{"caisseauto_journal", `CREATE TABLE caisseauto.caisseauto_journal(xid xid8 NOT NULL DEFAULT pg_current_xact_id(), tab integer NOT NULL, dossier text, mask bigint, k text[])
		WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000);
CREATE INDEX caisseauto_journal_xid ON caisseauto.caisseauto_journal(xid)`},
	{"caisseauto_table", `CREATE TABLE caisseauto.caisseauto_table(tab integer PRIMARY KEY, name text NOT NULL UNIQUE,
		generation bigint NOT NULL, declared text NOT NULL, triggers text NOT NULL)`},
	{"caisseauto_stream", `CREATE TABLE caisseauto.caisseauto_stream(stream text PRIMARY KEY, epoch bigint NOT NULL DEFAULT 0, sequence bigint NOT NULL DEFAULT 0,
		digest text NOT NULL DEFAULT '', baseline bigint NOT NULL DEFAULT 0, cursor text NOT NULL,
		pending_epoch bigint, pending_sequence bigint, pending_digest text, pending_kind text, pending_cursor text,
		issue bigint NOT NULL DEFAULT 0, oldest bigint NOT NULL DEFAULT 0)`},
	{"caisseauto_shelf", shelfSQL},
	{"caisseauto_shelf_large", shelfLargeSQL},
	{"caisseauto_event", `CREATE TABLE caisseauto.caisseauto_event(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at text NOT NULL, stream text, what text NOT NULL)`},
}

// ownTables plans our schema and its tables.
func (p *plan) ownTables() {
	if !p.schema {
		p.add(master, "CREATE SCHEMA caisseauto")
	}
	for _, t := range ownTables {
		if !p.own[t.name] {
			p.add(ours, "%s", t.sql)
		}
	}
	if p.own["caisseauto_stream"] && !p.heads { // it was made before several hosts could export
		p.add(ours, "ALTER TABLE caisseauto.caisseauto_stream ADD COLUMN IF NOT EXISTS issue bigint NOT NULL DEFAULT 0, ADD COLUMN IF NOT EXISTS oldest bigint NOT NULL DEFAULT 0")
	}
}

// printed is a digest of a table's triggers and function, and of the
// transactions that wrote their rows in the catalog: whoever switches a
// trigger off and on again leaves other ones. So does whoever renames columns
// and renames them back, or takes the right to the journal away for a while.
const printed = `md5(string_agg(concat_ws(' ', t.tgrelid, t.tgname, t.tgenabled, t.tgtype, t.xmin, p.oid, p.xmin,
		CASE WHEN t.tgparentid = 0 AND t.tgname ~ 'row$' THEN (SELECT string_agg(concat(a.attnum, ':', a.xmin), ',' ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = t.tgrelid AND a.attnum > 0) END),
		',' ORDER BY t.tgrelid, t.tgname) || (SELECT concat_ws(' ', max(s.xmin::text), max(c.xmin::text)) FROM pg_namespace AS s JOIN pg_class AS c ON c.relnamespace = s.oid WHERE s.nspname = 'caisseauto' AND c.relname = 'caisseauto_journal'))`

const fromTriggers = ` FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS s ON s.oid = p.pronamespace
	WHERE s.nspname = 'caisseauto' AND t.tgname ~ '^caisseauto_[0-9]+_(row|truncate)$'`

const tabOfTrigger = `split_part(t.tgname, '_', 2)::bigint`

// printSQL returns the query of one table's digest.
func printSQL(tab int64) string {
	return fmt.Sprintf("SELECT coalesce(%s, '')%s AND %s = %d", printed, fromTriggers, tabOfTrigger, tab)
}

// load reads what is there.
func (p *plan) load(ctx context.Context, q querier) error {
	err := q.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'caisseauto'), current_user").Scan(&p.schema, &p.role)
	if err != nil || !p.schema {
		return err
	}
	for _, read := range []func(context.Context, querier) error{p.loadTables, p.loadFunctions, p.loadTriggers} {
		if err := read(ctx, q); err != nil {
			return err
		}
	}
	if p.own["caisseauto_table"] {
		if err := p.loadKnown(ctx, q); err != nil {
			return err
		}
	}
	if !p.own["caisseauto_stream"] {
		return nil
	}
	if p.heads, err = hasHeads(ctx, q); err != nil {
		return err
	}
	return each(ctx, q, "SELECT stream FROM caisseauto.caisseauto_stream", nil, func(v [][]byte) error { p.streams[string(v[0])] = true; return nil })
}

func (p *plan) loadTables(ctx context.Context, q querier) error {
	return each(ctx, q, "SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace WHERE s.nspname = 'caisseauto' AND c.relkind = 'r'", nil,
		func(v [][]byte) error { p.own[string(v[0])] = true; return nil })
}

// signature brings together what of a function must be as we wrote it.
func signature(source string, definer bool, config []string) string {
	return fmt.Sprintf("%s %v %q", source, definer, config)
}

func (p *plan) loadFunctions(ctx context.Context, q querier) error {
	rows, err := q.Query(ctx, `SELECT p.proname, p.prosrc, p.prosecdef, coalesce(p.proconfig, '{}'),
			coalesce(has_schema_privilege(p.proowner, s.oid, 'USAGE') AND has_table_privilege(p.proowner, to_regclass('`+journal+`'), 'INSERT'), true) FROM pg_proc AS p JOIN pg_namespace AS s ON s.oid = p.pronamespace
		WHERE s.nspname = 'caisseauto' AND p.proname ~ '^caisseauto_[0-9]+$' AND p.pronargs = 0`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, source string
		var definer, able bool
		var config []string
		if err := rows.Scan(&name, &source, &definer, &config, &able); err != nil {
			return err
		}
		p.unable[name] = !able
		p.functions[name] = signature(source, definer, config)
	}
	return rows.Err()
}

// loadTriggers reads our triggers, wherever they are. A good one has the type
// that we gave it (trigger.h: row 1, before 2, insert 4, delete 8, update 16,
// truncate 32), no condition, and fires always.
func (p *plan) loadTriggers(ctx context.Context, q querier) error {
	rows, err := q.Query(ctx, `SELECT `+tabOfTrigger+`, `+quotedSQL("n.nspname", "c.relname")+`, t.tgname,
			t.tgenabled = 'A' AND t.tgqual IS NULL AND cardinality(t.tgattr::int2[]) = 0 AND p.proname = 'caisseauto_' || split_part(t.tgname, '_', 2)
				AND t.tgtype = CASE split_part(t.tgname, '_', 3) WHEN 'row' THEN 29 ELSE 32 END,
			t.tgparentid <> 0, t.xmin = p.xmin`+
		` FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS s ON s.oid = p.pronamespace
			JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE s.nspname = 'caisseauto' AND t.tgname ~ '^caisseauto_[0-9]+_(row|truncate)$' ORDER BY t.tgrelid, t.tgname`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var x trigger
		if err := rows.Scan(&x.tab, &x.relation, &x.name, &x.good, &x.clone, &x.first); err != nil {
			return err
		}
		p.triggers = append(p.triggers, x)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	prints, err := q.Query(ctx, "SELECT "+tabOfTrigger+", "+printed+fromTriggers+" GROUP BY 1")
	if err != nil {
		return err
	}
	defer prints.Close()
	for prints.Next() {
		var tab int64
		var digest string
		if err := prints.Scan(&tab, &digest); err != nil {
			return err
		}
		p.prints[tab] = digest
	}
	return prints.Err()
}

func (p *plan) loadKnown(ctx context.Context, q querier) error {
	rows, err := q.Query(ctx, "SELECT name, tab, generation, declared, triggers FROM caisseauto.caisseauto_table")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var k known
		if err := rows.Scan(&name, &k.tab, &k.generation, &k.declared, &k.triggers); err != nil {
			return err
		}
		p.known[name] = k
		p.top = max(p.top, k.tab)
	}
	return rows.Err()
}
