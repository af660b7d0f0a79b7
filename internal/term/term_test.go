package term

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	tab := NewTable("till", "rows", "state")
	tab.Row("Épicerie été", Count(10_000), "up to date")
	tab.Row("002", Count(7), "")
	tab.Row("bad\x1b[2J\nname", "-", "x", "beyond")
	var b bytes.Buffer
	if err := tab.Print(&b); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		`till                rows  state`,
		`Épicerie été      10,000  up to date`,
		`002                    7`,
		`bad\x1b[2J\nname       -  x`,
		``}, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if tab.Len() != 3 {
		t.Error(tab.Len())
	}
}

func TestEmptyTable(t *testing.T) {
	var b bytes.Buffer
	if err := NewTable("a", "b").Print(&b); err != nil || b.String() != "a  b\n" {
		t.Errorf("%q %v", b.String(), err)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                  "",
		"Pâte à tartiner":   "Pâte à tartiner",
		"12\u202f%":         "12\u202f%",
		"a\x00\x1b]0;x\x07": `a\x00\x1b]0;x\a`,
		"exe\u202efdp":      `exe\u202efdp`,
		"\xff\xfeé":         `\xff\xfeé`,
		"\ufffd":            "\ufffd",
		"日本":                "日本",
	} {
		if got := Clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("Pâte\x1b[31m")
	f.Add("\xff\u202e\ufffd\U000e0001")
	f.Fuzz(func(t *testing.T, s string) {
		c := Clean(s)
		if Clean(c) != c || strings.ContainsFunc(c, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0x9b || r == 0x202e }) {
			t.Errorf("%q: %q", s, c)
		}
	})
}

func TestHuman(t *testing.T) {
	for got, want := range map[string]string{
		Count(0):                     "0",
		Count(999):                   "999",
		Count(1000):                  "1,000",
		Count(-1234567):              "-1,234,567",
		Count(int64(math.MinInt64)):  "-9,223,372,036,854,775,808",
		Size(0):                      "0 B",
		Size(1023):                   "1023 B",
		Size(1024):                   "1.00 KiB",
		Size(1536):                   "1.50 KiB",
		Size(1023*1024 + 512):        "1.00 MiB",
		Size(88_100_000):             "84.0 MiB",
		Size(math.MaxInt64):          "8.00 EiB",
		Duration(0):                  "0 µs",
		Duration(1500 * 1000):        "1 ms",
		Duration(999_999_999):        "999 ms",
		Duration(3400 * 1000 * 1000): "3.4 s",
		Duration(59_990_000_000):     "59.9 s",
		Duration(130 * time.Second):  "2m10s",
		Duration(304 * time.Minute):  "5h04m",
		Duration(74 * time.Hour):     "3d02h",
		Duration(-90 * time.Second):  "-1m30s",
		Duration(math.MinInt64)[:1]:  "-",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestReport(t *testing.T) {
	err := fmt.Errorf("importing: %w", errors.Join(
		WithHint(fs.ErrPermission, "run chmod 600 %s", "keys/till"),
		WithHint(errors.New("no\x1bnet"), "try again later")))
	var b bytes.Buffer
	Report(&b, "caisseauto", err)
	want := "caisseauto: importing: permission denied\n  no\\x1bnet\n  hint: run chmod 600 keys/till\n  hint: try again later\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the hint hides the error")
	}
	if WithHint(nil, "x") != nil {
		t.Error("a hint alone is an error")
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, map[string]string{"a": "<é>"}); err != nil || b.String() != "{\n  \"a\": \"<é>\"\n}\n" {
		t.Errorf("%q %v", b.String(), err)
	}
}

// Where nobody looks there is no bar, and a log line only when asked for.
func TestProgressNoTerminal(t *testing.T) {
	var out, log bytes.Buffer
	p := NewProgress(ProgressOptions{Label: "apply", Total: 100, Out: &out, After: 1, LogEvery: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		time.Sleep(2 * time.Millisecond)
		p.Add(10)
	}
	p.Done()
	if out.Len() != 0 {
		t.Errorf("wrote %q", out.String())
	}
	if n := strings.Count(log.String(), "done="); n == 0 || !strings.Contains(log.String(), "of=100") {
		t.Errorf("log %q", log.String())
	}
	silent := NewProgress(ProgressOptions{Out: &out, LogEvery: 1})
	_, _ = silent.Write([]byte("abc"))
	silent.Done()
	var none *Progress
	none.Add(1)
	none.Done()
	if out.Len() != 0 {
		t.Errorf("wrote %q", out.String())
	}
}

// TestProgressLogLine: in a log stands how far it is, how fast, and how long
// it will take.
func TestProgressLogLine(t *testing.T) {
	var log bytes.Buffer
	p := NewProgress(ProgressOptions{Label: "shipping", Total: 1 << 30, Bytes: true, Out: io.Discard, LogEvery: time.Nanosecond,
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	time.Sleep(20 * time.Millisecond)
	p.Add(1 << 20)
	p.Done()
	for _, want := range []string{"msg=shipping", `done="1.00 MiB"`, `of="1.00 GiB"`, "rate=", "MiB/s", "elapsed=", "left="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the line lacks %s: %s", want, &log)
		}
	}
}
