package manifest_test

import (
	"strings"
	"testing"

	"caisseauto/manifest"
)

// A bad document is one that its writer signed in order; only its content is
// wrong. Each is made of a good one by replacing from by to, and stands among
// the vectors too.
type bad struct{ name, rule, from, to string }

// Documents that are not in the one encoding. They concern manifests and
// heads alike; these are made of a manifest.
var badEncodings = []bad{
	{"duplicate key", "D3", `  "epoch": 1,`, `  "epoch": 1,` + "\n" + `  "epoch": 1,`},
	{"duplicate key with another value first", "D3", `  "sequence": 42,`, `  "sequence": 41,` + "\n" + `  "sequence": 42,`},
	{"key in capitals", "D3", `"sequence"`, `"SEQUENCE"`},
	{"key with one capital", "D3", `"rows"`, `"Rows"`},
	{"null integer", "D3", `"epoch": 1`, `"epoch": null`},
	{"null string", "D3", `"kind": "delta"`, `"kind": null`},
	{"null time", "D3", `"created": "2026-03-01T12:00:00Z"`, `"created": null`},
	{"null list", "D3", "\"key\": [\n        \"code\"\n      ]", `"key": null`},
	{"null object", "D3", "{\n      \"name\": \"article\"", "null,\n    {\n      \"name\": \"article\""},
	{"missing field", "D3", `  "epoch": 1,` + "\n", ""},
	{"missing inner field", "D3", `      "rows": 3,` + "\n", ""},
	{"unknown field", "D2", `  "epoch": 1,`, `  "epoch": 1,` + "\n" + `  "comment": "hello",`},
	{"fields in another order", "D3", `  "epoch": 1,` + "\n" + `  "sequence": 42,`, `  "sequence": 42,` + "\n" + `  "epoch": 1,`},
	{"float", "D2", `"sequence": 42`, `"sequence": 42.5`},
	{"whole float", "D2", `"sequence": 42`, `"sequence": 42.0`},
	{"exponent", "D2", `"size": 600`, `"size": 6e2`},
	{"integer as a string", "D2", `"sequence": 42`, `"sequence": "42"`},
	{"string as an integer", "D2", `"kind": "delta"`, `"kind": 1`},
	{"sequence beyond int64", "D2", `"sequence": 42`, `"sequence": 9223372036854775808`},
	{"huge integer", "D2", `"sequence": 42`, `"sequence": 1` + strings.Repeat("0", 400)},
	{"leading zero", "D2", `"sequence": 42`, `"sequence": 042`},
	{"minus zero", "D3", `"rows": 0`, `"rows": -0`},
	{"bad UTF-8", "D3", "é>", "\xff>"},
	{"cut UTF-8", "D3", "é>", "\xc3>"},
	{"surrogate in UTF-8", "D3", "é>", "\xed\xa0\x80>"},
	{"lone surrogate escape", "D3", "é>", `\ud800>`},
	{"needless escape", "D3", `"server@acme"`, `"server\u0040acme"`},
	{"HTML escape", "D3", `"Prix <`, `"Prix \u003c`},
	{"escaped slash", "D3", `"ACME/down"`, `"ACME\/down"`},
	{"byte order mark", "D2", "{", "\ufeff{"},
	{"CR LF", "D3", "{\n", "{\r\n"},
	{"one blank more", "D3", `"epoch": 1`, `"epoch":  1`},
	{"tab", "D3", `  "epoch"`, "\t\"epoch\""},
	{"no final line feed", "D3", "}\n  ]\n}\n", "}\n  ]\n}"},
	{"trailing line feed", "D3", "}\n  ]\n}\n", "}\n  ]\n}\n\n"},
	{"trailing data", "D3", "}\n  ]\n}\n", "}\n  ]\n}\n{}\n"},
	{"NUL behind the end", "D3", "}\n  ]\n}\n", "}\n  ]\n}\n\x00"},
	{"cut", "D2", "\n  ]\n}\n", "\n"},
	{"time with an offset", "D3", `12:00:00Z`, `12:00:00+00:00`},
	{"time in lower case", "D2", `12:00:00Z`, `12:00:00z`},
	{"not an object", "D2", "{", "[{"},
}

