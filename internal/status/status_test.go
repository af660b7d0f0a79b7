package status_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/status"
	"caisseauto/keys"
	"caisseauto/manifest"
)

const incarnation = "00112233445566778899aabbccddeeff"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newKey returns the key of a seed, the same one in every run.
func newKey(t testing.TB, seed string) keys.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append([]byte(seed), make([]byte, 32)...)[:32]))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// A world is a dossier's folder: five batches down, sealed half an hour apart
// until a quarter to noon, and tills with a head and a receipt.
type world struct {
	t            testing.TB
	server, till keys.Signer
	release      keys.Signer
	trust        *keys.Trust
	files        map[string][]byte
	down         []manifest.Position
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, server: newKey(t, "server"), till: newKey(t, "till"), release: newKey(t, "release"), files: map[string][]byte{}, down: make([]manifest.Position, 1)}
	var err error
	w.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(
		keys.AllowedLine([]string{"server@acme"}, nil, w.server.Public(), "")+"\n"+
			keys.AllowedLine([]string{"release@acme"}, []string{keys.NamespacePackage, keys.NamespaceHead}, w.release.Public(), "")+"\n"+
			keys.AllowedLine([]string{"till-017@acme", "till-018@acme"}, nil, w.till.Public(), "")+"\n"))
	w.check(err)
	for n := range int64(5) {
		w.down = append(w.down, w.seal("down", "ACME/down", n+1, noon.Add(time.Duration(n-4)*30*time.Minute-15*time.Minute), w.down[n].Digest, w.server, "server@acme"))
	}
	w.head("down", w.server, &manifest.Head{Stream: "ACME/down", Epoch: 1, Sequence: 5, Digest: w.down[5].Digest, Baseline: 1, Oldest: 1, Issue: 9,
		Issued: noon, Expires: noon.Add(24 * time.Hour)})
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) seal(folder, stream string, n int64, created time.Time, previous string, s keys.Signer, principal string) manifest.Position {
	w.t.Helper()
	columns := []manifest.Column{{Name: "code", Type: "TEXT"}}
	m := &manifest.Manifest{Format: manifest.Format, Stream: stream, Epoch: 1, Sequence: n, Previous: previous, Kind: manifest.Delta, Created: created, Signer: principal,
		Archive: manifest.Archive{Name: manifest.FileName(n, manifest.ArchiveExt), Size: 600, SHA256: strings.Repeat("a", 64), TarSize: manifest.TarSize(nil)},
		Tables: []manifest.Table{{Name: "article", Scope: manifest.Changes, Columns: columns, Key: []string{"code"},
			Schema: manifest.Fingerprint(columns, []string{"code"})}}}
	if n == 1 {
		m.Previous = manifest.NoPrevious()
		if folder == "down" {
			m.Kind, m.Tables[0].Scope = manifest.Baseline, manifest.Whole
		}
	}
	if manifest.IsUp(stream) {
		m.Incarnation = incarnation
	}
	doc, sig, err := manifest.Seal(m, s)
	w.check(err)
	name := folder + "/" + manifest.FileName(n, manifest.ManifestExt)
	w.files[name], w.files[name+".sig"] = doc, sig
	return manifest.Position{Epoch: 1, Sequence: n, Digest: manifest.Digest(doc)}
}

func (w *world) head(folder string, s keys.Signer, h *manifest.Head) {
	w.t.Helper()
	h.Format = manifest.HeadFormat
	doc, sig, err := manifest.SealHead(h, s)
	w.check(err)
	w.files[folder+"/HEAD.json"], w.files[folder+"/HEAD.json.sig"] = doc, sig
}

// sells makes a till with two batches, of which the server has taken one. It
// has applied the batch down that applied names. edit may change its head and
// receipt.
func (w *world) sells(number string, applied int64, edit func(*manifest.Head, *manifest.Receipt)) {
	w.t.Helper()
	stream, folder := "ACME/up/"+number, "up/"+number
	first := w.seal(folder, stream, 1, noon.Add(-50*time.Minute), "", w.till, "till-"+number+"@acme")
	second := w.seal(folder, stream, 2, noon.Add(-10*time.Minute), first.Digest, w.till, "till-"+number+"@acme")
	h := &manifest.Head{Stream: stream, Epoch: 1, Sequence: 2, Digest: second.Digest, Oldest: 1, Issue: 3, Issued: noon.Add(-10 * time.Minute), Expires: noon.Add(24 * time.Hour),
		Till: &manifest.TillState{Incarnation: incarnation, Host: "caisse-" + number, Version: "v1.2.3", Waiting: 7, OldestWaiting: noon.Add(-20 * time.Minute), FreeBytes: 1 << 30}}
	if applied > 0 {
		h.Till.Applied = &manifest.StreamPosition{Stream: "ACME/down", Epoch: 1, Sequence: applied, Digest: w.down[applied].Digest}
	}
	r := &manifest.Receipt{Format: manifest.ReceiptFormat, Stream: stream, Signer: "server@acme", Epoch: 1, Sequence: 1, Digest: first.Digest, Incarnation: incarnation,
		Issue: 1, Issued: noon.Add(-40 * time.Minute)}
	if edit != nil {
		edit(h, r)
	}
	w.head(folder, w.till, h)
	doc, sig, err := manifest.SealReceipt(r, w.server)
	w.check(err)
	w.files["receipts/"+number+".json"], w.files["receipts/"+number+".json.sig"] = doc, sig
}

