package sqlite

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// TestOutboxRandom lets a POS, a server and the network do what they like, and
// holds the till against a model by value: every batch brings the server's copy
// of the till's rows to what they were at its snapshot, every base is the row
// at the batch before, nothing leaves the outbox without its receipt, no row
// that the server has not judged is overwritten, and when all is quiet both
// sides are the same.
func TestOutboxRandom(t *testing.T) {
	runs := 40 / raceSlow
	if testing.Short() {
		runs = 5
	}
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newUpWorld(t, uint64(seed)).run(60) })
	}
}

const upWorldSQL = `CREATE TABLE d(id INTEGER PRIMARY KEY, till TEXT, v);
	CREATE TABLE c(k TEXT PRIMARY KEY, v, u TEXT UNIQUE);`

var cColumns = []string{"k", "v", "u"}

// An upWorld is a till with its model. Rows are texts, by key.
type upWorld struct {
	*upDB
	r *rand.Rand

	serverD    map[string]string // append rows that the server has
	serverC    map[string]string // clients of the server: "v|u"
	sentC      map[string]string // the till's rows of c at the last batch
	batches    []*upBatch        // sealed, not integrated
	done       []*upBatch        // integrated, without a receipt that was read
	integrated int64
	issue      int64
	latest     *manifest.Receipt // the last one
	dirty      map[string]bool   // keys that the server has to send down
}

func newUpWorld(t *testing.T, seed uint64) *upWorld {
	w := &upWorld{upDB: newUpDB(t, upWorldSQL, []manifest.Upload{
		{Table: "d", Mode: manifest.Append, Key: []string{"id"}, Till: "till", Number: "id"},
		{Table: "c", Mode: manifest.Both, Key: []string{"k"}},
	}), r: rand.New(rand.NewPCG(seed, 5))}
	w.serverD, w.serverC, w.sentC, w.dirty = map[string]string{}, map[string]string{}, map[string]string{}, map[string]bool{}
	return w
}

func (w *upWorld) run(steps int) {
	for range steps {
		switch n := w.r.IntN(20); {
		case n < 8:
			w.till()
		case n < 11:
			w.server()
		case n < 13:
			w.sealOne()
		case n < 15:
			w.integrate()
		case n < 17:
			w.send()
		case n < 18 && w.r.IntN(4) == 0:
			w.epoch()
		default:
			w.deliver()
		}
		if w.t.Failed() {
			return
		}
	}
	w.exec("INSERT INTO d(till, v) VALUES('017', 0)") // so that there is a last batch
	for range 3 {                                     // a judgement that differs makes another round
		w.sealOne()
		for len(w.batches) > 0 {
			w.integrate()
		}
		w.deliver()
		w.send()
	}
	w.quiet()
}

// till is a transaction of the POS. Sometimes it is rolled back.
func (w *upWorld) till() {
	end := "COMMIT"
	if w.r.IntN(6) == 0 {
		end = "ROLLBACK"
	}
	sql := "BEGIN;"
	for range 1 + w.r.IntN(3) {
		k, v := fmt.Sprintf("k%d", w.r.IntN(6)), w.r.IntN(1000)
		u := "NULL"
		if w.r.IntN(2) == 0 {
			u = fmt.Sprintf("'u%d'", w.r.IntN(3))
		}
		switch w.r.IntN(7) {
		case 0:
			sql += fmt.Sprintf("INSERT OR REPLACE INTO c VALUES('%s', %d, %s);", k, v, u)
		case 1:
			sql += fmt.Sprintf("UPDATE OR IGNORE c SET v=%d, u=%s WHERE k='%s';", v, u, k)
		case 2:
			sql += fmt.Sprintf("DELETE FROM c WHERE k='%s';", k)
		case 3:
			sql += fmt.Sprintf("UPDATE OR REPLACE c SET k='k%d' WHERE k='%s';", w.r.IntN(6), k)
		case 4:
			sql += fmt.Sprintf("INSERT INTO c VALUES('%s', %d, NULL) ON CONFLICT(k) DO UPDATE SET v=excluded.v;", k, v)
		case 5:
			sql += fmt.Sprintf("INSERT INTO d(till, v) VALUES('017', %d), ('018', 1);", v)
		case 6: // sold and cancelled
			sql += "INSERT INTO d(id, till, v) VALUES(100000, '017', 1); DELETE FROM d WHERE id=100000;"
		}
	}
	w.exec(sql + end)
}

