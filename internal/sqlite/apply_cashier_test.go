//go:build linux

package sqlite

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
	"caisseauto/testdata/schema"
)

const (
	cashierEnv   = "CAISSEAUTO_CASHIER_DB"
	cashierEvery = 10 * time.Millisecond
	cashierSQL   = `CREATE TABLE ticket(id INTEGER PRIMARY KEY, at TEXT NOT NULL, total INTEGER NOT NULL);
		CREATE TABLE ticket_line(ticket INTEGER NOT NULL REFERENCES ticket(id), line INTEGER NOT NULL, article INTEGER, price INTEGER, PRIMARY KEY(ticket, line)) WITHOUT ROWID;`
)

// A cashierReport is what the cashier's process says when it ends: how long
// each ticket took to write, in microseconds.
type cashierReport struct {
	Waits []int64
	Error string
}

// TestCashierProcess is no test but the cashier: another process, with a
// connection of its own, that writes a ticket of three rows every 10 ms, one
// transaction each, until its input ends.
func TestCashierProcess(t *testing.T) {
	path := os.Getenv(cashierEnv)
	if path == "" {
		t.Skip("the child of the cashier's tests")
	}
	var r cashierReport
	if err := sell(path, &r.Waits); err != nil {
		r.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		t.Fatal(err)
	}
}

func sell(path string, waits *[]int64) error {
	c, err := sqlite3.Open(path, sqlite3.ReadWrite)
	if err != nil {
		return err
	}
	defer c.Close()
	c.BusyTimeout(5 * time.Second) // SQLite's own busy handler
	if err := c.Exec("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON"); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(done) }()
	tick := time.NewTicker(cashierEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-tick.C:
		}
		start := time.Now()
		err := c.Exec(`BEGIN IMMEDIATE; INSERT INTO ticket(at, total) VALUES(datetime(), 300);
			INSERT INTO ticket_line VALUES(last_insert_rowid(), 1, 1, 100), (last_insert_rowid(), 2, 2, 200); COMMIT`)
		if err != nil {
			return err
		}
		*waits = append(*waits, time.Since(start).Microseconds())
		if len(*waits) == 1 {
			fmt.Println("selling")
		}
	}
}

// A cashier is the parent's end of that process.
type cashier struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// startCashier starts one and returns when it has written its first ticket.
func startCashier(t testing.TB, path string) *cashier {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &cashier{t: t, cmd: exec.Command(exe, "-test.run=^TestCashierProcess$")}
	c.cmd.Env = append(os.Environ(), cashierEnv+"="+path)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := c.out.ReadString('\n'); line != "selling\n" {
		_ = c.cmd.Process.Kill()
		t.Fatalf("the cashier said %q, %v", line, err)
	}
	return c
}

// stop ends the cashier and returns its waits.
func (c *cashier) stop() []time.Duration {
	c.t.Helper()
	c.in.Close()
	text, err := c.out.ReadString('\n')
	var r cashierReport
	if err == nil {
		err = json.Unmarshal([]byte(text), &r)
	}
	if err != nil || r.Error != "" {
		c.t.Errorf("the cashier: %v %s", err, r.Error)
	}
	_, _ = io.Copy(io.Discard, c.out)
	if err := c.cmd.Wait(); err != nil {
		c.t.Error(err)
	}
	waits := make([]time.Duration, len(r.Waits))
	for i, us := range r.Waits {
		waits[i] = time.Duration(us) * time.Microsecond
	}
	return waits
}

// cashierColumns are the columns of the bench's table.
var cashierColumns = strings.Fields("id code barcode label short_label category_id supplier_id vat price cost weight unit stock active note updated_at")

// cashierRow appends article i as it is at a generation.
func cashierRow(dst []change.Value, i, generation int) []change.Value {
	text := func(format string, args ...any) change.Value {
		return change.Value{Kind: change.Text, Bytes: fmt.Appendf(nil, format, args...)}
	}
	num := func(n int) change.Value { return change.Value{Kind: change.Integer, Int: int64(n)} }
	x := mix(i)
	return append(dst, num(i), text("ART%010d", i*48271%99999989), text("37%011d", mix(i+1e9)%1e11), text("Pâte à tartiner noisettes n° %d", i), text("Pâte %d", i%5000),
		num(int(x%400)), num(i%90), text("N"), num(99+i%20000+generation), num(50+i%9000),
		change.Value{Kind: change.Real, Real: float64(i*37%10000) / 1000}, text("U"), num(i%500), num(1), change.Value{}, text("2026-%02d-%02dT10:00:00Z", 1+i%12, 1+generation%28))
}