// Tills implements status.Files.
func (w *world) Tills(context.Context) ([]string, error) {
	var list []string
	for name := range w.files {
		if rest, ok := strings.CutPrefix(name, "up/"); ok {
			number, _, _ := strings.Cut(rest, "/")
			list = append(list, number)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// Manifests implements status.Files.
func (w *world) Manifests(_ context.Context, folder string) ([]int64, error) {
	var list []int64
	for name := range w.files {
		if base, ok := strings.CutPrefix(name, folder+"/"); ok {
			if n, ext, ok := manifest.ParseFileName(base); ok && ext == manifest.ManifestExt {
				list = append(list, n)
			}
		}
	}
	return list, nil
}

// Read implements status.Files.
func (w *world) Read(_ context.Context, name string, limit int64) ([]byte, error) {
	data, ok := w.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: too large", name)
	}
	return data, nil
}

func (w *world) gather(now time.Time) *status.Dossier {
	w.t.Helper()
	d, err := status.Gather(w.t.Context(), w, "ACME", w.trust, status.Options{Now: now, History: 200})
	w.check(err)
	return d
}

func TestGather(t *testing.T) {
	for _, c := range []struct {
		name    string
		applied int64
		now     time.Time
		edit    func(*manifest.Head, *manifest.Receipt)
		after   func(*world)
		state   status.State
		want    func(status.Till) bool
		says    string // an alarm that must stand, "" for none
	}{
		{name: "up to date", applied: 5, state: status.Well, want: func(x status.Till) bool {
			return x.LagBatches == 0 && x.LagSeconds == 0 && x.Sealed == 2 && x.Integrated == 1 && x.Undelivered == 1 && x.Waiting == 7 && x.Host == "caisse-017" && x.SilentSeconds == 600
		}},
		{name: "two batches behind", applied: 3, state: status.Well, want: func(x status.Till) bool { return x.LagBatches == 2 && x.LagSeconds == 45*60 }},
		{name: "long behind", applied: 1, state: status.Look, want: func(x status.Till) bool { return x.LagBatches == 4 && x.LagSeconds == 105*60 }},
		{name: "nothing applied yet", state: status.Look, want: func(x status.Till) bool { return x.LagBatches == 5 && x.LagSeconds == 135*60 }},
		{name: "silent", applied: 5, state: status.Look, edit: func(h *manifest.Head, _ *manifest.Receipt) {
			h.Issued, h.Expires = noon.Add(-72*time.Hour), noon.Add(-48*time.Hour)
		},
			want: func(x status.Till) bool { return x.Silent && x.SilentSeconds == 72*3600 }},
		{name: "clock behind", applied: 5, state: status.Look, edit: func(h *manifest.Head, _ *manifest.Receipt) { h.Issued = noon.Add(-3 * time.Hour) },
			want: func(x status.Till) bool { return x.ClockBehind == 165*60 && x.ClockAhead == 0 }},
		{name: "clock ahead by the receipt", applied: 5, state: status.Look, edit: func(_ *manifest.Head, r *manifest.Receipt) { r.Issued = noon.Add(-2 * time.Hour) },
			want: func(x status.Till) bool { return x.ClockAhead == 70*60 }},
		{name: "clock ahead of ours", applied: 5, state: status.Look, edit: func(h *manifest.Head, _ *manifest.Receipt) { h.Issued = noon.Add(time.Hour) },
			want: func(x status.Till) bool { return x.ClockAhead == 3600 && x.SilentSeconds == 0 }},
		{name: "in quarantine", applied: 5, state: status.Alarm, edit: func(_ *manifest.Head, r *manifest.Receipt) { r.Waiting = 4 },
			want: func(x status.Till) bool { return x.Quarantine == 4 }},
		{name: "an alarm of the till", applied: 5, state: status.Alarm, edit: func(h *manifest.Head, _ *manifest.Receipt) { h.Till.Alarms = []string{"the disk is full"} }, says: "the disk is full"},
		{name: "another batch applied than is there", applied: 5, state: status.Alarm, edit: func(h *manifest.Head, _ *manifest.Receipt) { h.Till.Applied.Digest = strings.Repeat("b", 64) }, says: "another batch 5"},
		{name: "a changed head", applied: 5, state: status.Alarm, after: func(w *world) { w.files["up/017/HEAD.json"][30] ^= 1 }, says: "rule S5",
			want: func(x status.Till) bool { return x.Integrated == 1 && x.Sealed == 0 }},
		{name: "a changed receipt", applied: 5, state: status.Alarm, after: func(w *world) { w.files["receipts/017.json"][30] ^= 1 }, says: "rule S5",
			want: func(x status.Till) bool { return x.Integrated == 0 && x.Sealed == 2 }},
		{name: "another till's head", applied: 5, state: status.Alarm, after: func(w *world) {
			w.sells("018", 5, nil)
			w.files["up/017/HEAD.json"], w.files["up/017/HEAD.json.sig"] = w.files["up/018/HEAD.json"], w.files["up/018/HEAD.json.sig"]
		}, says: "belongs to stream ACME/up/018"},
		{name: "a receipt of another batch", applied: 5, state: status.Alarm, edit: func(_ *manifest.Head, r *manifest.Receipt) { r.Digest = strings.Repeat("c", 64) }, says: "another batch 1"},
		{name: "an endless head", applied: 5, state: status.Alarm, after: func(w *world) { w.files["up/017/HEAD.json"] = make([]byte, 20<<10) }, says: "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.sells("017", c.applied, c.edit)
			if c.after != nil {
				c.after(w)
			}
			d := w.gather(noon)
			x := d.Tills[0]
			if x.State != c.state || c.want != nil && !c.want(x) {
				t.Errorf("state %s, want %s: %+v", x.State, c.state, x)
			}
			if text := strings.Join(x.Alarms, "\n"); c.says == "" && text != "" || !strings.Contains(text, c.says) {
				t.Errorf("alarms %q, want %q", text, c.says)
			}
			if len(d.Down.Alarms) > 0 {
				t.Errorf("alarms of the stream down: %v", d.Down.Alarms)
			}
		})
	}
}

func TestDown(t *testing.T) {
	w := newWorld(t)
	w.sells("017", 5, nil)
	if d := w.gather(noon.Add(25 * time.Hour)); d.Alarms() != 1 || !strings.Contains(d.Down.Alarms[0], "expired") {
		t.Errorf("a stale head: %v", d.Down.Alarms)
	}
	w.files["down/HEAD.json"][40] ^= 1
	if d := w.gather(noon); d.Alarms() != 1 || d.Down.Sequence != 0 || len(d.Tills) != 1 {
		t.Errorf("a changed head: %+v", d.Down)
	}
	delete(w.files, "down/HEAD.json")
	if d := w.gather(noon); !strings.Contains(strings.Join(d.Down.Alarms, ""), "no head") {
		t.Errorf("no head: %v", d.Down.Alarms)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := status.Gather(ctx, w, "ACME", w.trust, status.Options{Now: noon}); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}

// hostile are words that a till may say of itself, as far as a head takes them.
var hostile = []string{`<script>alert(1)</script>`, `"} 1` + "\\", "\u202egnp.exe", `a"b\c`, "{{.}}", strings.Repeat("é", 100)}

// TestPrometheus reads what was written strictly: each family is announced
// once before its samples, no series stands twice, labels are quoted.
func TestPrometheus(t *testing.T) {
	w := newWorld(t)
	w.packages("caisse 3.2.0 7 linux", "caisse 3.2.1 8 linux")
	for i, s := range hostile {
		w.sells("017", int64(i%5), func(h *manifest.Head, _ *manifest.Receipt) {
			h.Till.Host, h.Till.Version, h.Till.Alarms = s, s, []string{s}
			h.Till.Software = &manifest.Software{Packages: []manifest.Installed{{Product: "caisse", Version: "3.2.0", Release: 7, Sequence: 1}},
				Updates: []manifest.Update{{At: noon, Product: "caisse", Version: "3.2.1", Release: 8, Sequence: 2, Outcome: manifest.WasRolledBack, By: manifest.Clip(s, manifest.MaxBy), Reason: s}}}
		})
		w.sells("018", 0, nil)
		d := w.gather(noon)
		var b bytes.Buffer
		w.check(status.Prometheus(&b, []*status.Dossier{d}))
		series, family := map[string]bool{}, ""
		types := map[string]bool{}
		sample := regexp.MustCompile(`^([a-z_]+)(\{[a-z]+="(?:[^"\\\n]|\\\\|\\"|\\n)*"(?:,[a-z]+="(?:[^"\\\n]|\\\\|\\"|\\n)*")*\}) (-?[0-9.]+)$`)
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
				family, _, _ = strings.Cut(rest, " ")
				if types[family] {
					t.Errorf("%s is announced twice", family)
				}
				types[family] = true
				continue
			}
			if strings.HasPrefix(line, "# HELP ") {
				continue
			}
			m := sample.FindStringSubmatch(line)
			if m == nil || m[1] != family || series[m[1]+m[2]] {
				t.Fatalf("not a sample of %s: %q", family, line)
			}
			if _, err := strconv.ParseFloat(m[3], 64); err != nil {
				t.Error(err)
			}
			series[m[1]+m[2]] = true
		}
		for _, want := range []string{`caisseauto_till_waiting_rows{dossier="ACME",till="017"} 7`, `caisseauto_down_sequence{dossier="ACME"} 5`, `caisseauto_till_oldest_waiting_seconds{dossier="ACME",till="018"} 1200`,
			`caisseauto_till_package_release{dossier="ACME",till="017",product="caisse",version="3.2.0"} 7`,
			`caisseauto_till_package_next_release{dossier="ACME",till="017",product="caisse",version="3.2.1"} 8`,
			`caisseauto_till_update_installed{dossier="ACME",till="017",product="caisse",version="3.2.1",outcome="rolled back"} 0`,
			`caisseauto_packages_sequence{dossier="ACME"} 2`, `caisseauto_packages_alarms{dossier="ACME"} 0`} {
			if !strings.Contains(b.String(), want+"\n") {
				t.Errorf("lacks %s", want)
			}
		}
	}
}

