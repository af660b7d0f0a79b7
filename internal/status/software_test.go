package status_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/status"
	"caisseauto/manifest"
)

// packages seals the stream of packages, each "product version release os", and
// a "from" where it is a way back, and its head.
func (w *world) packages(list ...string) {
	w.t.Helper()
	last := manifest.Position{}
	for i, text := range list {
		n := int64(i + 1)
		p := &manifest.Package{Arch: "amd64", Files: []manifest.File{{Name: "f", Mode: manifest.ModeData, SHA256: manifest.Digest(nil)}}}
		from := int64(0)
		if k, _ := fmt.Sscan(text, &p.Product, &p.Version, &p.Release, &p.OS, &from); k == 5 {
			p.Rollback = &manifest.Rollback{From: from, To: p.Release}
		}
		m := &manifest.Manifest{Format: manifest.Format, Stream: "ACME/packages", Epoch: 1, Sequence: n, Previous: last.Digest, Kind: manifest.KindPackage, Created: noon, Signer: "release@acme", Package: p,
			Archive: manifest.Archive{Name: manifest.FileName(n, manifest.ArchiveExt), Size: 600, SHA256: strings.Repeat("a", 64), TarSize: 1536}}
		if n == 1 {
			m.Previous = manifest.NoPrevious()
		}
		doc, sig, err := manifest.Seal(m, w.release)
		w.check(err)
		name := "packages/" + manifest.FileName(n, manifest.ManifestExt)
		w.files[name], w.files[name+".sig"] = doc, sig
		last = manifest.Position{Epoch: 1, Sequence: n, Digest: manifest.Digest(doc)}
	}
	w.packagesHead(last, noon.Add(24*time.Hour))
}

func (w *world) packagesHead(last manifest.Position, expires time.Time) {
	w.t.Helper()
	w.head("packages", w.release, &manifest.Head{Stream: "ACME/packages", Epoch: 1, Sequence: last.Sequence, Digest: last.Digest, Oldest: 1, Issue: 1,
		Issued: noon.Add(-time.Hour), Expires: expires})
}

// runs is what the head of a till says, each package "product version release
// sequence".
func runs(list ...string) *manifest.Software {
	s := &manifest.Software{}
	for _, text := range list {
		var p manifest.Installed
		_, _ = fmt.Sscan(text, &p.Product, &p.Version, &p.Release, &p.Sequence)
		s.Packages = append(s.Packages, p)
	}
	return s
}

func tried(product string, release int64, o manifest.Outcome, by, reason string) manifest.Update {
	return manifest.Update{At: noon.Add(time.Duration(release) * time.Minute), Product: product, Version: "v", Release: release, Sequence: 1, Outcome: o, By: by, Reason: reason}
}

// TestPackages: which till runs what, and what else there is for it.
func TestPackages(t *testing.T) {
	stream := []string{"caisse 3.1 6 linux", "base 1.0 4 any", "caisse 3.2 7 linux", "caisse 3.3 8 windows", "base 1.0 3 any 4"}
	for _, c := range []struct {
		name     string
		software *manifest.Software
		stream   []string
		after    func(*world)
		want     string
		alarm    string // of the packages
	}{
		{"the head says nothing", nil, stream, nil, "-", ""},
		{"nothing runs", runs(), stream, nil, "none", ""},
		{"an older release", runs("caisse 3.1 6 1"), stream, nil, "caisse 3.1 (6), 7 is on the drop", ""},
		{"several, a way back", runs("base 1.0 4 2", "caisse 3.2 7 3"), stream, nil, "base 1.0 (4), 3 is on the drop; caisse 3.2 (7)", ""},
		{"went back", runs("base 1.0 3 5"), stream, nil, "base 1.0 (3)", ""},
		{"of another machine", runs("caisse 3.3 8 4"), stream, nil, "caisse 3.3 (8)", ""},
		{"another product than that batch brought", runs("caisse 3.1 6 2"), []string{"caisse 3.1 6 linux", "base 1.0 6 linux", "caisse 3.2 7 linux"}, nil, "caisse 3.1 (6)", ""},
		{"another release than that batch brought", runs("caisse 3.0 5 1"), stream, nil, "caisse 3.0 (5)", ""},
		{"no packages on the drop", runs(), nil, nil, "none", ""},
		{"the packages are gone", runs("caisse 3.1 6 1"), nil, nil, "caisse 3.1 (6)", "somebody removed it"},
		{"an unsigned head", runs(), stream, func(w *world) { w.files["packages/HEAD.json"][40] ^= 1 }, "none", "rule S5"},
		{"the server's head", runs(), stream, func(w *world) {
			sig, err := w.server.Sign(w.files["packages/HEAD.json"], manifest.HeadNamespace)
			w.check(err)
			w.files["packages/HEAD.json.sig"] = sig
		}, "none", "rule S6"},
		{"a till's head", runs(), stream, func(w *world) {
			w.files["packages/HEAD.json"], w.files["packages/HEAD.json.sig"] = w.files["up/017/HEAD.json"], w.files["up/017/HEAD.json.sig"]
		}, "none", "rule P1"},
		{"an expired head", runs("caisse 3.1 6 1"), stream, func(w *world) {
			w.packagesHead(manifest.Position{Sequence: 5, Digest: manifest.Digest(w.files["packages/0000000005.manifest.json"])}, noon)
		}, "caisse 3.1 (6), 7 is on the drop", "tills install nothing"},
		{"an expired head, and no till that has to do with it", nil, stream, func(w *world) {
			w.packagesHead(manifest.Position{Sequence: 5, Digest: strings.Repeat("b", 64)}, noon)
		}, "-", ""},
		{"another batch than the head names", runs("caisse 3.1 6 1"), stream[:3], func(w *world) {
			w.packagesHead(manifest.Position{Sequence: 3, Digest: strings.Repeat("b", 64)}, noon.Add(time.Hour))
		}, "caisse 3.1 (6)", "another batch 3"},
		{"a changed manifest", runs("caisse 3.1 6 1"), stream, func(w *world) { w.files["packages/0000000003.manifest.json"][90] ^= 1 },
			"caisse 3.1 (6)", "0000000003.manifest.json"},
		{"a manifest that is gone", runs("caisse 3.1 6 1"), stream, func(w *world) { delete(w.files, "packages/0000000001.manifest.json") }, "caisse 3.1 (6)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.sells("017", 5, func(h *manifest.Head, _ *manifest.Receipt) { h.Till.Software = c.software })
			if c.stream != nil {
				w.packages(c.stream...)
			}
			if c.after != nil {
				c.after(w)
			}
			d := w.gather(noon)
			if got := d.Tills[0].Installed(); got != c.want || d.Tills[0].State != status.Well {
				t.Errorf("%q, state %s; want %q", got, d.Tills[0].State, c.want)
			}
			if text := strings.Join(d.Packages.Alarms, "\n"); c.alarm == "" && text != "" || !strings.Contains(text, c.alarm) || d.Alarms() != min(1, len(c.alarm)) {
				t.Errorf("alarms %q, want %q", text, c.alarm)
			}
		})
	}
}