// server changes clients of the server. Values of u are only ever the till's,
// so that two judgements never collide there.
func (w *upWorld) server() {
	k := fmt.Sprintf("k%d", w.r.IntN(6))
	if w.r.IntN(4) == 0 {
		delete(w.serverC, k)
	} else {
		w.serverC[k] = fmt.Sprintf("%d|NULL", 1000+w.r.IntN(1000))
	}
	w.dirty[k] = true
}

// rowsOf returns the till's rows of c.
func (w *upWorld) rowsOf() map[string]string {
	rows := map[string]string{}
	err := w.pos.Query("SELECT k, v, u FROM c", func(s *sqlite3.Stmt) error {
		rows[s.Text(0)] = strings.Trim(database.ShowValue(s.Value(1)), "'") + "|" + database.ShowValue(s.Value(2))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// line returns a sealed row of c as key and text.
func (w *upWorld) line(l string) (op, key, text string) {
	op, rest, _ := strings.Cut(l, " ")
	row := make([]change.Value, 3)
	if op == "delete" {
		row = row[:1]
	}
	if _, err := change.ParseRow([]byte(rest+"\n"), row, nil); err != nil {
		w.t.Fatal(l, err)
	}
	if op != "delete" {
		text = strings.Trim(database.ShowValue(row[1]), "'") + "|" + database.ShowValue(row[2])
	}
	return op, string(row[0].Bytes), text
}

// sealOne seals a batch and checks every row and base of it.
func (w *upWorld) sealOne() {
	b := w.seal()
	if b == nil {
		return
	}
	w.batches = append(w.batches, b)
	now := w.rowsOf()
	seen := map[string]bool{}
	bases := map[string]string{}
	for _, l := range b.of("c") {
		op, key, text := w.line(l)
		if op == "base" {
			bases[key] = text
			continue
		}
		if have, ok := now[key]; ok != (op == "upsert") || have != text || seen[key] {
			w.t.Errorf("sealed %s, but the till has %s=%q", l, key, have)
		}
		seen[key] = true
	}
	for key := range seen {
		if was, ok := w.sentC[key]; bases[key] != was || ok != (bases[key] != "") {
			w.t.Errorf("%s: base %q, but at the batch before, or when it came down, it was %q", key, bases[key], was)
		}
	}
	for key, was := range w.sentC {
		if now[key] != was && !seen[key] {
			w.t.Errorf("%s changed from %q to %q and was not sent", key, was, now[key])
		}
	}
	for key := range now {
		if _, ok := w.sentC[key]; !ok && !seen[key] {
			w.t.Errorf("%s is new and was not sent", key)
		}
	}
	w.sentC = now
}

// integrate judges the oldest sealed batch: the till's or the server's row
// wins, as it pleases.
func (w *upWorld) integrate() {
	if len(w.batches) == 0 {
		return
	}
	b := w.batches[0]
	w.batches = w.batches[1:]
	w.integrated++
	for _, l := range b.of("d") {
		_, rest, _ := strings.Cut(l, " ")
		if !strings.HasPrefix(l, "upsert") {
			w.t.Errorf("%s", l)
		}
		w.serverD[rest] = rest
	}
	for _, l := range b.of("c") {
		op, key, text := w.line(l)
		if op == "base" {
			continue
		}
		w.dirty[key] = true
		if w.r.IntN(3) == 0 {
			continue // the server's stays
		}
		if op == "delete" {
			delete(w.serverC, key)
		} else {
			value, u, _ := strings.Cut(text, "|")
			if w.taken(key, u) {
				u = "NULL" // as a quarantine would
			}
			w.serverC[key] = value + "|" + u
		}
	}
	w.done = append(w.done, b)
}

func (w *upWorld) taken(key, u string) bool {
	for k, row := range w.serverC {
		if k != key && u != "NULL" && strings.HasSuffix(row, "|"+u) {
			return true
		}
	}
	return false
}

// deliver lets the till read the newest receipt.
func (w *upWorld) deliver() {
	if len(w.done) == 0 {
		if w.latest != nil { // the one that is on the drop, once more
			w.receipt(w.latest.Position(), w.latest.Issue, w.latest.Integrated)
		}
		return
	}
	w.issue++
	before := queryText(w.t, w.pos, "SELECT count(*) FROM MICPTRACK")
	last := w.done[len(w.done)-1]
	forged := receiptOf(last.p, w.issue, w.integrated)
	forged.Digest = applyDigest("forged")
	if _, err := w.Receipt(w.t.Context(), forged); !errors.Is(err, ErrForked) && last.p.Epoch == w.now().Epoch {
		w.t.Errorf("%v", err)
	}
	w.want(before, "SELECT count(*) FROM MICPTRACK")
	p := w.receipt(last.p, w.issue, w.integrated)
	if p.Ignored != "" {
		w.t.Errorf("%+v", p)
	}
	c, err := parseCursor(last.Cursor)
	if err != nil {
		w.t.Fatal(err)
	}
	w.want("0", "SELECT count(*) FROM MICPTRACK WHERE seq <= ?1", c.Seq)
	w.done, w.latest = nil, receiptOf(last.p, w.issue, w.integrated)
}

// send lets a batch come down: what the server changed, or everything.
func (w *upWorld) send() {
	before := w.rowsOf()
	waiting := w.waitingKeys()
	whole := w.r.IntN(4) == 0
	w.import_(func(b *testBatch) {
		b.m.Integrated = w.integrated
		scope := manifest.Changes
		if whole {
			scope = manifest.Whole
		}
		b.table("c", scope, []string{"k"}, cColumns)
		var up, gone [][]any
		for _, k := range slices.Sorted(maps.Keys(w.serverC)) {
			if !whole && !w.dirty[k] {
				continue
			}
			v, u, _ := strings.Cut(w.serverC[k], "|")
			n := 0
			if _, err := fmt.Sscan(v, &n); err != nil {
				w.t.Fatal(err)
			}
			row := []any{k, n, nil}
			if u != "NULL" {
				row[2] = strings.Trim(u, "'")
			}
			up = append(up, row)
		}
		for k := range w.dirty {
			if _, ok := w.serverC[k]; !ok && !whole {
				gone = append(gone, []any{k})
			}
		}
		b.rows("c", change.Upsert, cColumns, up...)
		b.rows("c", change.Delete, cColumns[:1], gone...)
	})
	w.dirty = map[string]bool{}
	after := w.rowsOf()
	for k, own := range waiting {
		if own && before[k] != after[k] {
			w.t.Errorf("%s was %q and is %q: the server has not judged it yet", k, before[k], after[k])
		}
	}
	for _, k := range []string{"k0", "k1", "k2", "k3", "k4", "k5"} {
		if waiting[k] {
			continue // the till's own changes of it are still to be sealed
		}
		if row, ok := after[k]; ok {
			w.sentC[k] = row
		} else {
			delete(w.sentC, k)
		}
	}
	w.want("0", "SELECT count(*) FROM caisseauto_applying")
}

// waitingKeys returns the keys that no batch may write: those in the outbox.
func (w *upWorld) waitingKeys() map[string]bool {
	keys := map[string]bool{}
	err := w.pos.Query(`SELECT k1 FROM MICPTRACK WHERE tab=(SELECT tab FROM caisseauto_table WHERE name='c')
		UNION SELECT json_extract(key, '$[0]') FROM caisseauto_pending WHERE integrated > ?1`, func(s *sqlite3.Stmt) error {
		keys[s.Text(0)] = true
		return nil
	}, w.integrated)
	if err != nil {
		w.t.Fatal(err)
	}
	return keys
}

// epoch begins a new one, when the server has all that was sealed: what is
// sealed again then has other bases, which the model does not follow.
func (w *upWorld) epoch() {
	w.sealOne()
	for len(w.batches) > 0 {
		w.integrate()
	}
	w.deliver()
	if err := w.NewEpoch(w.t.Context(), w.stream, manifest.Position{Epoch: w.now().Epoch, Sequence: w.now().Sequence + 2}, "test"); err != nil {
		w.t.Fatal(err)
	}
}

// quiet checks that both sides are the same, and nothing is left.
func (w *upWorld) quiet() {
	w.want("0,0,0", "SELECT (SELECT count(*) FROM MICPTRACK), (SELECT count(*) FROM caisseauto_pending), (SELECT count(*) FROM caisseauto_held)")
	if got, want := fmt.Sprint(w.rowsOf()), fmt.Sprint(w.serverC); got != want {
		w.t.Errorf("the till has\n%s\nand the server\n%s", got, want)
	}
	var own []string
	err := w.pos.Query("SELECT id, till, v FROM d WHERE till='017'", func(s *sqlite3.Stmt) error {
		own = append(own, fmt.Sprintf(`[%d,"017",%d]`, s.Int(0), s.Int(2)))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if got, want := sorted(slices.Collect(maps.Keys(w.serverD))), sorted(own); !slices.Equal(got, want) {
		w.t.Errorf("the server has the rows\n%q\nof the till's\n%q", got, want)
	}
}
