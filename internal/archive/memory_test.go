package archive

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// The memory of a process can only be told of a process that does nothing
// else, so this test runs itself twice: to write 200 MB of rows and to read
// them.
const memoryEnv = "ARCHIVE_TEST_MEMORY"

func TestMemory(t *testing.T) {
	if mode := os.Getenv(memoryEnv); mode != "" {
		memoryChild(t, mode)
		return
	}
	if testing.Short() {
		t.Skip("writes and reads 200 MB")
	}
	path := filepath.Join(t.TempDir(), "a.tar.zst")
	for _, tc := range []struct {
		mode  string
		limit int64
	}{
		{"write", 40 << 20},
		{"read", 24 << 20},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMemory$", "-test.v")
		cmd.Env = append(os.Environ(), memoryEnv+"="+tc.mode+":"+path)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, after, _ := strings.Cut(string(out), "grown by ")
		number, _, _ := strings.Cut(after, "\n")
		grown, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s: %.1f MiB", tc.mode, float64(grown)/(1<<20))
		if grown > tc.limit {
			t.Errorf("%s takes %.1f MiB, at most %d MiB is right", tc.mode, float64(grown)/(1<<20), tc.limit>>20)
		}
	}
}

func memoryChild(t *testing.T, mode string) {
	mode, path, _ := strings.Cut(mode, ":")
	var grown int64
	if mode == "write" {
		grown = memoryWrite(t, path)
	} else {
		grown = memoryRead(t, path)
	}
	fmt.Printf("grown by %d\n", grown)
}

func memoryWrite(t *testing.T, path string) int64 {
	body := rows(8<<20, 1)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := system()
	w, err := NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	var members []Member
	for i := range memoryMembers {
		name := fmt.Sprintf("data/a.%04d", i+1)
		digest, err := w.Add(name, append(w.Buffer(), body...))
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, Member{name, int64(len(body)), digest})
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	grown := system() - before
	list, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".json", list, 0o600); err != nil {
		t.Fatal(err)
	}
	return grown
}

func memoryRead(t *testing.T, path string) int64 {
	list, err := os.ReadFile(path + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var members []Member
	if err := json.Unmarshal(list, &members); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := system()
	r, err := NewReader(f, members, TarSize(members))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		_, body, err := r.Next()
		if err == io.EOF {
			return system() - before
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			t.Fatal(err)
		}
	}
}

// system returns the memory that the runtime has got from the system, which
// never shrinks.
func system() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}
