package manifest_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"caisseauto/manifest"
)

// softwareHead returns a good head of a till that installs packages.
func softwareHead() *manifest.Head {
	h := tillHead()
	h.Till.Software = &manifest.Software{
		Packages: []manifest.Installed{
			{Product: "base", Version: "1.0", Release: 2, Sequence: 1},
			{Product: "caisse", Version: "3.2.0", Release: 7, Sequence: 12},
		},
		Updates: []manifest.Update{
			{At: noon, Product: "caisse", Version: "3.2.0", Release: 7, Sequence: 12, Outcome: manifest.WasInstalled, By: "jean, at the terminal"},
			{At: noon, Product: "caisse", Version: "3.3.0", Release: 8, Sequence: 13, Outcome: manifest.WasRolledBack, By: "nobody", Reason: "probe: exit status 1"},
		},
	}
	return h
}

// Heads of a till that say of software what may not be.
var badSoftware = []bad{
	{"updates of no packages", "D3", "  \"packages\": [", "  \"packages\": null,\n  \"packages\": ["},
	{"product in capitals", "H10", "\"base\",\n      \"version\"", "\"Base\",\n      \"version\""},
	{"product twice", "H10", "\"base\",\n      \"version\"", "\"caisse\",\n      \"version\""},
	{"version with an escape sequence", "H10", `"1.0"`, `"1\u001b"`},
	{"release zero", "H10", `"release": 2`, `"release": 0`},
	{"batch zero", "H10", `"sequence": 1` + "\n", `"sequence": 0` + "\n"},
	{"outcome unknown", "H10", `"rolled back"`, `"perhaps"`},
	{"update of no product", "H10", "Z\",\n      \"product\": \"caisse\"", "Z\",\n      \"product\": \"\""},
	{"reason with a line feed", "H10", `probe: exit`, `probe:\nexit`},
	{"reason too long", "H10", `probe: exit`, strings.Repeat("x", manifest.MaxReason)},
	{"who confirmed too long", "H10", `jean, at`, strings.Repeat("x", manifest.MaxBy)},
	{"time with a fraction", "D8", `"at": "2026-03-01T12:00:00Z"`, `"at": "2026-03-01T12:00:00.5Z"`},
}

func TestOpenHeadRefusesSoftware(t *testing.T) {
	w := newWorld(t)
	good := encodeHead(t, softwareHead())
	h, err := w.openHead(t, w.till17, good)
	if err != nil || !reflect.DeepEqual(h, softwareHead()) {
		t.Fatalf("%+v, %v", h, err)
	}
	for _, b := range badSoftware {
		t.Run(b.name, func(t *testing.T) {
			_, err := w.openHead(t, w.till17, replace(t, good, b.from, b.to))
			wantRule(t, err, b.rule, "HEAD.json")
		})
	}
	none := tillHead()
	none.Till.Software = &manifest.Software{}
	if h, err := w.openHead(t, w.till17, encodeHead(t, none)); err != nil || h.Till.Software == nil {
		t.Errorf("a till that has installed nothing yet: %v", err)
	}
	many := softwareHead()
	many.Till.Software.Updates = slices.Repeat(many.Till.Software.Updates, 3)
	_, err = manifest.EncodeHead(many)
	wantRule(t, err, "H10", "head")
	server := head()
	doc := replace(t, encodeHead(t, server), "12:00:00Z\"\n}", "12:00:00Z\",\n  \"packages\": [],\n  \"updates\": []\n}")
	_, err = w.openHead(t, w.server, doc)
	wantRule(t, err, "H7", "HEAD.json")
}

// TestSealCutsSoftware: a till with much to say still has a head, of which the
// newest attempt and the first alarm are a part.
func TestSealCutsSoftware(t *testing.T) {
	w := newWorld(t)
	h := softwareHead()
	s := h.Till.Software
	s.Packages = nil
	for n := range 40 {
		s.Packages = append(s.Packages, manifest.Installed{Product: fmt.Sprintf("%02d%s", n, strings.Repeat("p", 62)), Version: strings.Repeat("v", 64), Release: 1 << 52, Sequence: manifest.MaxSequence})
	}
	last := s.Updates[1]
	last.By, last.Reason = strings.Repeat(`"`, 500), strings.Repeat("\"\n", 500)
	s.Updates = append(slices.Repeat([]manifest.Update{last}, 20), last)
	h.Till.Alarms = append([]string{"the first"}, slices.Repeat([]string{strings.Repeat("\"", 500)}, 30)...)
	doc, sig, err := manifest.SealHead(h, w.till17)
	if err != nil {
		t.Fatal(err)
	}
	got, err := manifest.OpenHead("HEAD.json", doc, sig, w.trust)
	if err != nil || len(doc) > manifest.MaxHead {
		t.Fatalf("%d bytes, %v", len(doc), err)
	}
	if len(got.Till.Software.Packages) != manifest.MaxInstalled || len(got.Till.Software.Updates) == 0 || got.Till.Alarms[0] != "the first" {
		t.Errorf("%+v", got.Till)
	}
	if len(s.Updates) != 21 || len(h.Till.Alarms) != 31 {
		t.Error("SealHead changed its argument")
	}
}
