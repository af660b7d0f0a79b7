package drop_test

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/internal/drop"
)

// names says of paths whether they are valid and whether they are replaced.
var names = []struct {
	path               string
	valid, replaceable bool
}{
	{"ACME/down/0000000001.tar.zst", true, false},
	{"ACME/down/9999999999.manifest.json", true, false},
	{"a_b-c/packages/0000000042.manifest.json.sig", true, false},
	{"ACME/up/017/0000000001.tar.zst", true, false},
	{"ACME/up/017/HEAD.json", true, true},
	{"ACME/down/HEAD.json.sig", true, true},
	{"ACME/receipts/017.json", true, true},
	{"ACME/receipts/017.json.sig", true, true},
	{"ACME/receipts/0000000001.json", true, true}, // a till may have that number
	{"ACME/receipts/HEAD.json", true, true},       // and that one
	{"ACME/trust/0000000001.json", true, false},
	{"ACME/trust/0000000001.json.root-1.sig", true, false},
	{"ACME/trust/tills-0000000007.json", true, false},
	{"ACME/trust/tills-0000000007.json.sig", true, false},
	{"ACME/trust/allowed_signers", true, true},
	{strings.Repeat("A", 32) + "/down/HEAD.json", true, true},

	{"", false, false},
	{"ACME/down/0000000000.tar.zst", false, false},
	{"ACME/trust/0000000000.json", false, false},
	{"ACME/trust/0000000001.json.sig", false, false},
	{"ACME/trust/0000000001.json.root-.sig", false, false},
	{"ACME/trust/0000000001.json.root-1.sig.sig", false, false},
	{"ACME/trust/0000000001.json.server.sig", false, false},
	{"ACME/trust/tills-0000000000.json", false, false},
	{"ACME/trust/tills-1.json", false, false},
	{"ACME/trust/tills-0000000007.json.root-1.sig", false, false},
	{"ACME/trust/allowed_signers.sig", false, false},
	{"ACME/down/allowed_signers", false, false},
	{"ACME/down/tills-0000000007.json", false, false},
	{"ACME/down/000000001.tar.zst", false, false},
	{"ACME/down/00000000001.tar.zst", false, false},
	{"ACME/down/0000000001.tar.zst\n", false, false},
	{"ACME/down/0000000001.tar.zst.part", false, false},
	{"ACME/down/0000000001.tarXzst", false, false},
	{"ACME/down/017.json", false, false},
	{"ACME/down/0000000001.json", false, false},
	{"ACME/down/head.json", false, false},
	{"ACME/receipts/0000000001.tar.zst", false, false},
	{"ACME/receipts/.json", false, false},
	{"ACME/trust/HEAD.json", false, false},
	{"ACME/trust/0000000001.tar.zst", false, false},
	{"ACME/up/0000000001.tar.zst", false, false},
	{"ACME/up/017", false, false},
	{"ACME/up/017/x/HEAD.json", false, false},
	{"ACME/DOWN/HEAD.json", false, false},
	{"ACME//down/HEAD.json", false, false},
	{"/ACME/down/HEAD.json", false, false},
	{"ACME/down/HEAD.json/", false, false},
	{"ACME/down/../down/HEAD.json", false, false},
	{`ACME\down\HEAD.json`, false, false},
	{"../down/HEAD.json", false, false},
	{"A.B/down/HEAD.json", false, false},
	{"Société/down/HEAD.json", false, false},
	{strings.Repeat("A", 33) + "/down/HEAD.json", false, false},
}

func TestNames(t *testing.T) {
	for _, n := range names {
		if got := drop.ValidPath(n.path); got != n.valid {
			t.Errorf("ValidPath(%q) = %v", n.path, got)
		}
		if got := drop.Replaceable(n.path); got != n.replaceable {
			t.Errorf("Replaceable(%q) = %v", n.path, got)
		}
		if err := drop.CheckPut(n.path); (err == nil) != (n.valid && !n.replaceable) || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("CheckPut(%q) = %v", n.path, err)
		}
		if err := drop.CheckReplace(n.path, nil); (err == nil) != n.replaceable || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("CheckReplace(%q) = %v", n.path, err)
		}
	}
}

func TestCheckReplaceLimits(t *testing.T) {
	for name, most := range map[string]int{
		"ACME/down/HEAD.json":         drop.MaxHead,
		"ACME/down/HEAD.json.sig":     drop.MaxSignature,
		"ACME/receipts/017.json":      drop.MaxReceipt,
		"ACME/receipts/017.json.sig":  drop.MaxSignature,
		"ACME/receipts/HEAD.json":     drop.MaxReceipt,
		"ACME/receipts/HEAD.json.sig": drop.MaxSignature,
	} {
		if err := drop.CheckReplace(name, make([]byte, most)); err != nil {
			t.Error(err)
		}
		if err := drop.CheckReplace(name, make([]byte, most+1)); !errors.Is(err, drop.ErrTooLarge) {
			t.Errorf("%s with %d bytes: %v", name, most+1, err)
		}
	}
}

func TestSequence(t *testing.T) {
	for base, want := range map[string]int64{
		"0000000001.tar.zst": 1, "0000000042.manifest.json": 42, "9999999999.manifest.json.sig": 9999999999,
		"HEAD.json": 0, "0000000000.tar.zst": 0, "x": 0, "": 0, "0000000001.json": 0,
	} {
		if n, ok := drop.Sequence(base); n != want || ok != (want > 0) {
			t.Errorf("Sequence(%q) = %d, %v", base, n, ok)
		}
	}
}

// FuzzValidPath: what is valid stays inside, on every system, and says the
// same everywhere.
func FuzzValidPath(f *testing.F) {
	for _, n := range names {
		f.Add(n.path)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !drop.ValidPath(name) {
			if drop.Replaceable(name) {
				t.Errorf("%q is replaceable and not valid", name)
			}
			return
		}
		if path.Clean(name) != name || !filepath.IsLocal(name) || strings.ContainsAny(name, "\\: \x00") || len(name) > 120 {
			t.Errorf("%q is valid", name)
		}
		if !drop.ValidDir(path.Dir(name)) {
			t.Errorf("%q is valid in no valid folder", name)
		}
		for _, r := range name {
			if r < ' ' || r > '~' {
				t.Errorf("%q is valid", name)
			}
		}
	})
}
