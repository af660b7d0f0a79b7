package inspect_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"caisseauto/internal/inspect"
	"caisseauto/manifest"
)

// The memory of a process can only be told of a process that does nothing
// else: this test runs itself, over a drop of rows of 8 MiB, each in an archive
// of its own, one archive of 200 MiB, and manifests near their limit.
const memoryEnv = "INSPECT_TEST_MEMORY"

func TestInspectMemory(t *testing.T) {
	if folder := os.Getenv(memoryEnv); folder != "" {
		memoryChild(t, folder)
		return
	}
	if raceEnabled || testing.Short() {
		t.Skip("the race detector takes memory of its own; writes 300 MB of rows")
	}
	w := newWriter(t)
	w.upsert(`["a",1]`)
	for range 8 {
		w.seal([]manifest.Table{odd}, nil, upsertOdd+`["ACME",1,"`+strings.Repeat("x", 8<<20-30)+`"]`+"\n")
	}
	var many strings.Builder
	for n := range 250_000 {
		fmt.Fprintf(&many, `["ACME",%d,"some text here"]`+"\n", n+2)
	}
	body := upsertOdd + many.String()
	var bodies []string
	for range 25 {
		bodies = append(bodies, body)
	}
	w.seal([]manifest.Table{odd}, nil, bodies...)
	for range 4 { // 9,999 members, a manifest of 2.3 MiB
		small := make([]string, 9_999)
		for n := range small {
			small[n] = upsertOdd
		}
		w.seal([]manifest.Table{odd}, nil, small...)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestInspectMemory$", "-test.v")
	cmd.Env = append(os.Environ(), memoryEnv+"="+w.drop)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "33 hits, 14 batches") {
		t.Fatalf("%v\n%s", err, out)
	}
	// Not the Maxrss of the child: it begins with that of the process which
	// has started it.
	var most int64
	_, after, _ := strings.Cut(string(out), "VmHWM:")
	if _, err := fmt.Sscan(after, &most); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	most >>= 10
	t.Logf("%d MiB", most)
	if most > 100 {
		t.Errorf("the search takes %d MiB, at most 100 MiB is right", most)
	}
}

func memoryChild(t *testing.T, folder string) {
	in := nobody()
	defer inspect.LimitMemory()()
	in.Workers = 8
	found, err := in.Find(context.Background(), places(t, folder), "odd", key(t, "ACME,1"), func(h inspect.Hit) error { _ = h.Row.AppendText(nil); return nil })
	fatal(t, err)
	more, err := in.Find(context.Background(), places(t, folder), "odd", key(t, "code=2"), func(inspect.Hit) error { return nil })
	fatal(t, err)
	fmt.Printf("%d hits, %d batches, %v\n", found.Hits+more.Hits, found.Batches, found.Unsearched)
	status, err := os.ReadFile("/proc/self/status")
	fatal(t, err)
	fmt.Printf("%s", status)
}
