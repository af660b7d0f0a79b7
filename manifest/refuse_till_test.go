package manifest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// Manifests of a till in the right encoding that say what may not be.
var badTickets = []bad{
	{"till sends a baseline", "M1", `"kind": "delta"`, `"kind": "baseline"`},
	{"till sends a table whole", "M6", `"scope": "changes"`, `"scope": "whole"`},
	{"till names uploads", "M12", `  "totals": [`, "  \"uploads\": [\n    {\n      \"table\": \"t\",\n      \"mode\": \"append\",\n      \"key\": [\n        \"k\"\n      ],\n      \"dossier_column\": \"\",\n      \"till_column\": \"\",\n      \"number_column\": \"\",\n      \"sums\": [],\n      \"exclude\": [],\n      \"parent\": \"\",\n      \"parent_columns\": [],\n      \"columns\": [\n        {\n          \"name\": \"k\",\n          \"type\": \"\"\n        }\n      ]\n    }\n  ],\n  \"totals\": ["},
	{"till names what was integrated", "M12", `  "totals": [`, "  \"integrated\": 1,\n  \"totals\": ["},
	{"till without incarnation", "M12", ",\n  \"incarnation\": \"" + incarnation + `"`, ""},
	{"incarnation in capitals", "M12", "aabbccddeeff", "AABBCCDDEEFF"},
	{"incarnation too long", "M12", "aabbccddeeff", "aabbccddeeff00"},
	{"totals of an unlisted table", "M14", `"table": "article",` + "\n      \"rows\": \"", `"table": "client",` + "\n      \"rows\": \""},
	{"totals twice", "M14", `"table": "Prix <é>",` + "\n      \"rows\": \"", `"table": "article",` + "\n      \"rows\": \""},
	{"totals with a sign", "M14", `"rows": "4"`, `"rows": "+4"`},
	{"totals negative", "M14", `"rows": "4"`, `"rows": "-4"`},
	{"totals with a leading zero", "M14", `"rows": "4"`, `"rows": "04"`},
	{"totals empty", "M14", `"rows": "4"`, `"rows": ""`},
	{"totals as an integer", "D2", `"rows": "4"`, `"rows": 4`},
	{"totals beyond 2^53", "M14", `"rows": "4"`, `"rows": "9007199254740992"`},
	{"sum with an exponent", "M14", `"sum": "1290"`, `"sum": "1.29e3"`},
	{"sum with a plus", "M14", `"sum": "1290"`, `"sum": "+1290"`},
	{"sum with a zero at its end", "M14", `"sum": "-12.5"`, `"sum": "-12.50"`},
	{"sum with a bare point", "M14", `"sum": "1290"`, `"sum": "1290."`},
	{"sum without a first digit", "M14", `"sum": "1290"`, `"sum": ".5"`},
	{"sum of minus zero", "M14", `"sum": "1290"`, `"sum": "-0"`},
	{"sum in words", "M14", `"sum": "1290"`, `"sum": "NaN"`},
	{"sum of a column twice", "M14", `"column": "weight"`, `"column": "price"`},
	{"sum of no column", "M14", `"column": "weight"`, `"column": ""`},
	{"numbers that overlap", "M14", `"1003"`, `"1000"`},
	{"numbers that touch", "M14", `"1003"`, `"1001"`},
	{"numbers in falling order", "M14", `"1003"`, `"0"`},
	{"numbers in a range of one", "M14", `"1003"`, `"1003-1003"`},
	{"numbers in a range that falls", "M14", `"1003"`, `"1004-1003"`},
	{"numbers with a leading zero", "M14", `"1003"`, `"01003"`},
	{"numbers negative", "M14", `"1-1000"`, `"-1-1000"`},
	{"numbers beyond int64", "M14", `"1003"`, `"9223372036854775808"`},
	{"numbers with a blank", "M14", `"1003"`, `"1003 "`},
	{"applied of another dossier", "M15", `"stream": "ACME/down"`, `"stream": "OTHER/down"`},
	{"applied of a stream up", "M15", `"stream": "ACME/down"`, `"stream": "ACME/up/018"`},
	{"applied epoch zero", "D6", "\"stream\": \"ACME/down\",\n    \"epoch\": 1", "\"stream\": \"ACME/down\",\n    \"epoch\": 0"},
	{"applied sequence zero", "D6", `"sequence": 9`, `"sequence": 0`},
	{"applied nothing", "D7", digest("b"), manifest.NoPrevious()},
	{"applied null", "D3", `  "incarnation": `, "  \"applied\": null,\n  \"incarnation\": "},
	{"totals before members", "D3", `  "members": [`, "  \"totals\": [],\n  \"members\": ["},
}

