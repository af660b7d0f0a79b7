package manifest_test

import (
	"archive/tar"
	"bytes"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// A body is one member of a good vector: table, then the lines.
type body struct {
	table string
	lines []string
}

var (
	tvaColumns     = []manifest.Column{{Name: "code", Type: "TEXT"}, {Name: "taux", Type: "INTEGER"}}
	articleColumns = []manifest.Column{{Name: "code", Type: "TEXT"}, {Name: "label", Type: "TEXT"}, {Name: "price", Type: "INTEGER"}, {Name: "vat", Type: "TEXT"}}
	valueColumns   = []manifest.Column{{Name: "Clé 1", Type: "INT"}, {Name: "Clé 2", Type: "VARCHAR(20)"}, {Name: "v", Type: ""}}
	ticketColumns  = []manifest.Column{{Name: "numero", Type: "INTEGER"}, {Name: "caisse", Type: "TEXT"}, {Name: "total", Type: "INTEGER"}}
	lineColumns    = []manifest.Column{{Name: "numero", Type: "INTEGER"}, {Name: "rang", Type: "INTEGER"}, {Name: "caisse", Type: "TEXT"}, {Name: "qte", Type: "REAL"}}
	clientColumns  = []manifest.Column{{Name: "code", Type: "TEXT"}, {Name: "nom", Type: "TEXT"}}
)

func table(name string, scope manifest.Scope, columns []manifest.Column, key ...string) manifest.Table {
	return manifest.Table{Name: name, Scope: scope, Columns: columns, Key: key, Schema: manifest.Fingerprint(columns, key)}
}

// writeGood writes the stream ACME/down (a baseline, a delta, a delta with
// one of everything, the baseline of epoch 2) and a till's stream, each with
// its head, and the positions.
func (w *vectorWriter) writeGood() {
	tva := body{"tva", []string{`{"table":"tva","op":"upsert","columns":["code","taux"]}`, `["N",2000]`, `["R",550]`}}
	article := `{"table":"article","op":"upsert","columns":["code","label","price","vat"]}`
	whole := []manifest.Table{table("tva", manifest.Whole, tvaColumns, "code"), table("article", manifest.Whole, articleColumns, "code")}
	values := table("Valeurs spéciales", manifest.Whole, valueColumns, "Clé 1", "Clé 2")

	down := w.batch("server", nil, &manifest.Manifest{Stream: "ACME/down", Epoch: 1, Kind: manifest.Baseline, Signer: "server@acme", Tables: whole},
		tva, body{"article", []string{article, `["3017620422003","Pâte à tartiner 400 g",349,"N"]`, `["3124480183927","Eau 6 × 1,5 l",199,"R"]`, `["3270190207924","Café \"pur\" 250 g",null,"R"]`}})
	down = w.batch("server", down, &manifest.Manifest{Stream: "ACME/down", Epoch: 1, Kind: manifest.Delta, Signer: "server@acme",
		Tables: []manifest.Table{table("article", manifest.Changes, articleColumns, "code")}},
		body{"article", []string{article, `["3560070462520","Thé vert",425,"R"]`}},
		body{"article", []string{`{"table":"article","op":"patch","columns":["code","price"]}`, `["3017620422003",359]`, `["3270190207924",590]`}},
		body{"article", []string{`{"table":"article","op":"delete","columns":["code"]}`, `["3124480183927"]`}})
	down = w.batch("server", down, &manifest.Manifest{Stream: "ACME/down", Epoch: 1, Kind: manifest.Delta, Signer: "server@acme", Tables: []manifest.Table{values}},
		body{values.Name, []string{`{"table":"Valeurs spéciales","op":"upsert","columns":["Clé 1","Clé 2","v"]}`,
			`[-9223372036854775808,"integer",9223372036854775807]`, `[1,"null",null]`, `[2,"real",3.0]`, `[3,"real",-0.0]`, `[4,"real",1e+22]`, `[5,"real",0.1]`,
			`[6,"real",5e-324]`, `[7,"real",{"r":"+Inf"}]`, `[8,"real",{"r":"-Inf"}]`, `[9,"text",""]`, `[10,"text","line\nfeed \u0001 <&> \" \\ é €"]`,
			`[11,"text",{"t":"/w=="}]`, `[12,"blob",{"b":""}]`, `[13,"blob",{"b":"AAH/"}]`}})
	w.head("server", down, 1, 1)
	down = w.batch("server", down, &manifest.Manifest{Stream: "ACME/down", Epoch: 2, Kind: manifest.Baseline, Signer: "server@acme", Tables: whole},
		tva, body{"article", []string{article, `["3560070462520","Thé vert",425,"R"]`}})
	// No rows, but what tills are to send from now on.
	down = w.batch("server", down, &manifest.Manifest{Stream: "ACME/down", Epoch: 2, Kind: manifest.Delta, Signer: "server@acme",
		Integrated: 1234, Uploads: []manifest.Upload{
			{Table: "ticket", Mode: manifest.Append, Key: []string{"numero", "caisse"}, Till: "caisse", Number: "numero", Sums: []string{"total"}, Columns: ticketColumns},
			{Table: "ligne", Mode: manifest.Append, Key: []string{"numero", "rang", "caisse"}, Till: "caisse", Sums: []string{"qte"}, Parent: "ticket", Link: []string{"numero", "caisse"}, Columns: lineColumns},
			{Table: "client", Mode: manifest.Both, Key: []string{"code"}, Columns: clientColumns},
		}})
	w.writeGoodOfTills(down)
	w.writeGoodPackages()
	w.positions()
}

// writeGoodPackages writes two releases of a product and the way back from the
// second to the first, which has the same files again.
func (w *vectorWriter) writeGoodPackages() {
	files := func(what string) []body {
		return []body{{"LICENSE", nil}, {"bin/hello", []string{"#!/bin/sh", "echo " + what}}, {"share/doc/Lisez moi.txt", []string{what}}}
	}
	release := func(version string, number int64) *manifest.Manifest {
		return &manifest.Manifest{Stream: "ACME/packages", Epoch: 1, Kind: manifest.KindPackage, Signer: "release@acme", Package: &manifest.Package{
			Product: "hello", Version: version, Release: number, OS: "linux", Arch: manifest.Any, Notes: "Bonjour\n",
			Probe: &manifest.Probe{Command: []string{"bin/hello", "--check"}, Seconds: 30}}}
	}
	first := w.batch("release", nil, release("1.0", 1), files("one")...)
	second := release("1.1", 2)
	second.Requires = []manifest.Requirement{{Product: "base", Release: 4}}
	second = w.batch("release", first, second, files("two")...)
	w.head("release", second, 0, 1)
	back := release("1.0", 1)
	back.Rollback = &manifest.Rollback{From: 2, To: 1}
	w.batch("release", second, back, files("one")...)
}

// writeGoodOfTills writes the stream of till 017 (tickets; a customer changed,
// one added and one deleted; the first batch of epoch 2), its head and receipt.
func (w *vectorWriter) writeGoodOfTills(down *manifest.Manifest) {
	applied := w.at(down)
	tables := []manifest.Table{table("ticket", manifest.Changes, ticketColumns, "numero", "caisse"), table("ligne", manifest.Changes, lineColumns, "numero", "rang", "caisse")}
	ticket := `{"table":"ticket","op":"upsert","columns":["numero","caisse","total"]}`
	line := `{"table":"ligne","op":"upsert","columns":["numero","rang","caisse","qte"]}`
	client := `"columns":["code","nom"]}`
	up := w.batch("till-017", nil, &manifest.Manifest{Stream: "ACME/up/017", Epoch: 1, Kind: manifest.Delta, Signer: "till-017@acme", Tables: tables,
		Incarnation: incarnation, Applied: &applied, Totals: []manifest.Total{
			{Table: "ticket", Rows: "2", Sums: []manifest.Sum{{Column: "total", Sum: "1689"}}, Numbers: []string{"1-2"}},
			{Table: "ligne", Rows: "3", Sums: []manifest.Sum{{Column: "qte", Sum: "2.25"}}},
		}},
		body{"ticket", []string{ticket, `[1,"017",1290]`, `[2,"017",399]`}},
		body{"ligne", []string{line, `[1,1,"017",1.0]`, `[1,2,"017",0.25]`, `[2,1,"017",1.0]`}})
	up = w.batch("till-017", up, &manifest.Manifest{Stream: "ACME/up/017", Epoch: 1, Kind: manifest.Delta, Signer: "till-017@acme",
		Tables:      append([]manifest.Table{tables[0]}, table("client", manifest.Changes, clientColumns, "code")),
		Incarnation: incarnation, Applied: &applied, Totals: []manifest.Total{
			{Table: "ticket", Rows: "1", Sums: []manifest.Sum{{Column: "total", Sum: "-399"}}, Numbers: []string{"3"}},
			{Table: "client", Rows: "3"},
		}},
		body{"client", []string{`{"table":"client","op":"base",` + client, `["C1","Dupont"]`, `["C3","Martin"]`}},
		body{"ticket", []string{ticket, `[3,"017",-399]`}},
		body{"client", []string{`{"table":"client","op":"upsert",` + client, `["C1","Dupond"]`, `["C2","Durand"]`}},
		body{"client", []string{`{"table":"client","op":"delete","columns":["code"]}`, `["C3"]`}})
	w.head("till-017", up, 0, 1)
	w.receipt(up)
	w.batch("till-017", up, &manifest.Manifest{Stream: "ACME/up/017", Epoch: 2, Kind: manifest.Delta, Signer: "till-017@acme", Tables: tables[:1],
		Incarnation: strings.Repeat("f", 32), Totals: []manifest.Total{{Table: "ticket", Rows: "1", Sums: []manifest.Sum{{Column: "total", Sum: "5"}}, Numbers: []string{"4"}}}},
		body{"ticket", []string{ticket, `[4,"017",5]`}})
}

func (w *vectorWriter) at(m *manifest.Manifest) manifest.StreamPosition {
	p, err := m.Position()
	w.must(err)
	return manifest.StreamPosition{Stream: m.Stream, Epoch: p.Epoch, Sequence: p.Sequence, Digest: p.Digest}
}

// receipt writes the server's receipt up to the batch m.
func (w *vectorWriter) receipt(m *manifest.Manifest) {
	p := w.at(m)
	doc := encodeReceipt(w.t, &manifest.Receipt{Format: manifest.ReceiptFormat, Stream: p.Stream, Signer: "server@acme",
		Epoch: p.Epoch, Sequence: p.Sequence, Digest: p.Digest, Incarnation: m.Incarnation, Issue: 2, Issued: m.Created.Add(2 * time.Minute), Integrated: 1236,
		Totals: []manifest.Total{
			{Table: "ticket", Rows: "2", Sums: []manifest.Sum{{Column: "total", Sum: "891"}}, Numbers: []string{"1", "3"}},
			{Table: "ligne", Rows: "2", Sums: []manifest.Sum{{Column: "qte", Sum: "1.25"}}},
			{Table: "client", Rows: "3"},
		},
		Waiting: 2, Held: []manifest.Held{{Sequence: 1, Table: "ticket", Key: `[2,"017"]`, Rows: 2, Reason: "another ticket of this key is there"}}})
	name := "good/ACME/receipts/" + manifest.ReceiptName("017")
	w.write(name+".sig", w.sign(name+".sig", "server", doc, keys.NamespaceReceipt))
	w.write(name, doc)
	w.index.Good = append(w.index.Good, goodVector{Kind: "receipt", File: name, Stream: p.Stream, Epoch: p.Epoch, Sequence: p.Sequence, SHA256: p.Digest})
}

// batch completes m, writes its three files and returns it.
func (w *vectorWriter) batch(key string, before, m *manifest.Manifest, bodies ...body) *manifest.Manifest {
	m.Format, m.Sequence, m.Previous = manifest.Format, 1, manifest.NoPrevious()
	if before != nil {
		p, err := before.Position()
		w.must(err)
		m.Sequence = p.Sequence + 1
		if m.Epoch == p.Epoch {
			m.Previous = p.Digest
		}
	}
	m.Created = time.Date(2026, 3, 1, 6, 5*int(m.Sequence), 0, 0, time.UTC)
	archive := w.archive(m, bodies)
	m.Archive = manifest.Archive{Name: manifest.FileName(m.Sequence, manifest.ArchiveExt), Size: int64(len(archive)),
		SHA256: manifest.Digest(archive), TarSize: manifest.TarSize(m.Members)}
	if m.Package != nil {
		for _, f := range m.Files {
			m.Archive.TarSize += 512 + (f.Size+511)/512*512
		}
	}
	doc := encode(w.t, m)
	folder := "good/" + m.Stream + "/"
	name := folder + manifest.FileName(m.Sequence, manifest.ManifestExt)
	w.write(folder+m.Archive.Name, archive)
	w.write(name+".sig", w.sign(name+".sig", key, doc, manifest.BatchNamespace(m.Stream)))
	w.write(name, doc)
	w.index.Good = append(w.index.Good, goodVector{Kind: "manifest", File: name, Stream: m.Stream, Epoch: m.Epoch, Sequence: m.Sequence, SHA256: manifest.Digest(doc)})
	return m
}

// archive packs the bodies as SPEC.md fixes it, and lists them in m.
func (w *vectorWriter) archive(m *manifest.Manifest, bodies []body) []byte {
	var file bytes.Buffer
	z, err := zstd.NewWriter(&file, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(true),
		zstd.WithWindowSize(4<<20), zstd.WithEncoderConcurrency(1))
	w.must(err)
	t := tar.NewWriter(z)
	count := map[string]int{}
	for _, b := range bodies {
		count[b.table]++
		data := []byte(strings.Join(b.lines, "\n") + "\n")
		if m.Package != nil {
			data = w.file(m.Package, b)
			w.must(t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: b.table, Size: int64(len(data)), Mode: 0o644, Format: tar.FormatUSTAR}))
			_, err := t.Write(data)
			w.must(err)
			continue
		}
		member := manifest.Member{Name: manifest.MemberName(b.table, count[b.table]), Table: b.table,
			Rows: int64(len(b.lines) - 1), Size: int64(len(data)), SHA256: manifest.Digest(data)}
		m.Members = append(m.Members, member)
		w.must(t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: member.Name, Size: member.Size, Mode: 0o644, Format: tar.FormatUSTAR}))
		_, err := t.Write(data)
		w.must(err)
	}
	w.must(t.Close())
	w.must(z.Close())
	return file.Bytes()
}

