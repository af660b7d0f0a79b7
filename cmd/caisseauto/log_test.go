package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
)

// TestShopLog: with --log json every line of stderr is an object, each batch is
// an event with its stream, number and duration, and neither a key nor what a
// customer is called is in any of them, not even with --verbose.
func TestShopLog(t *testing.T) {
	s := newShop(t)
	const secret = "Madame Secrète"
	var log strings.Builder
	on := func(side, command string, args ...string) {
		t.Helper()
		code, _, errs := s.on(side, command, append(args, "--log", "json", "--verbose")...)
		if code != 0 {
			t.Fatalf("%s on %s: exit code %d: %s", command, side, code, errs)
		}
		log.WriteString(errs)
	}
	s.sql("server/erp.db", "UPDATE client SET nom='"+secret+"'")
	on("server", "export")
	on("001", "import")
	s.sell("001", 1, 3)
	s.sql("till-001/till.db", "UPDATE client SET nom='"+secret+" Deux'")
	on("001", "sync")
	on("server", "collect")
	on("001", "sync")
	code, _, errs := s.run("verify", "--log", "json", "--signers", s.path("server/allowed_signers"), s.path("drop"))
	if code != 0 {
		t.Fatal(errs)
	}
	log.WriteString(errs)

	events := map[string]int{}
	for line := range strings.Lines(log.String()) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		what, _ := e["msg"].(string)
		events[what]++
		switch what {
		case "sealed", "applied", "integrated", "verified", "mirrored":
			stream, _ := e["stream"].(string)
			sequence, _ := e["sequence"].(float64)
			if _, timed := e["duration"].(float64); !timed || !strings.HasPrefix(stream, "ACME/") || sequence < 1 && e["level"] == "INFO" {
				t.Errorf("an event without stream, sequence or duration: %s", line)
			}
		}
	}
	for _, what := range []string{"sealed", "applied", "integrated", "verified", "mirrored"} {
		if events[what] == 0 {
			t.Errorf("no event %q: %v", what, events)
		}
	}
	block, _ := pem.Decode(s.read(s.path("till-001/keys/till")))
	for _, word := range []string{"Secr", "PRIVATE KEY", base64.StdEncoding.EncodeToString(block.Bytes)[200:230]} {
		if strings.Contains(log.String(), word) {
			t.Errorf("the log holds %q", word)
		}
	}
}

// TestLogQuiet: without --log a run that has nothing wrong to tell is quiet,
// and --log text is for people.
func TestLogQuiet(t *testing.T) {
	w := newWorld(t)
	if code, _, errs := w.importNow(); code != 0 || errs != "" {
		t.Errorf("exit code %d, and on stderr: %s", code, errs)
	}
	w.sql("server/erp.db", "UPDATE article SET price=price+1")
	if _, _, errs := w.exportNow("--log", "text"); !strings.Contains(errs, "msg=sealed stream=ACME/down sequence=5 duration=") {
		t.Errorf("stderr: %s", errs)
	}
	if code, _, errs := w.exportNow("--log", "xml"); code != exitUsage || !strings.Contains(errs, "text or json") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