// Manifests of the server that say wrong what tills are to send.
var badTerms = []bad{
	{"integrated negative", "D6", `"integrated": 7`, `"integrated": -7`},
	{"delta that is unchanged", "M16", `  "integrated": 7`, "  \"unchanged\": true,\n  \"integrated\": 7"},
	{"unchanged false", "D3", `  "integrated": 7`, "  \"unchanged\": false,\n  \"integrated\": 7"},
	{"integrated zero", "D3", `"integrated": 7`, `"integrated": 0`},
	{"integrated beyond 2^53", "D6", `"integrated": 7`, `"integrated": 9007199254740992`},
	{"server names an incarnation", "M12", "\n  ]\n}\n", "\n  ],\n  \"incarnation\": \"" + incarnation + "\"\n}\n"},
	{"server names what it applied", "M12", "\n  ]\n}\n", "\n  ],\n  \"applied\": {\n    \"stream\": \"ACME/down\",\n    \"epoch\": 1,\n    \"sequence\": 1,\n    \"manifest_sha256\": \"" + digest("b") + "\"\n  }\n}\n"},
	{"server names totals", "M12", "\n  ]\n}\n", "\n  ],\n  \"totals\": [\n    {\n      \"table\": \"ticket\",\n      \"rows\": \"1\",\n      \"sums\": [],\n      \"numbers\": []\n    }\n  ]\n}\n"},
	{"upload listed twice", "M13", `"table": "client"`, `"table": "ligne"`},
	{"upload without name", "M13", `"table": "client"`, `"table": ""`},
	{"upload of an unknown mode", "M13", `"mode": "both"`, `"mode": "merge"`},
	{"upload with a column twice in its key", "M13", "\"dossier\",\n        \"code\"", "\"dossier\",\n        \"dossier\""},
	{"upload without key", "M13", "[\n        \"dossier\",\n        \"code\"\n      ]", "[]"},
	{"upload with NUL in its till column", "M13", `"till_column": "caisse"`, `"till_column": "a\u0000"`},
	{"upload with NUL in its dossier column", "M13", `"dossier_column": "dossier"`, `"dossier_column": "a\u0000"`},
	{"upload with NUL in its number column", "M13", `"number_column": "numero"`, `"number_column": "a\u0000"`},
	{"upload with a column twice in its link", "M13", "\"parent_columns\": [\n        \"dossier\",\n        \"caisse\"", "\"parent_columns\": [\n        \"caisse\",\n        \"caisse\""},
	{"upload with a sum twice", "M13", "        \"total\"\n", "        \"total\",\n        \"total\"\n"},
	{"upload with a sum of no column", "M13", "\"sums\": [\n        \"total\"", "\"sums\": [\n        \"\""},
	{"upload that excludes a column twice", "M13", `"exclude": []`, "\"exclude\": [\n        \"a\",\n        \"a\"\n      ]"},
	{"upload that excludes its key", "M13", `"exclude": []`, "\"exclude\": [\n        \"numero\"\n      ]"},
	{"upload with a parent that is not sent", "M13", `"parent": "ticket"`, `"parent": "commande"`},
	{"upload with a parent but no link", "M13", "\"parent_columns\": [\n        \"dossier\",\n        \"caisse\",\n        \"numero\"\n      ]", `"parent_columns": []`},
	{"upload with a link but no parent", "M13", `"parent": "ticket"`, `"parent": ""`},
	{"upload with a link of other length", "M13", "\"parent_columns\": [\n        \"dossier\",\n        \"caisse\",\n        \"numero\"\n      ]", "\"parent_columns\": [\n        \"dossier\",\n        \"caisse\"\n      ]"},
	{"upload that is its own parent", "M13", "\"parent\": \"\",\n      \"parent_columns\": []", "\"parent\": \"ticket\",\n      \"parent_columns\": [\n        \"dossier\",\n        \"caisse\",\n        \"numero\"\n      ]"},
	{"upload with a column twice", "M13", columnText("autre"), columnText("dossier")},
	{"upload with a column without name", "M13", columnText("autre"), columnText("")},
	{"upload with NUL in a type", "M13", columnText("autre"), strings.Replace(columnText("autre"), "TEXT", `a\u0000`, 1)},
	{"upload without a key column", "M13", columnText("code"), columnText("codes")},
	{"upload without the column of a sum", "M13", columnText("total"), columnText("totals")},
	{"upload without a link's column", "M13", "\"numero\"\n      ],\n      \"columns\"", "\"number\"\n      ],\n      \"columns\""},
	{"upload without its till column", "M13", `"till_column": "caisse"`, `"till_column": "till"`},
	{"upload without its dossier column", "M13", `"dossier_column": "dossier"`, `"dossier_column": "folder"`},
	{"upload without its number column", "M13", `"number_column": "numero"`, `"number_column": "number"`},
	{"upload that sends what it excludes", "M13", `"exclude": []`, "\"exclude\": [\n        \"autre\"\n      ]"},
	{"upload without columns", "M13", "\"columns\": [\n        {\n          \"name\": \"nom\",\n          \"type\": \"TEXT\"\n        },\n        {\n          \"name\": \"caisse\",\n          \"type\": \"TEXT\"\n        },\n        {\n          \"name\": \"autre\",\n          \"type\": \"TEXT\"\n        }\n      ]", `"columns": []`},
	{"upload with a column's field left out", "D3", "          \"name\": \"autre\",\n          \"type\": \"TEXT\"\n", "          \"name\": \"autre\"\n"},
	{"totals given but empty", "D3", `  "members": [],`, `  "members": [],` + "\n  \"totals\": [],"},
	{"upload null", "D3", `"sums": []`, `"sums": null`},
}