// file lists one file of a package, and returns its bytes.
func (w *vectorWriter) file(p *manifest.Package, b body) []byte {
	data, mode := []byte{}, manifest.ModeData
	for _, line := range b.lines {
		data = append(data, line+"\n"...)
	}
	if strings.HasPrefix(b.table, "bin/") {
		mode = manifest.ModeProgram
	}
	p.Files = append(p.Files, manifest.File{Name: b.table, Mode: mode, Size: int64(len(data)), SHA256: manifest.Digest(data)})
	return data
}

func (w *vectorWriter) head(key string, newest *manifest.Manifest, baseline, oldest int64) {
	p, err := newest.Position()
	w.must(err)
	issued := newest.Created.Add(time.Minute)
	h := &manifest.Head{Format: manifest.HeadFormat, Stream: newest.Stream, Epoch: p.Epoch, Sequence: p.Sequence, Digest: p.Digest,
		Baseline: baseline, Oldest: oldest, Issue: 288, Issued: issued, Expires: issued.Add(24 * time.Hour)}
	if manifest.IsUp(h.Stream) {
		h.Till = &manifest.TillState{Applied: newest.Applied, Incarnation: newest.Incarnation, Host: "caisse-3", Version: "v1.2.3",
			Waiting: 7, OldestWaiting: newest.Created.Add(-time.Minute), FreeBytes: 1 << 30, Alarms: []string{"the newest head is a day old"}}
	}
	doc := encodeHead(w.t, h)
	name := "good/" + newest.Stream + "/" + manifest.HeadName
	w.write(name+".sig", w.sign(name+".sig", key, doc, keys.NamespaceHead))
	w.write(name, doc)
	w.index.Good = append(w.index.Good, goodVector{Kind: "head", File: name, Stream: newest.Stream, Epoch: p.Epoch, Sequence: p.Sequence, SHA256: p.Digest})
}