// TestHTML: the page names every till, the worst first, and shows hostile
// words as words.
func TestHTML(t *testing.T) {
	w := newWorld(t)
	w.packages("caisse 3.2.0 7 linux", "caisse 3.2.1 8 linux")
	w.sells("018", 5, func(h *manifest.Head, _ *manifest.Receipt) { h.Till.Software = &manifest.Software{} })
	for _, s := range hostile {
		w.sells("017", 1, func(h *manifest.Head, r *manifest.Receipt) {
			h.Till.Host, h.Till.Version, h.Till.Alarms, r.Waiting = s, s, []string{s}, 3
			h.Till.Software = &manifest.Software{Packages: []manifest.Installed{{Product: "caisse", Version: "3.2.0", Release: 7, Sequence: 1}},
				Updates: []manifest.Update{{At: noon, Product: "caisse", Version: "3.2.1", Release: 8, Sequence: 2, Outcome: manifest.WasRolledBack, By: manifest.Clip(s, manifest.MaxBy), Reason: s}}}
		})
		var b bytes.Buffer
		w.check(status.HTML(&b, []*status.Dossier{w.gather(noon)}))
		page := b.String()
		if list := strings.Index(page, `<ul class="problems">`); list < 0 || list > strings.Index(page, "<table") {
			t.Error("what is wrong does not stand before the table of all tills")
		}
		for _, want := range []string{"1 in alarm", "<b>017</b>", "<b>018</b>", "up to date", "4, 1h45m", "caisseauto quarantine list", "seven days",
			"caisse 3.2.0 (7), 8 is on the drop</td>", ">none</td>", "caisse 3.2.1 (8) was rolled back at 2026-03-01T12:00:00Z", "The packages stand at batch 2"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		if strings.Index(page, "<b>017</b>") > strings.Index(page, "<b>018</b>") {
			t.Error("the till in alarm does not come first")
		}
		if strings.Contains(page, "<script") || strings.Contains(page, "\u202e") {
			t.Errorf("%q stands in the page as it is", s)
		}
	}
}

// TestManyTills: a page for a thousand tills stays small enough for a phone.
func TestManyTills(t *testing.T) {
	w := newWorld(t)
	w.sells("017", 1, nil)
	d := w.gather(noon)
	for i := range 1000 {
		x := d.Tills[0]
		x.Till = fmt.Sprintf("T%04d", i)
		d.Tills = append(d.Tills, x)
	}
	var b bytes.Buffer
	w.check(status.HTML(&b, []*status.Dossier{d}))
	if b.Len() > 3<<20 || !strings.Contains(b.String(), "The 901 tills that are best off are left out") || !strings.Contains(b.String(), "T0999") {
		t.Errorf("%d bytes", b.Len())
	}
}