// Heads of a till that say what may not be.
var badTillHeads = []bad{
	{"baseline of a till", "H1", `"baseline": 0`, `"baseline": 1`},
	{"till that names a trust document", "H9", "  \"applied\": {", "  \"trust\": 3,\n  \"applied\": {"},
	{"till without incarnation", "H7", "  \"incarnation\": \"" + incarnation + "\",\n", ""},
	{"till without alarms", "H7", ",\n  \"alarms\": [\n    \"the drop refuses the key\"\n  ]", ""},
	{"till without waiting", "H7", "  \"waiting\": 12,\n", ""},
	{"till without host", "H7", "  \"host\": \"caisse-3\",\n", ""},
	{"till incarnation in capitals", "H7", "aabbccddeeff", "AABBCCDDEEFF"},
	{"till waiting negative", "H8", `"waiting": 12`, `"waiting": -1`},
	{"till waiting null", "D3", `"waiting": 12`, `"waiting": null`},
	{"till free bytes beyond 2^53", "H8", `"free_bytes": 1073741824`, `"free_bytes": 9007199254740992`},
	{"till alarms null", "D3", "\"alarms\": [\n    \"the drop refuses the key\"\n  ]", `"alarms": null`},
	{"till alarm empty", "H8", `"the drop refuses the key"`, `""`},
	{"till alarm with a line feed", "H8", `the drop refuses the key`, `the drop\nrefuses the key`},
	{"till alarm too long", "H8", `the drop refuses the key`, strings.Repeat("x", manifest.MaxWords+1)},
	{"till alarms too many", "H8", `    "the drop refuses the key"`, strings.Repeat("    \"x\",\n", manifest.MaxAlarms) + `    "x"`},
	{"till version with an escape sequence", "H8", `v1.2.3`, `v1\u001b[2J`},
	{"till host too long", "H8", `caisse-3`, strings.Repeat("x", manifest.MaxWords+1)},
	{"till oldest waiting with a fraction", "D8", "11:00:00Z", "11:00:00.5Z"},
	{"till oldest waiting in the year 1", "D8", `2026-03-01T11:00:00Z`, `0001-01-01T00:00:00Z`},
	{"till applied of another dossier", "M15", "\"applied\": {\n    \"stream\": \"ACME/down\"", "\"applied\": {\n    \"stream\": \"OTHER/down\""},
	{"till applied sequence zero", "D6", `"sequence": 9`, `"sequence": 0`},
}