// positions says which good manifest follows which.
func (w *vectorWriter) positions() {
	at, up := map[int64]goodVector{0: {}}, map[int64]goodVector{0: {}}
	for _, v := range w.index.Good {
		if v.Kind == "manifest" && v.Stream == "ACME/down" {
			at[v.Sequence] = v
		} else if v.Kind == "manifest" && manifest.IsUp(v.Stream) {
			up[v.Sequence] = v
		}
	}
	add := func(last goodVector, next int64, rule string) {
		w.index.Positions = append(w.index.Positions, positionVector{LastEpoch: last.Epoch, LastSequence: last.Sequence,
			LastSHA256: last.SHA256, File: at[next].File, Rule: rule})
	}
	for next := range int64(5) {
		add(at[next], next+1, "") // 4 begins epoch 2
	}
	add(at[2], 4, "")
	add(at[0], 2, "P4")
	add(at[1], 3, "P4")
	add(at[3], 3, "P2")
	add(at[3], 1, "P2")
	other := at[2]
	other.SHA256 = digest("f")
	add(other, 2, "P3")
	add(other, 3, "P5")
	add(at[4], 3, "P6")
	other.Epoch, other.Sequence = 1, 9
	add(other, 4, "P6")

	// A till's stream: no baselines; 3 begins epoch 2, and may come first when
	// nothing lower is there.
	at = up
	for next := range int64(3) {
		add(up[next], next+1, "")
	}
	add(up[0], 3, "")
	add(up[1], 3, "")
	add(up[0], 2, "P4")
	add(up[2], 1, "P2")
	add(up[3], 2, "P6")
}
