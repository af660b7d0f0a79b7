//go:build linux

package sqlite

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

const speedSchema = `CREATE TABLE article(id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, barcode TEXT, label TEXT, short TEXT,
  category_id INTEGER, price INTEGER, cost INTEGER, vat TEXT, unit TEXT, stock REAL, weight REAL, active INTEGER, supplier TEXT, updated TEXT, note TEXT);
CREATE INDEX article_barcode ON article(barcode);
CREATE INDEX article_category ON article(category_id, label);`

var speedColumns = strings.Fields("id code barcode label short category_id price cost vat unit stock weight active supplier updated note")

// speedRows makes n articles, every step-th, with prices of a generation.
type speedRows struct {
	from, n, step int
	generation    int
	h             *change.Header
	arena         []byte
}

// mix makes numbers that look random and that every run makes alike.
func mix(i int) uint64 {
	x := uint64(i) * 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

func (s *speedRows) fill(b *change.Block) error {
	if s.from >= s.n {
		return io.EOF
	}
	if s.h == nil {
		s.h = &change.Header{Table: "article", Op: change.Upsert, Columns: speedColumns}
	}
	b.Header, b.Values = s.h, b.Values[:0]
	s.arena = s.arena[:0]
	if cap(s.arena) == 0 {
		s.arena = make([]byte, 0, 1<<20)
	}
	arena := make([]byte, 0, 256<<10)
	text := func(format string, args ...any) change.Value {
		from := len(arena)
		arena = fmt.Appendf(arena, format, args...)
		return change.Value{Kind: change.Text, Bytes: arena[from:len(arena):len(arena)]}
	}
	num := func(n int) change.Value { return change.Value{Kind: change.Integer, Int: int64(n)} }
	for r := 0; r < change.BlockRows && s.from < s.n; r++ {
		i := s.from
		s.from += s.step
		x := mix(i)
		b.Values = append(b.Values, num(i), text("ART%08d", i*48271%99999989), text("%013d", 3000000000000+x%9999999999),
			text("Article number %d of the catalogue", i), text("Art. %d", i), num(int(x%500)), num(int(x%100000)+s.generation),
			num(int(x%90000)), text("N"), text("piece"), change.Value{Kind: change.Real, Real: float64(x%1000) / 10},
			change.Value{Kind: change.Real, Real: float64(x%77) / 3}, num(1), text("SUP%04d", x%3000), text("2026-01-%02dT10:00:00Z", 1+s.generation%28), change.Value{})
	}
	return nil
}

func speedBatch(p manifest.Position, n, step, generation int, scope manifest.Scope) (*testBatch, *speedRows) {
	b := newBatch(p)
	b.table("article", scope, []string{"id"}, speedColumns)
	count := (n + step - 1) / step
	b.m.Members = append(b.m.Members, manifest.Member{Table: "article", Rows: int64(count), Size: int64(count) * 190})
	return b, &speedRows{n: n, step: step, generation: generation}
}

// rss returns the peak of resident memory since the call before, and of what
// it is made now.
func rss() string {
	status, _ := os.ReadFile("/proc/self/status")
	text := ""
	for _, name := range []string{"VmHWM:", "RssAnon:", "RssFile:"} {
		_, rest, _ := strings.Cut(string(status), name)
		line, _, _ := strings.Cut(rest, "\n")
		text += name + strings.TrimSpace(line) + " "
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	return fmt.Sprintf("%s go %d MiB", text, (m.Sys-m.HeapReleased)>>20)
}

// cpu returns the processor time that the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestSpeed measures, on CAISSEAUTO_SPEED rows: it asserts nothing, since a
// machine that is busy is no defect.
func TestSpeed(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("CAISSEAUTO_SPEED"))
	if err != nil {
		t.Skip("set CAISSEAUTO_SPEED=1000000 to measure")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "till.db")
	c := openPlain(t, path)
	if err := c.Exec("PRAGMA journal_mode=WAL;" + speedSchema); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if f := os.Getenv("CAISSEAUTO_PROFILE"); f != "" {
		out, err := os.Create(f)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := pprof.StartCPUProfile(out); err != nil {
			t.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	cache, _ := strconv.Atoi(os.Getenv("CAISSEAUTO_CACHE"))
	till := openTill(t, path, TillOptions{StageDir: dir, CacheKiB: cache})
	if os.Getenv("CAISSEAUTO_PLACES") != "" {
		till.hook = func(place string) { t.Log(place, rss()) }
	}
	var p manifest.Position
	left, limited := strconv.Atoi(os.Getenv("CAISSEAUTO_PHASES"))
	run := func(what string, n, step, generation int, scope manifest.Scope) {
		if left--; limited == nil && left < 0 {
			return
		}
		b, rows := speedBatch(p, n, step, generation, scope)
		pipe := change.NewPipe(t.Context(), 8, rows.fill)
		defer pipe.Close()
		rss()
		start, used := time.Now(), cpu()
		got, err := till.Apply(t.Context(), b.m, b.p, pipe)
		took := time.Since(start)
		used = cpu() - used
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		t.Logf("%-28s %8d rows %8.3f s cpu %7.3f s %9.0f rows/s  locked %8.1f ms  +%d ~%d -%d  %s", what, got.Rows, took.Seconds(), used.Seconds(),
			float64(got.Rows)/took.Seconds(), float64(got.Locked.Microseconds())/1000, got.Inserted, got.Updated, got.Deleted, rss())
		p = b.p
	}
	run("first load", n, 1, 0, manifest.Whole)
	run("price of every row", n, 1, 1, manifest.Changes)
	run("baseline, nothing changed", n, 1, 1, manifest.Whole)
	run("10,000 prices, spread", n, max(1, n/10000), 2, manifest.Changes)
	run("1,000 prices, spread", n, max(1, n/1000), 3, manifest.Changes)
	run("baseline, half the rows", n, 2, 1, manifest.Whole)
	if bin, err := exec.LookPath("sqlite3"); err == nil && limited != nil {
		importCSV(t, bin, dir, n)
	}
}

// importCSV measures the command line tool on the same rows.
func importCSV(t *testing.T, bin, dir string, n int) {
	csv, db := filepath.Join(dir, "a.csv"), filepath.Join(dir, "cli.db")
	f, err := os.Create(csv)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	rows := &speedRows{n: n, step: 1}
	for b := new(change.Block); rows.fill(b) == nil; {
		for i := range b.Rows() {
			for j, v := range b.Row(i) {
				if j > 0 {
					out.WriteByte(',')
				}
				switch v.Kind {
				case change.Text:
					out.Write(v.Bytes)
				case change.Null:
				default:
					out.WriteString(database.ShowValue(v))
				}
			}
			out.WriteByte('\n')
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	start := time.Now()
	cmd := exec.Command(bin, db, "PRAGMA journal_mode=WAL", "PRAGMA cache_size=-65536", speedSchema, ".mode csv", ".import "+csv+" article")
	if o, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, o)
	}
	took := time.Since(start)
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.Logf("%-28s %8d rows %8.3f s cpu %7.3f s %9.0f rows/s", "sqlite3 .import", n, took.Seconds(), used.Seconds(), float64(n)/took.Seconds())
}

var _ = sqlite3.Create