// Receipts that say what may not be.
var badReceipts = []bad{
	{"format of a head", "D4", manifest.ReceiptFormat, manifest.HeadFormat},
	{"for a stream down", "D5", `"ACME/up/017"`, `"ACME/down"`},
	{"for no stream", "D5", `"ACME/up/017"`, `"ACME/up/../017"`},
	{"signer is a till", "S6", `"server@acme"`, `"till-017@acme"`},
	{"signer is another server", "S6", `"server@acme"`, `"server@other"`},
	{"epoch zero", "D6", `"epoch": 1`, `"epoch": 0`},
	{"sequence zero", "D6", `"sequence": 42`, `"sequence": 0`},
	{"issue zero", "D6", `"issue": 77`, `"issue": 0`},
	{"integrated negative", "D6", `"integrated": 1234`, `"integrated": -1`},
	{"digest of nothing", "D7", digest("a"), manifest.NoPrevious()},
	{"issued in another zone", "D8", "12:00:00Z", "12:00:00+01:00"},
	{"incarnation too short", "C1", "aabbccddeeff", "aabbccddee"},
	{"quarantine negative", "C2", `"quarantine": 3`, `"quarantine": -3`},
	{"discarded beyond 2^53", "C2", `"discarded": 1`, `"discarded": 9007199254740992`},
	{"unit of batch zero", "C3", `"sequence": 41`, `"sequence": 0`},
	{"unit without reason", "C3", `"another row of this key is there"`, `""`},
	{"unit with a line feed", "C3", `rows that are none`, `rows\nthat are none`},
	{"unit with a long key", "C3", `[\"017\",12]`, strings.Repeat("1", manifest.MaxHeldKey+1)},
	{"units null", "D3", `"discarded": 1,`, `"discarded": 1,` + "\n  \"held\": null,"},
	{"totals not in one form", "M14", `"rows": "4"`, `"rows": "4.0"`},
	{"unknown field", "D2", `"epoch": 1,`, `"epoch": 1,` + "\n" + `  "floor": 1,`},
	{"duplicate key", "D3", `  "epoch": 1,`, `  "epoch": 1,` + "\n" + `  "epoch": 1,`},
	{"missing field", "D3", `  "issue": 77,` + "\n", ""},
}

func TestOpenRefusesOfATill(t *testing.T) {
	w := newWorld(t)
	up, down, h, r := encode(t, tickets()), encode(t, terms()), encodeHead(t, tillHead()), encodeReceipt(t, receipt())
	for _, c := range []struct {
		name string
		good []byte
		bad  []bad
		file string
		open func(doc []byte) error
	}{
		{"tickets", up, badTickets, "x.manifest.json", func(doc []byte) error { _, err := w.openUp(t, w.till17, doc); return err }},
		{"terms", down, badTerms, "x.manifest.json", func(doc []byte) error { _, err := w.open(t, w.server, doc); return err }},
		{"head", h, badTillHeads, "HEAD.json", func(doc []byte) error { _, err := w.openHead(t, w.till17, doc); return err }},
		{"receipt", r, badReceipts, "017.json", func(doc []byte) error { _, err := w.openReceipt(t, w.server, doc); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.open(c.good); err != nil {
				t.Fatal(err)
			}
			for _, b := range c.bad {
				t.Run(b.name, func(t *testing.T) { wantRule(t, c.open(replace(t, c.good, b.from, b.to)), b.rule, c.file) })
			}
		})
	}
	h = encodeHead(t, head())
	_, err := w.openHead(t, w.till17, replace(t, h, `"ACME/down"`, `"ACME/up/017"`))
	wantRule(t, err, "H1", "HEAD.json")
	bare := replace(t, replace(t, h, `"ACME/down"`, `"ACME/up/017"`), `"baseline": 40`, `"baseline": 0`)
	_, err = w.openHead(t, w.till17, bare)
	wantRule(t, err, "H7", "HEAD.json")
	server := tillHead()
	server.Stream, server.Baseline = "ACME/down", 1
	_, err = manifest.EncodeHead(server)
	wantRule(t, err, "H7", "head")
	long := terms()
	for n := range 1000 {
		long.Uploads = append(long.Uploads, manifest.Upload{Table: fmt.Sprint("t", n), Mode: manifest.Append, Key: []string{"k"}, Columns: []manifest.Column{{Name: "k"}}})
	}
	_, err = manifest.Encode(long)
	wantRule(t, err, "M13", "manifest")
	m := tickets()
	m.Tables, m.Members, m.Totals = nil, nil, nil
	m.Archive.TarSize = manifest.TarSize(nil)
	_, err = manifest.Encode(m)
	wantRule(t, err, "M5", "manifest")
}