// Manifests in the right encoding that say what may not be.
var badManifests = []bad{
	{"format of another version", "D4", manifest.Format, "caisseauto/manifest/2"},
	{"format of a head", "D4", manifest.Format, manifest.HeadFormat},
	{"stream that leads elsewhere", "D5", `"ACME/down"`, `"../down"`},
	{"stream without dossier", "D5", `"ACME/down"`, `"/down"`},
	{"stream of an unknown kind", "D5", `"ACME/down"`, `"ACME/sideways"`},
	{"stream up without till", "D5", `"ACME/down"`, `"ACME/up/"`},
	{"stream with a folder more", "D5", `"ACME/down"`, `"ACME/down/x"`},
	{"dossier too long", "D5", `"ACME/down"`, `"` + strings.Repeat("A", 33) + `/down"`},
	{"signer of another role", "S6", `"server@acme"`, `"till-017@acme"`},
	{"signer with another name", "S6", `"server@acme"`, `"server@other"`},
	{"signer in capitals", "S6", `"server@acme"`, `"Server@acme"`},
	{"signer empty", "S6", `"server@acme"`, `""`},
	{"epoch zero", "D6", `"epoch": 1`, `"epoch": 0`},
	{"epoch beyond 2^53", "D6", `"epoch": 1`, `"epoch": 9007199254740992`},
	{"sequence zero", "D6", `"sequence": 42`, `"sequence": 0`},
	{"sequence negative", "D6", `"sequence": 42`, `"sequence": -42`},
	{"sequence of 11 digits", "D6", `"sequence": 42`, `"sequence": 10000000000`},
	{"sequence 2^63-1", "D6", `"sequence": 42`, `"sequence": 9223372036854775807`},
	{"previous in capitals", "D7", digest("d"), digest("D")},
	{"previous too short", "D7", digest("d"), digest("d")[1:]},
	{"previous empty", "D7", digest("d"), ""},
	{"created with a fraction", "D8", "12:00:00Z", "12:00:00.5Z"},
	{"created in another zone", "D8", "12:00:00Z", "12:00:00+01:00"},
	{"created before computers", "D8", "2026-", "0026-"},
	{"kind unknown", "M1", `"delta"`, `"merge"`},
	{"kind package", "M1", `"delta"`, `"package"`},
	{"first of an epoch is a delta", "M2", digest("d"), manifest.NoPrevious()},
	{"sequence 1 with one before it", "M2", `"sequence": 42`, `"sequence": 1`},
	{"archive of another number", "M3", `"0000000042.tar.zst"`, `"0000000041.tar.zst"`},
	{"archive elsewhere", "M3", `"0000000042.tar.zst"`, `"../0000000042.tar.zst"`},
	{"archive empty", "M3", `"size": 600`, `"size": 0`},
	{"archive beyond 2^53", "M3", `"size": 600`, `"size": 9007199254740992`},
	{"archive digest in capitals", "D7", digest("a"), digest("A")},
	{"tar_size one less", "M4", `"tar_size": 4608`, `"tar_size": 4607`},
	{"tar_size too large", "M4", `"tar_size": 4608`, `"tar_size": 9007199254740991`},
	{"table listed twice", "M5", `"name": "Prix <é>"`, `"name": "article"`},
	{"table without name", "M5", `"name": "Prix <é>"`, `"name": ""`},
	{"table with NUL", "M5", `"name": "Prix <é>"`, `"name": "a\u0000b"`},
	{"scope unknown", "M6", `"scope": "changes"`, `"scope": "some"`},
	{"scope changes in a baseline", "M6", `"kind": "delta"`, `"kind": "baseline"`},
	{"column twice", "M7", `"name": "price"`, `"name": "code"`},
	{"column without name", "M7", `"name": "price"`, `"name": ""`},
	{"column type with NUL", "M7", `"type": "INTEGER"`, `"type": "\u0000"`},
	{"no columns", "M7", "[\n        {\n          \"name\": \"code\",\n          \"type\": \"TEXT\"\n        },\n        {\n          \"name\": \"price\",\n          \"type\": \"INTEGER\"\n        }\n      ]", "[]"},
	{"no key", "M8", "[\n        \"code\"\n      ]", "[]"},
	{"key of no column", "M8", "[\n        \"code\"\n      ]", "[\n        \"label\"\n      ]"},
	{"key column twice", "M8", "[\n        \"code\"\n      ]", "[\n        \"code\",\n        \"code\"\n      ]"},
	{"fingerprint of other columns", "M9", `"name": "price"`, `"name": "prices"`},
	{"fingerprint of another type", "M9", `"type": "INTEGER"`, `"type": "TEXT"`},
	{"member of an unlisted table", "M10", `"table": "article"`, `"table": "client"`},
	{"member of an unlisted table, named after it", "M10", "\"name\": \"data/%50rix%20%3c%c3%a9%3e.0001.ndjson\",\n      \"table\": \"Prix <é>\"", "\"name\": \"data/client.0001.ndjson\",\n      \"table\": \"client\""},
	{"member name of another table", "M10", `"data/article.0001.ndjson"`, `"data/client.0001.ndjson"`},
	{"member name that leads elsewhere", "M10", `"data/article.0001.ndjson"`, `"../article.0001.ndjson"`},
	{"member name absolute", "M10", `"data/article.0001.ndjson"`, `"/data/article.0001.ndjson"`},
	{"member name not encoded", "M10", `"data/%50rix%20%3c%c3%a9%3e.0001.ndjson"`, `"data/Prix <é>.0001.ndjson"`},
	{"member twice", "M10", `"data/article.0002.ndjson"`, `"data/article.0001.ndjson"`},
	{"member number left out", "M10", `"data/article.0002.ndjson"`, `"data/article.0003.ndjson"`},
	{"member empty", "M11", `"size": 200`, `"size": 0`},
	{"member negative", "M11", `"size": 200`, `"size": -200`},
	{"member larger than any", "M11", `"size": 200`, `"size": 8650753`},
	{"rows negative", "M11", `"rows": 3`, `"rows": -1`},
	{"more rows than bytes", "M11", `"rows": 3`, `"rows": 51`},
	{"member digest too long", "D7", digest("1"), digest("1") + "1"},
}