// TestManyPackages: of a long stream the newest are read, and what runs.
func TestManyPackages(t *testing.T) {
	w := newWorld(t)
	var list []string
	for n := range 80 {
		list = append(list, fmt.Sprintf("caisse v %d linux", n+1))
	}
	w.packages(list...)
	w.sells("017", 5, func(h *manifest.Head, _ *manifest.Receipt) { h.Till.Software = runs("caisse v 10 10") })
	for n := range int64(50) {
		if n != 9 {
			w.files["packages/"+manifest.FileName(n+1, manifest.ManifestExt)] = []byte("not read")
		}
	}
	if d := w.gather(noon); d.Tills[0].Installed() != "caisse v (10), 80 is on the drop" || len(d.Packages.Alarms) > 0 {
		t.Errorf("%s %v", d.Tills[0].Installed(), d.Packages.Alarms)
	}
}

// TestUpdates: the last attempt of each product is told when it was not
// installed, and is no alarm.
func TestUpdates(t *testing.T) {
	for _, c := range []struct {
		name    string
		updates []manifest.Update
		want    []string
	}{
		{"none", nil, nil},
		{"installed", []manifest.Update{tried("caisse", 7, manifest.WasInstalled, "SYNC", "")}, nil},
		{"rolled back", []manifest.Update{tried("caisse", 6, manifest.WasInstalled, "", ""), tried("caisse", 7, manifest.WasRolledBack, "till: yes", "probe: exit status 3")},
			[]string{"caisse v (7) was rolled back at 2026-03-01T12:07:00Z: probe: exit status 3; confirmed by: till: yes"}},
		{"refused", []manifest.Update{tried("caisse", 7, manifest.WasRefused, "", "rule K9: base is not there")},
			[]string{"caisse v (7) was refused at 2026-03-01T12:07:00Z: rule K9: base is not there"}},
		{"rolled back, then installed", []manifest.Update{tried("caisse", 7, manifest.WasRolledBack, "", "probe"), tried("caisse", 8, manifest.WasInstalled, "", "")}, nil},
		{"one of two products", []manifest.Update{tried("caisse", 7, manifest.WasRolledBack, "", "probe"), tried("base", 8, manifest.WasInstalled, "", "")},
			[]string{"caisse v (7) was rolled back at 2026-03-01T12:07:00Z: probe"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.sells("017", 5, func(h *manifest.Head, _ *manifest.Receipt) { h.Till.Software = &manifest.Software{Updates: c.updates} })
			d := w.gather(noon)
			x := d.Tills[0]
			if got, want := strings.Join(x.Warnings, "\n"), strings.Join(c.want, "\n"); got != want || len(x.Updates) != len(c.updates) {
				t.Errorf("%q, want %q", got, want)
			}
			if want := map[bool]status.State{true: status.Look, false: status.Well}[len(c.want) > 0]; x.State != want || d.Alarms() != 0 {
				t.Errorf("state %s, want %s; %d alarms", x.State, want, d.Alarms())
			}
		})
	}
}