// A first batch of an epoch of a till is a delta, unlike the server's.
func TestFirstBatchOfATill(t *testing.T) {
	w := newWorld(t)
	m := tickets()
	m.Previous = manifest.NoPrevious()
	if _, err := w.openUp(t, w.till17, encode(t, m)); err != nil {
		t.Error(err)
	}
	if err := m.Follows(manifest.Position{}); err != nil {
		t.Error(err)
	}
	if err := m.Follows(manifest.Position{Epoch: 1, Sequence: 41, Digest: digest("d")}); err == nil {
		t.Error("a second first batch in one epoch is accepted")
	}
	m.Epoch = 2
	if err := m.Follows(manifest.Position{Epoch: 1, Sequence: 30, Digest: digest("d")}); err != nil {
		t.Error(err)
	}
	for _, last := range []manifest.Position{{Epoch: 1, Sequence: 42, Digest: digest("d")}, {Epoch: 2, Sequence: 41, Digest: digest("d")}, {Epoch: 3, Sequence: 41, Digest: digest("d")}} {
		if err := m.Follows(last); err == nil {
			t.Errorf("accepted after %+v", last)
		}
	}
	m = tickets()
	if err := m.Follows(manifest.Position{}); err == nil || !strings.Contains(err.Error(), "batch that names none before it must come first") {
		t.Errorf("a later batch first: %v", err)
	}
}

// Sign and Seal take the namespace from the stream that the manifest names.
func TestSealInTheNamespaceOfTheStream(t *testing.T) {
	w := newWorld(t)
	doc, sig, err := manifest.Seal(tickets(), w.till17)
	if err != nil {
		t.Fatal(err)
	}
	again, err := manifest.Sign(doc, w.till17)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range [][]byte{sig, again} {
		if _, _, err := manifest.Open("x", "ACME/up/017", doc, s, w.trust); err != nil {
			t.Error(err)
		}
		if _, err := w.trust.Verify(doc, s, keys.NamespaceManifest); err == nil {
			t.Error("signed as a batch of the server")
		}
	}
	for stream, want := range map[string]string{"ACME/down": "manifest@caisseauto", "ACME/up/017": "tickets@caisseauto", "ACME/packages": "package@caisseauto", "up/down": "manifest@caisseauto"} {
		if got := manifest.BatchNamespace(stream); got != want || manifest.IsUp(stream) != (want == "tickets@caisseauto") {
			t.Errorf("%s: %s, up %v", stream, got, manifest.IsUp(stream))
		}
	}
}

// What a till or a database has to say is cut, never refused.
func TestSealCutsWords(t *testing.T) {
	w := newWorld(t)
	h := tillHead()
	h.Till.Host, h.Till.Version = strings.Repeat("é", 400), "v1\n\xff"
	h.Till.Alarms = append([]string{""}, slices.Repeat([]string{strings.Repeat("\"\u2028\\", 500)}, 30)...)
	before := h.Till.Alarms[1]
	doc, sig, err := manifest.SealHead(h, w.till17)
	if err != nil {
		t.Fatal(err)
	}
	got, err := manifest.OpenHead("HEAD.json", doc, sig, w.trust)
	if err != nil || len(got.Till.Alarms) != manifest.MaxAlarms || got.Till.Version != "v1 \ufffd" || !strings.HasSuffix(got.Till.Host, "é…") {
		t.Errorf("%+v, %v", got, err)
	}
	if h.Till.Alarms[1] != before || len(h.Till.Alarms) != 31 {
		t.Error("SealHead changed its argument")
	}

	r := receipt()
	r.Held = slices.Repeat([]manifest.Held{{Sequence: 1, Table: "t", Key: strings.Repeat("\"", 5000), Reason: strings.Repeat("x\t", 5000)}}, 300)
	doc, sig, err = manifest.SealReceipt(r, w.server)
	if err != nil {
		t.Fatal(err)
	}
	back, err := manifest.OpenReceipt("x", "ACME/up/017", doc, sig, w.trust)
	if err != nil || len(back.Held) != manifest.MaxHeld || len(r.Held) != 300 || len(r.Held[0].Key) != 5000 {
		t.Errorf("%d units, %v", len(back.Held), err)
	}
	for _, c := range []struct {
		in   string
		most int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "…"}, {"éééé", 7, "éé…"}, {"a\x00b", 9, "a b"}, {"abcd", 1, "…"}} {
		if got := manifest.Clip(c.in, c.most); got != c.want {
			t.Errorf("%q cut to %d: %q", c.in, c.most, got)
		}
	}
}
