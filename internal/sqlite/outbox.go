package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// ErrForked says that a receipt names a batch which this database never
// sealed: it was restored from an old backup, or runs twice.
var ErrForked = errors.New("the server knows batches that this database does not")

// OutboxOptions are the settings of an [Outbox].
type OutboxOptions struct {
	// Table is the name of the journal; empty is MICPTRACK.
	Table string
	// Dossier and Till name the till, and its streams.
	Dossier, Till string
	// Events is where events are written to; nil: nowhere.
	Events *EventConfig
	// BusyTimeout is how long to wait for the POS's own writes; 0 is 5 s.
	BusyTimeout time.Duration
}

// outboxTable is the journal's name where none is configured.
const outboxTable = "MICPTRACK"

func (o *OutboxOptions) table() string {
	if o.Table == "" {
		return outboxTable
	}
	return o.Table
}

// An Outbox is a till's database as the writer of the till's stream. What it
// sends, the server says in the batches that the till applies; see
// TillOptions.Outbox. Like a [Source] it holds no connection between calls.
type Outbox struct {
	s      *Source
	o      OutboxOptions
	stream string
	gap    func() // for tests: runs between the closing of the newest entry and the snapshot
}

// NewOutbox returns the outbox of the database file at path. Nothing is
// opened yet.
func NewOutbox(path string, o OutboxOptions) *Outbox {
	s := NewSource(path, nil, SourceOptions{BusyTimeout: o.BusyTimeout})
	s.till = true
	return &Outbox{s: s, o: o, stream: manifest.StreamUp(o.Dossier, o.Till)}
}

// outboxTables are the tables of an outbox beside those of a capture.
var outboxTables = []ownTable{
	{"caisseauto_till", "CREATE TABLE caisseauto_till(one INTEGER PRIMARY KEY CHECK(one=1), incarnation TEXT NOT NULL, uploads TEXT NOT NULL)"},
	{"caisseauto_state", "CREATE TABLE caisseauto_state(name TEXT PRIMARY KEY, value TEXT NOT NULL)"},
	{"caisseauto_sent", "CREATE TABLE caisseauto_sent(epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, digest TEXT NOT NULL," +
		" cursor INTEGER NOT NULL, PRIMARY KEY(epoch, sequence))"},
	// Keys are JSON arrays. Pending: of rows that the server is still to
	// judge. Held: what it has sent of them meanwhile.
	{"caisseauto_pending", "CREATE TABLE caisseauto_pending(id INTEGER PRIMARY KEY, tab INTEGER NOT NULL, key TEXT NOT NULL, integrated INTEGER NOT NULL)"},
	{"caisseauto_held", "CREATE TABLE caisseauto_held(id INTEGER PRIMARY KEY AUTOINCREMENT, tab INTEGER NOT NULL, key TEXT NOT NULL," +
		" op TEXT NOT NULL, columns TEXT NOT NULL, row TEXT NOT NULL)"},
	{"caisseauto_applying", "CREATE TABLE caisseauto_applying(one INTEGER PRIMARY KEY)"},
}

// newIncarnation is the SQL of a name that no other database has.
const newIncarnation = "lower(hex(randomblob(16)))"

// ownTables returns the tables that the capture needs, in the order in which
// they are made.
func (c *Capture) ownTables() []ownTable {
	if c.outbox == "" {
		return ownTables
	}
	// The time has no constraint that could fail, see trigger.go, and is
	// computed without a detour through text. The number
	// is one above c.newest, which is what AUTOINCREMENT would make it, without
	// a write to sqlite_sequence with every ticket: see numberTrigger.
	list := []ownTable{{foldName(c.outbox), "CREATE TABLE " + c.journal() + "(seq INTEGER PRIMARY KEY, tab INTEGER NOT NULL," +
		" mask INTEGER, at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400 AS INTEGER)), base TEXT, k1)"}}
	return append(append(list, ownTables[1:]...), outboxTables...)
}

// outboxCapture returns what the database's uploads make of it.
func outboxCapture(db *sqlite3.Conn, o *OutboxOptions) (*Capture, error) {
	c := &Capture{outbox: o.table(), streams: map[string]streamConfig{}}
	stream := manifest.StreamUp(o.Dossier, o.Till)
	if low := foldName(c.outbox); strings.HasPrefix(low, "sqlite_") || strings.HasPrefix(low, "caisseauto_") {
		return nil, fmt.Errorf("the outbox cannot be named %s: such names belong to SQLite and to caisseauto; give it another in the configuration", c.outbox)
	}
	uploads, err := storedUploads(db)
	if err != nil {
		return nil, err
	}
	config := streamConfig{}
	for _, u := range uploads {
		if foldName(u.Table) == foldName(c.outbox) {
			return nil, fmt.Errorf("table %s is the outbox itself and cannot be sent; take it out of the server's configuration", u.Table)
		}
		config.tables = append(config.tables, tableConfig{TableConfig: database.TableConfig{Name: u.Table, Key: u.Key, Exclude: u.Exclude}, up: &upTable{Upload: u, dossier: o.Dossier, till: o.Till, newest: c.newest()}})
	}
	c.streams[stream] = config
	return c, nil
}

