package status

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"caisseauto/manifest"
)

// A gauge is one figure of a till, in base units.
type gauge struct {
	name, help string
	value      func(*Till, time.Time) (float64, bool)
}

func number(f func(*Till) float64) func(*Till, time.Time) (float64, bool) {
	return func(t *Till, _ time.Time) (float64, bool) { return f(t), true }
}

func since(f func(*Till) time.Time) func(*Till, time.Time) (float64, bool) {
	return func(t *Till, now time.Time) (float64, bool) {
		at := f(t)
		if at.IsZero() {
			return 0, false
		}
		return max(0, now.Sub(at).Seconds()), true
	}
}

var gauges = []gauge{
	{"till_sealed_sequence", "Newest batch that the till announces.", number(func(t *Till) float64 { return float64(t.Sealed) })},
	{"till_integrated_sequence", "Newest batch that the server's receipt covers.", number(func(t *Till) float64 { return float64(t.Integrated) })},
	{"till_applied_sequence", "Newest batch of the stream down that the till has applied.", number(func(t *Till) float64 { return float64(t.Applied) })},
	{"till_lag_batches", "Batches of the stream down that the till lacks.", number(func(t *Till) float64 { return float64(t.LagBatches) })},
	{"till_lag_seconds", "Age of the oldest batch of the stream down that the till lacks; 0: it lacks none.", number(func(t *Till) float64 { return t.LagSeconds })},
	{"till_undelivered_batches", "Batches that no receipt covers.", number(func(t *Till) float64 { return float64(t.Undelivered) })},
	{"till_waiting_rows", "Rows in the till's outbox that no receipt covers.", number(func(t *Till) float64 { return float64(t.Waiting) })},
	{"till_oldest_waiting_seconds", "Age of the oldest of these rows.", since(func(t *Till) time.Time { return t.OldestWaiting })},
	{"till_quarantine_rows", "Rows that wait in quarantine at the server.", number(func(t *Till) float64 { return float64(t.Quarantine) })},
	{"till_discarded_rows", "Rows that an operator has closed in quarantine.", number(func(t *Till) float64 { return float64(t.Discarded) })},
	{"till_silent_seconds", "Age of the till's newest head.", since(func(t *Till) time.Time { return t.Heard })},
	{"till_free_bytes", "Free space on the disk of the till's database; 0: not known.", number(func(t *Till) float64 { return float64(t.FreeBytes) })},
	{"till_clock_ahead_seconds", "By how much the till's clock is ahead at least.", number(func(t *Till) float64 { return t.ClockAhead })},
	{"till_clock_behind_seconds", "By how much the till's clock is behind at least.", number(func(t *Till) float64 { return t.ClockBehind })},
	{"till_alarms", "Alarms of the till.", number(func(t *Till) float64 { return float64(len(t.Alarms)) })},
}

// Prometheus writes the figures of all dossiers in the text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/), for the
// textfile collector of node_exporter.
func Prometheus(w io.Writer, list []*Dossier) error {
	var b bytes.Buffer
	family := func(name, help string, samples func(sampler)) {
		name = "caisseauto_" + name
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
		samples(func(value float64, labels ...string) {
			b.WriteString(name)
			for i := 0; i+1 < len(labels); i += 2 {
				fmt.Fprintf(&b, "%s%s=\"%s\"", []string{",", "{"}[btoi(i == 0)], labels[i], escape(labels[i+1]))
			}
			if len(labels) > 0 {
				b.WriteByte('}')
			}
			b.WriteString(" " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
		})
	}
	down := func(name, help string, value func(*Dossier) float64) {
		family(name, help, func(sample sampler) {
			for _, d := range list {
				sample(value(d), "dossier", d.Dossier)
			}
		})
	}
	down("status_timestamp_seconds", "When these figures were gathered.", func(d *Dossier) float64 { return float64(d.At.Unix()) })
	down("down_sequence", "Newest batch of the stream down.", func(d *Dossier) float64 { return float64(d.Down.Sequence) })
	down("down_head_age_seconds", "Age of the head of the stream down.", func(d *Dossier) float64 { return age(d.At, d.Down.Issued) })
	down("down_alarms", "Alarms of the stream down.", func(d *Dossier) float64 { return float64(len(d.Down.Alarms)) })
	down("packages_sequence", "Newest batch of the stream of packages.", func(d *Dossier) float64 { return float64(d.Packages.Sequence) })
	down("packages_alarms", "Alarms of the stream of packages.", func(d *Dossier) float64 { return float64(len(d.Packages.Alarms)) })
	down("tills", "Tills of the dossier.", func(d *Dossier) float64 { return float64(len(d.Tills)) })
	for _, g := range gauges {
		family(g.name, g.help, func(sample sampler) {
			for _, d := range list {
				for i := range d.Tills {
					if v, ok := g.value(&d.Tills[i], d.At); ok {
						sample(v, "dossier", d.Dossier, "till", d.Tills[i].Till)
					}
				}
			}
		})
	}
	software(family, list)
	family("till_info", "1, with what the till says of itself.", func(sample sampler) {
		for _, d := range list {
			for _, t := range d.Tills {
				sample(1, "dossier", d.Dossier, "till", t.Till, "host", t.Host, "version", t.Version, "state", string(t.State))
			}
		}
	})
	_, err := w.Write(b.Bytes())
	return err
}

// A sampler writes one sample of a family.
type sampler func(value float64, labels ...string)

// software writes the families about the software that runs on tills.
func software(family func(name, help string, samples func(sampler)), list []*Dossier) {
	tills := func(name, help string, each func(t *Till, sample sampler)) {
		family(name, help, func(sample sampler) {
			for _, d := range list {
				for i := range d.Tills {
					t := &d.Tills[i]
					each(t, func(value float64, labels ...string) {
						sample(value, append([]string{"dossier", d.Dossier, "till", t.Till}, labels...)...)
					})
				}
			}
		})
	}
	tills("till_package_release", "Release of the product that runs.", func(t *Till, sample sampler) {
		for _, p := range t.Packages {
			sample(float64(p.Release), "product", p.Product, "version", p.Version)
		}
	})
	tills("till_package_next_release", "Release on the drop that takes the place of the one that runs; no sample: none.", func(t *Till, sample sampler) {
		for _, p := range t.Packages {
			if p.Next != nil {
				sample(float64(p.Next.Release), "product", p.Product, "version", p.Next.Version)
			}
		}
	})
	tills("till_update_installed", "1: the last attempt to install a package of the product has installed it; 0: it was refused or rolled back.", func(t *Till, sample sampler) {
		for _, u := range t.lastUpdates() {
			sample(float64(btoi(u.Outcome == manifest.WasInstalled)), "product", u.Product, "version", u.Version, "outcome", string(u.Outcome))
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func age(now, then time.Time) float64 {
	if then.IsZero() {
		return 0
	}
	return max(0, now.Sub(then).Seconds())
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// escape writes the value of a label.
func escape(s string) string { return escaper.Replace(strings.ToValidUTF8(s, "\ufffd")) }
