package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// A cursor says what a stream has seen of the database when a batch was read.
// It travels through the seal engine as an opaque text and is kept with the
// batch, so that it counts only when the batch does.
type cursor struct {
	// Snapshot is pg_current_snapshot() of that time: what had been committed
	// then, exactly. A highest number is not enough: numbers are given at the
	// beginning of a transaction and not at its end.
	Snapshot string `json:"snapshot"`
	// Place is the journal that the snapshot speaks of; see place.
	Place string `json:"place"`
	// Tables has how each table was shipped. One that stands here with
	// another mark than it has now goes whole.
	Tables map[string]mark `json:"tables,omitempty"`
	// Uploads is a digest of what tills were asked to send.
	Uploads string `json:"uploads,omitempty"`
}

// A mark is the state of a table up to which its journal is to be trusted.
type mark struct {
	Shape      string `json:"shape"`      // digest of what is shipped: columns, types, key, dossier
	Generation int64  `json:"generation"` // another one when changes may have gone by the table's triggers
	// Writers are the transactions that may have been at work with an older
	// function than the table's present one, and were not over when the batch
	// was read. What they did with it is not to be trusted.
	Writers string `json:"writers,omitempty"`
}

// is reports whether a table was shipped as it is now.
func (m mark) is(n mark) bool { return m.Shape == n.Shape && m.Generation == n.Generation }

func parseCursor(s string) (c cursor, err error) {
	if s == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(s), &c); err != nil {
		return c, fmt.Errorf("the cursor %q in caisseauto_stream cannot be read: %w", s, err)
	}
	if _, err := parseSnapshot(c.Snapshot); err != nil {
		return c, err
	}
	return c, nil
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("postgres: a cursor that does not encode: " + err.Error()) // cannot happen: numbers and strings always do
	}
	return string(b)
}

// same reports whether a batch read at n ships the same tables and columns,
// from the same journal, as the one read at c.
func (c cursor) same(n cursor) bool {
	return c.Place == n.Place && maps.Equal(c.Tables, n.Tables) && c.Uploads == n.Uploads
}

// A snapshot is what pg_current_snapshot() says: transactions before xmin are
// over, those from xmax on had not begun, and of those between the listed ones
// were at work (https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT).
type snapshot struct {
	xmin, xmax string
	open       []string
}

func parseSnapshot(s string) (x snapshot, err error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return x, fmt.Errorf("%q in caisseauto_stream is no snapshot", s)
	}
	x.xmin, x.xmax = parts[0], parts[1]
	if parts[2] != "" {
		x.open = strings.Split(parts[2], ",")
	}
	for _, n := range append([]string{x.xmin, x.xmax}, x.open...) {
		if _, err := strconv.ParseUint(n, 10, 64); err != nil {
			return x, fmt.Errorf("%q in caisseauto_stream is no snapshot", s)
		}
	}
	return x, nil
}

// after returns the condition that a journal entry was not committed in the
// snapshot. What is visible to whoever asks is MVCC's to say. Both parts are
// ranges of the index on xid: a transaction that was open for hours makes
// nobody read again what was written in these hours.
func (x snapshot) after() string {
	if len(x.open) == 0 {
		return fmt.Sprintf("xid >= '%s'::xid8", x.xmax)
	}
	return fmt.Sprintf("(xid >= '%s'::xid8 OR xid = ANY ('{%s}'::xid8[]))", x.xmax, strings.Join(x.open, ","))
}

// future is the condition of an entry that no transaction of this cluster can
// have written and committed: it came with a dump of another one.
const future = "xid >= pg_snapshot_xmax(pg_current_snapshot())"

// before returns the condition that an entry was written by a transaction
// that was over in the snapshot.
func (x snapshot) before() string {
	if len(x.open) == 0 {
		return fmt.Sprintf("xid < '%s'::xid8", x.xmax)
	}
	return fmt.Sprintf("(xid < '%s'::xid8 AND xid <> ALL ('{%s}'::xid8[]))", x.xmax, strings.Join(x.open, ","))
}

// place returns which journal this is: of which cluster and timeline, which
// database and file. Transaction numbers mean nothing in another cluster, and
// on another timeline, after a restore or the promotion of a replica, they may
// be given a second time; a journal that was made anew or truncated does not
// know what the old one knew. The timeline is taken from the name of the
// newest WAL file: pg_control_checkpoint() knows it only from the next
// checkpoint on.
func place(ctx context.Context, q querier) (s string, err error) {
	err = q.QueryRow(ctx, placeSQL).Scan(&s)
	return s, err
}

const placeSQL = `SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
	(SELECT oid FROM pg_database WHERE datname = current_database()), pg_relation_filenode('caisseauto.caisseauto_journal'))`