// storedUploads returns what the server wants of this till, as far as it has
// said so.
func storedUploads(db *sqlite3.Conn) (list []manifest.Upload, err error) {
	if ok, err := Exists(db, "caisseauto_till"); err != nil || !ok {
		return nil, err
	}
	err = db.Query("SELECT uploads FROM caisseauto_till", func(s *sqlite3.Stmt) error {
		if s.Text(0) == "" {
			return nil
		}
		return json.Unmarshal(s.Bytes(0), &list)
	})
	if err != nil {
		return nil, fmt.Errorf("the list of tables to send, in caisseauto_till of %s: %w; ask the server for a baseline: caisseauto export --baseline", db.Path(), err)
	}
	return list, nil
}

// plan compares the database with what it should have.
func (o *OutboxOptions) plan(db *sqlite3.Conn) (*plan, error) {
	c, err := outboxCapture(db, o)
	if err != nil {
		return nil, err
	}
	return c.plan(db, manifest.StreamUp(o.Dossier, o.Till))
}

// outbox plans what a till has beside a capture's.
func (p *plan) outbox(db *sqlite3.Conn, journalLost bool) error {
	p.parts()
	name := p.capture.outbox
	if p.own[foldName(name)] {
		found := 0
		err := db.Query(`SELECT 1 FROM pragma_table_info(?1) WHERE name IN ('seq', 'tab', 'mask', 'at', 'base')`,
			func(*sqlite3.Stmt) error { found++; return nil }, name)
		if err == nil && found != 5 {
			err = fmt.Errorf("%s has a table %s already that is no outbox of caisseauto; nothing was changed; choose another name in till.toml", db.Path(), database.Quote(name))
		}
		if err != nil {
			return err
		}
	}
	if !p.own["caisseauto_till"] {
		p.add("INSERT INTO caisseauto_till VALUES(1, %s, '')", newIncarnation)
	}
	p.numbers(journalLost)
	if !journalLost {
		return nil
	}
	// A new journal must not give a number twice: a receipt for what an old
	// number meant would prune the new one.
	top := int64(0)
	for stream := range p.capture.streams {
		if p.own["caisseauto_stream"] {
			_, text, err := stand(db, stream)
			if err != nil {
				return err
			}
			c, err := parseCursor(text)
			if err != nil {
				return err
			}
			top = max(top, c.Seq)
		}
	}
	if p.own["caisseauto_sent"] {
		err := db.Query(`SELECT coalesce(max(cursor), 0) FROM caisseauto_sent`, func(s *sqlite3.Stmt) error { top = max(top, s.Int(0)); return nil })
		if err != nil {
			return err
		}
	}
	p.raise(fmt.Sprint(top))
	return nil
}

// numberTrigger returns the trigger that keeps the highest number ever given
// in sqlite_sequence, whoever deletes the entry that has it.
func (c *Capture) numberTrigger() trigger {
	const name = "caisseauto_0_ad"
	j, text := c.journal(), quoteText(c.outbox)
	return trigger{name, "CREATE TRIGGER " + name + " AFTER DELETE ON " + j + " WHEN NOT EXISTS (SELECT 1 FROM " + j + " WHERE seq > old.seq)" +
		" BEGIN DELETE FROM sqlite_sequence WHERE name = " + text + " AND seq < old.seq;" +
		" INSERT INTO sqlite_sequence(name, seq) SELECT " + text + ", old.seq WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = " + text + "); END"}
}

// numbers plans that trigger. Numbers may have been lost without it: then one
// is left out, and the hole makes all rows go up once more.
func (p *plan) numbers(journalLost bool) {
	t := p.capture.numberTrigger()
	for _, a := range p.actual {
		if a.name != t.name {
			continue
		}
		if a.sql == t.sql {
			return
		}
		p.add("DROP TRIGGER %s", t.name)
	}
	p.statements = append(p.statements, t.sql)
	if p.own[foldName(p.capture.outbox)] && !journalLost {
		p.raise("1 + " + p.capture.newest())
	}
}

// raise plans that no number up to one is given any more.
func (p *plan) raise(to string) {
	name := quoteText(p.capture.outbox)
	p.add("INSERT INTO sqlite_sequence(name, seq) SELECT %s, max(%s, %s)", name, to, p.capture.newest())
	p.add("DELETE FROM sqlite_sequence WHERE name = %[1]s AND rowid < (SELECT max(rowid) FROM sqlite_sequence WHERE name = %[1]s)", name)
}

// check refuses a stream that is not the till's.
func (b *Outbox) check(stream string) error {
	if stream != b.stream {
		return fmt.Errorf("%s holds the stream %s, not %s", b.s.path, b.stream, stream)
	}
	return nil
}

// Install makes the outbox's tables, and the triggers of the tables that the
// server wants as far as it has said so, in one transaction.
func (b *Outbox) Install(ctx context.Context) error {
	return b.s.write(ctx, func(db *sqlite3.Conn) error {
		p, err := b.o.plan(db)
		if err != nil {
			return err
		}
		return p.run(db)
	})
}

// SQL returns the statements that Install would run; empty when all is in
// place.
func (b *Outbox) SQL(ctx context.Context) (string, error) {
	var sql string
	err := b.s.read(ctx, func(db *sqlite3.Conn) error {
		p, err := b.o.plan(db)
		if err == nil && len(p.statements) > 0 {
			sql = "BEGIN IMMEDIATE;\n" + strings.Join(p.statements, ";\n") + ";\nCOMMIT;\n"
		}
		return err
	})
	return sql, err
}