// Heads in the right encoding that say what may not be.
var badHeads = []bad{
	{"format of a manifest", "D4", manifest.HeadFormat, manifest.Format},
	{"stream", "D5", `"ACME/down"`, `"ACME"`},
	{"epoch zero", "D6", `"epoch": 1`, `"epoch": 0`},
	{"sequence zero", "D6", `"sequence": 42`, `"sequence": 0`},
	{"sequence 2^53-1", "D6", `"sequence": 42`, `"sequence": 9007199254740991`},
	{"sequence 2^63", "D2", `"sequence": 42`, `"sequence": 9223372036854775808`},
	{"issue zero", "D6", `"issue": 1000`, `"issue": 0`},
	{"issue 2^53", "D6", `"issue": 1000`, `"issue": 9007199254740992`},
	{"digest in capitals", "D7", digest("a"), digest("A")},
	{"digest of nothing", "D7", digest("a"), manifest.NoPrevious()},
	{"issued with a fraction", "D8", `"issued": "2026-03-01T12:00:00Z"`, `"issued": "2026-03-01T12:00:00.1Z"`},
	{"expires in another zone", "D8", `"expires": "2026-03-02T12:00:00Z"`, `"expires": "2026-03-02T12:00:00+01:00"`},
	{"baseline ahead", "H1", `"baseline": 40`, `"baseline": 43`},
	{"no baseline", "H1", `"baseline": 40`, `"baseline": 0`},
	{"oldest ahead", "H2", `"oldest": 1`, `"oldest": 43`},
	{"trust that is no version", "H9", "12:00:00Z\"\n}", "12:00:00Z\",\n  \"trust\": 10000000000\n}"},
	{"trust below zero", "H9", "12:00:00Z\"\n}", "12:00:00Z\",\n  \"trust\": -1\n}"},
	{"trust of nothing", "D3", "12:00:00Z\"\n}", "12:00:00Z\",\n  \"trust\": 0\n}"},
	{"expires before it was issued", "H3", `"expires": "2026-03-02`, `"expires": "2026-03-01`},
	{"unknown field", "D2", `"epoch": 1,`, `"epoch": 1,` + "\n" + `  "floor": 1,`},
	{"server that speaks of an applied batch", "H7", "12:00:00Z\"\n}", "12:00:00Z\",\n  \"applied\": {\n    \"stream\": \"ACME/down\",\n    \"epoch\": 1,\n    \"sequence\": 1,\n    \"manifest_sha256\": \"" + digest("b") + "\"\n  }\n}"},
	{"server that speaks of waiting rows", "H7", "12:00:00Z\"\n}", "12:00:00Z\",\n  \"oldest_waiting\": \"2026-03-01T12:00:00Z\"\n}"},
	{"duplicate key", "D3", `  "epoch": 1,`, `  "epoch": 1,` + "\n" + `  "epoch": 1,`},
	{"null", "D3", `"oldest": 1`, `"oldest": null`},
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t)
	good := encode(t, delta())
	if _, err := w.open(t, w.server, good); err != nil {
		t.Fatal(err)
	}
	for _, c := range append(badEncodings, badManifests...) {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.open(t, w.server, replace(t, good, c.from, c.to))
			wantRule(t, err, c.rule, "x.manifest.json")
		})
	}
}