// A cashierCase is one batch: count articles of every step-th number.
type cashierCase struct {
	name  string
	scope manifest.Scope
	rows  func(n, step, generation int, emit func(op change.Op, row []change.Value) error) error
}

var cashierCases = []cashierCase{
	{"prices, as patches", manifest.Changes, func(n, step, g int, emit func(change.Op, []change.Value) error) error {
		for i := step; i <= n; i += step {
			row := cashierRow(nil, i, g)
			if err := emit(change.Patch, []change.Value{row[0], row[8]}); err != nil {
				return err
			}
		}
		return nil
	}},
	{"prices, as whole rows", manifest.Changes, func(n, step, g int, emit func(change.Op, []change.Value) error) error {
		for i := step; i <= n; i += step {
			if err := emit(change.Upsert, cashierRow(nil, i, g)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"prices of neighbours, whole rows", manifest.Changes, func(n, step, g int, emit func(change.Op, []change.Value) error) error {
		for i := n / 2; i < n/2+n/step; i++ {
			if err := emit(change.Upsert, cashierRow(nil, i, g)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"new, changed, deleted", manifest.Changes, func(n, step, g int, emit func(change.Op, []change.Value) error) error {
		for i := 3 * step; i <= n; i += 3 * step {
			if err := emit(change.Upsert, cashierRow(nil, i, g)); err != nil {
				return err
			}
		}
		for i := 3 * step; i <= n; i += 3 * step {
			if err := emit(change.Upsert, cashierRow(nil, n*(1+g)+i, g)); err != nil {
				return err
			}
		}
		for i := 3 * step; i <= n; i += 3 * step {
			if err := emit(change.Delete, cashierRow(nil, i-g, g)[:1]); err != nil {
				return err
			}
		}
		return nil
	}},
	{"baseline, prices differ", manifest.Whole, func(n, step, g int, emit func(change.Op, []change.Value) error) error {
		for i := 1; i <= n; i++ {
			gen := 0
			if i%step == 0 {
				gen = g
			}
			if err := emit(change.Upsert, cashierRow(nil, i, gen)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"baseline, mixed", manifest.Whole, func(n, step, g int, emit func(change.Op, []change.Value) error) error {
		// A third each of the differences from the generation before is a
		// changed price, a missing row and a new one.
		for i := 1; i <= n; i++ {
			at, gen := i%(3*step), 0
			if at == 0 {
				gen = g
			} else if at <= g {
				continue
			}
			if err := emit(change.Upsert, cashierRow(nil, i, gen)); err != nil {
				return err
			}
		}
		for new := 1; new <= g; new++ {
			for i := 3 * step; i <= n; i += 3 * step {
				if err := emit(change.Upsert, cashierRow(nil, n*(1+new)+i, new)); err != nil {
					return err
				}
			}
		}
		return nil
	}},
}

// batch makes the case's manifest and the reader of its rows.
func (k *cashierCase) batch(t testing.TB, p manifest.Position, n, step, generation int) (*testBatch, *change.Pipe) {
	t.Helper()
	b := newBatch(p)
	b.table("article", k.scope, []string{"id"}, cashierColumns)
	if k.scope == manifest.Whole {
		b.m.Kind = manifest.Baseline
	}
	total := 0
	_ = k.rows(n, step, generation, func(change.Op, []change.Value) error { total++; return nil })
	b.m.Members = append(b.m.Members, manifest.Member{Table: "article", Rows: int64(total), Size: int64(total) * 200})
	blocks := make(chan *change.Block, 4)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		defer close(blocks)
		var blk *change.Block
		headers := map[change.Op]*change.Header{}
		send := func() error {
			if blk == nil {
				return nil
			}
			select {
			case blocks <- blk:
				blk = nil
				return nil
			case <-stop:
				return io.EOF
			}
		}
		_ = k.rows(n, step, generation, func(op change.Op, row []change.Value) error {
			h := headers[op]
			if h == nil {
				h = &change.Header{Table: "article", Op: op, Columns: cashierColumns}
				switch op {
				case change.Patch:
					h.Columns = []string{"id", "price"}
				case change.Delete:
					h.Columns = []string{"id"}
				}
				headers[op] = h
			}
			if blk != nil && (blk.Header != h || blk.Rows() >= change.BlockRows) {
				if err := send(); err != nil {
					return err
				}
			}
			if blk == nil {
				blk = &change.Block{Header: h}
			}
			blk.Values = append(blk.Values, row...)
			return nil
		})
		_ = send()
	}()
	pipe := change.NewPipe(t.Context(), 8, func(b *change.Block) error {
		blk, ok := <-blocks
		if !ok {
			return io.EOF
		}
		b.Header, b.Values = blk.Header, append(b.Values[:0], blk.Values...)
		return nil
	})
	return b, pipe
}

// cashierDatabase makes a till of n articles, or copies the one that was made
// before.
func cashierDatabase(t testing.TB, n int) string {
	t.Helper()
	dir := os.Getenv("CAISSEAUTO_CASHIER_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	template, made := filepath.Join(dir, fmt.Sprintf("till-%d.db", n)), filepath.Join(dir, fmt.Sprintf("till-%d.made", n))
	if _, err := os.Stat(made); err == nil {
		return template
	}
	c := openPlain(t, template)
	err := c.Exec("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536; BEGIN;" + schema.Bench + cashierSQL)
	if err != nil {
		t.Fatal(err)
	}
	ins, err := c.Prepare("INSERT INTO article VALUES(" + strings.Repeat("?,", len(cashierColumns)-1) + "?)")
	if err != nil {
		t.Fatal(err)
	}
	var row []change.Value
	for i := 1; i <= n; i++ {
		row = cashierRow(row[:0], i, 0)
		if err := ins.BindRow(row); err != nil {
			t.Fatal(err)
		}
		if _, err := ins.Step(); err != nil {
			t.Fatal(err)
		}
	}
	ins.Close()
	if err := c.Exec("COMMIT; PRAGMA journal_mode=WAL"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := os.WriteFile(made, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return template
}

func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// TestCashier measures how long a cashier waits while 20,000 rows come in. It
// asserts nothing but that both sides' rows are there: a machine that is busy
// is no defect.
func TestCashier(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("CAISSEAUTO_CASHIER"))
	if err != nil {
		t.Skip("set CAISSEAUTO_CASHIER=1000000 to measure")
	}
	rounds, _ := strconv.Atoi(os.Getenv("CAISSEAUTO_CASHIER_ROUNDS"))
	rounds = max(rounds, 1)
	step := max(1, n/20000)
	only := os.Getenv("CAISSEAUTO_CASHIER_ONLY")
	template := cashierDatabase(t, n)
	path := filepath.Join(t.TempDir(), "till.db")
	for _, k := range cashierCases {
		if only != "" && !strings.Contains(k.name, only) {
			continue
		}
		if out, err := exec.Command("cp", template, path).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		_ = os.Remove(path + "-wal")
		_ = os.Remove(path + "-shm")
		// The copy's own pages are not to be on their way to the disk while
		// the ticket's are waited for.
		_ = exec.Command("sync").Run()
		till := openTill(t, path, TillOptions{})
		var p manifest.Position
		var held, waits, worst []time.Duration
		rows := int64(0)
		for g := 1; g <= rounds; g++ {
			pos := startCashier(t, path)
			b, pipe := k.batch(t, p, n, step, g)
			got, err := till.Apply(t.Context(), b.m, b.p, pipe)
			pipe.Close()
			time.Sleep(100 * time.Millisecond)
			list := pos.stop()
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			p, rows = b.p, got.Inserted+got.Updated+got.Deleted
			held, waits, worst = append(held, got.Locked), append(waits, list...), append(worst, slices.Max(list))
			t.Logf("%s +%d ~%d -%d locked %v max wait %v", k.name, got.Inserted, got.Updated, got.Deleted, got.Locked, slices.Max(list))
		}
		t.Logf("cashier\t%s\t%d\t%.0f\t%.0f\t%d\t%.1f\t%.1f\t%.0f\t%.0f", k.name, rows, ms(quantile(held, 0.5)), ms(slices.Min(held)), len(waits),
			ms(quantile(waits, 0.5)), ms(quantile(waits, 0.99)), ms(quantile(worst, 0.5)), ms(slices.Max(worst)))
		till.Close()
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
