package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/keys"
)

// BenchmarkPoll measures one collect over many tills that have nothing new, on
// a local drop: 20 tills, or CAISSEAUTO_BENCH_TILLS (scripts/bench-tickets).
func BenchmarkPoll(b *testing.B) {
	tills := 20
	if n, err := strconv.Atoi(os.Getenv("CAISSEAUTO_BENCH_TILLS")); err == nil {
		tills = n
	}
	src, err := shopTemplate()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
		b.Fatal(err)
	}
	command := func(args ...string) {
		var out bytes.Buffer
		if code := run(b.Context(), args, nil, &out, &out); code != 0 {
			b.Fatalf("%v: exit code %d: %s", args, code, out.String())
		}
	}
	signers, err := os.OpenFile(dir+"/server/allowed_signers", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.Chmod(dir+"/server/keys/server", 0o600); err != nil {
		b.Fatal(err)
	}
	for i := range tills {
		number := fmt.Sprintf("%04d", i+1000)
		till := dir + "/till-" + number
		if err := os.CopyFS(till, os.DirFS(dir+"/till-001")); err != nil {
			b.Fatal(err)
		}
		if err := os.RemoveAll(till + "/keys"); err != nil {
			b.Fatal(err)
		}
		pub, err := keys.Generate(mustDir(till, "keys")+"/till", number)
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintln(signers, keys.AllowedLine([]string{"till-" + number + "@acme"}, tillNamespaces, pub, ""))
		if err := os.WriteFile(till+"/till.toml", fmt.Appendf(nil, shopTill, number), 0o644); err != nil {
			b.Fatal(err)
		}
		sql := "UPDATE caisseauto_till SET incarnation = lower(hex(randomblob(16)))"
		if err := execFile(till+"/till.db", sqlite3.ReadWrite, sql); err != nil {
			b.Fatal(err)
		}
		command("sync", "--config", till+"/till.toml") // its triggers are renewed
		if err := execFile(till+"/till.db", sqlite3.ReadWrite, sale(number, 1)); err != nil {
			b.Fatal(err)
		}
		command("sync", "--config", till+"/till.toml")
	}
	if err := signers.Close(); err != nil {
		b.Fatal(err)
	}
	collect := []string{"collect", "--config", dir + "/server/server.toml"}
	command(collect...)
	var out bytes.Buffer
	if run(b.Context(), collect, nil, &out, &out); !strings.Contains(out.String(), fmt.Sprintf("nothing new from %d tills", tills)) {
		b.Fatalf("not quiet: %s", out.String())
	}
	for b.Loop() {
		command(collect...)
	}
}
