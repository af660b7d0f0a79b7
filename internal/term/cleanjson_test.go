package term_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode"

	"caisseauto/internal/term"
)

// TestCleanJSON: a terminal shows it as it stands, and a machine reads what it
// read before.
func TestCleanJSON(t *testing.T) {
	for _, s := range []string{"", "plain", "é 🍏 \u00a0\u202f", "\x7f", "\u009b31m", "\u202egnp", "\U000e0041\U000e0042", "a\x1bb\n", "end\u2066"} {
		var b bytes.Buffer
		if err := term.JSON(&b, []string{s}); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if !unicode.IsPrint(r) && r != '\n' && r != '\u00a0' && r != '\u202f' {
				t.Errorf("%U stands raw in %s", r, b.String())
			}
		}
		var back []string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || back[0] != s {
			t.Errorf("%q reads back as %q: %v", s, back, err)
		}
	}
	if in := []byte(`{"a":"é"}`); &in[0] != &term.CleanJSON(in)[0] {
		t.Error("what is clean was copied")
	}
	if got := string(term.CleanJSON([]byte("\"\xff\""))); got != `"\ufffd"` {
		t.Errorf("broken UTF-8 became %q", got)
	}
}