func TestOpenHeadRefuses(t *testing.T) {
	w := newWorld(t)
	good := encodeHead(t, head())
	if _, err := w.openHead(t, w.server, good); err != nil {
		t.Fatal(err)
	}
	for _, c := range badHeads {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.openHead(t, w.server, replace(t, good, c.from, c.to))
			wantRule(t, err, c.rule, "HEAD.json")
		})
	}
}

// What Open refuses is not signed either.
func TestSignRefuses(t *testing.T) {
	w := newWorld(t)
	good := encode(t, delta())
	if sig, err := manifest.Sign(good, w.server); err != nil {
		t.Error(err)
	} else if _, _, err := manifest.Open("x", "ACME/down", good, sig, w.trust); err != nil {
		t.Error(err)
	}
	for _, c := range append(badEncodings, badManifests...) {
		if c.rule == "S6" && strings.HasSuffix(c.to, `@other"`) {
			continue // a server may have that name: only the trust knows better
		}
		sig, err := manifest.Sign(replace(t, good, c.from, c.to), w.server)
		if sig != nil || err == nil {
			t.Errorf("%s: signed", c.name)
		}
	}
	large := append(good, make([]byte, manifest.MaxManifest)...)
	if _, err := manifest.Sign(large, w.server); err == nil {
		t.Error("signed more than a reader takes")
	} else {
		wantRule(t, err, "D1", "manifest to sign")
	}
	m := delta()
	m.Stream, m.Signer = "ACME/packages", "release@acme"
	_, _, err := manifest.Seal(m, w.release)
	wantRule(t, err, "M1", "manifest")
	m = delta()
	m.Archive.TarSize++
	if doc, sig, err := manifest.Seal(m, w.server); err == nil || doc != nil || sig != nil {
		t.Errorf("Seal: %v", err)
	}
	h := head()
	h.Baseline = 99
	if doc, sig, err := manifest.SealHead(h, w.server); err == nil || doc != nil || sig != nil {
		t.Errorf("SealHead: %v", err)
	}
}
