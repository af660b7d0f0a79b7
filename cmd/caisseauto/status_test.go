package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestShopStatus: from a copy of the drop with public keys alone, without any
// configuration or database.
func TestShopStatus(t *testing.T) {
	s := newShop(t)
	s.soldTwice()
	s.must("002", "sync")
	s.edit("002", "HEAD.json", `"alarms": []`, `"alarms": []`+strings.TrimSuffix(strings.Replace(software, "the probe", "\u202ethe probe", 1), "\n}\n"))
	s.shelve()
	copied := filepath.Join(t.TempDir(), "stick")
	check(s, os.CopyFS(copied, os.DirFS(s.path("drop"))))
	page, figures := s.path("status.html"), s.path("caisseauto.prom")
	args := []string{"status", "--drop", copied, "--signers", s.path("server/allowed_signers")}
	code, out, errs := s.run(append(args, "--html", page, "--prometheus", figures)...)
	if code != 0 || !strings.Contains(out, "dossier ACME") || errs != "" {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	// A package that was rolled back is told, and is no alarm; 1.2 has come since.
	for _, want := range []string{"LOOK   till 002 of ACME: hello 1.1 (2) was rolled back at 2026-03-01T06:20:00Z: \\u202ethe probe ended with 1\n", "base 4 (4); hello 1.1 (2), 3 is on the drop\n",
		"dossier ACME: the packages stand at batch 3, head of "} {
		if !strings.Contains(out, want) {
			t.Errorf("%s lacks %q", out, want)
		}
	}
	for _, want := range []string{`caisseauto_till_package_next_release{dossier="ACME",till="002",product="hello",version="1.3"} 3`, `caisseauto_till_sealed_sequence{dossier="ACME",till="001"} 3`, `caisseauto_till_integrated_sequence{dossier="ACME",till="001"} 1`} {
		if !bytes.Contains(s.read(figures), []byte(want+"\n")) {
			t.Errorf("the figures lack %s", want)
		}
	}
	if !bytes.Contains(s.read(page), []byte("<h1>")) {
		t.Error("no page")
	}
	var list []struct {
		Dossier string
		Tills   []struct {
			Till               string
			State              string
			Sealed, Integrated int64
			Waiting            int64
			Packages           []struct {
				Product, Version string
				Release          int64
				Next             *struct{ Release int64 }
			}
			Updates []struct{ Outcome string }
		}
	}
	code, out, _ = s.run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
		t.Fatal(code, err)
	}
	if x := list[0].Tills[0]; x.Till != "001" || x.Sealed != 3 || x.Integrated != 1 || x.Waiting == 0 {
		t.Errorf("%+v", x)
	}
	if x, none := list[0].Tills[1], list[0].Tills[0]; none.Packages != nil || len(x.Packages) != 2 || x.Packages[1].Next == nil || x.Packages[1].Next.Release != 3 || len(x.Updates) != 1 {
		t.Errorf("%+v", list[0].Tills)
	}
	// One till's trouble hides no other, and is an alarm.
	flipped := filepath.Join(copied, "ACME/up/001/HEAD.json")
	b := s.read(flipped)
	b[50] ^= 1
	s.write(flipped, b)
	code, out, errs = s.run(args...)
	if code != exitOperator || !strings.Contains(out, "ALARM  till 001 of ACME: ACME/up/001/HEAD.json: refused (rule S5)") || !strings.Contains(out, "\n002 ") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"--watch needs a terminal", append(args, "--watch")},
		{"one second or more", append(args, "--watch", "--every", "1ms")},
		{"go together", append(args, "--acknowledge", "3")},
		{"holds no dossier", []string{"status", "--drop", t.TempDir(), "--signers", s.path("server/allowed_signers")}},
		{"whose signatures count", []string{"status", "--drop", copied}},
	} {
		if code, _, errs := s.run(c.args...); code != exitUsage || !strings.Contains(errs, c.says) {
			t.Errorf("%v: exit code %d: %s", c.args, code, errs)
		}
	}
}
