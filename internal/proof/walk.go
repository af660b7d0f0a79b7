package proof

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"caisseauto/manifest"
)

// walk verifies the manifests one by one.
func (p *prover) walk(ctx context.Context) error {
	numbers, err := p.files.Manifests(ctx, p.folder)
	if err != nil {
		return err
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := p.folder + "/" + manifest.FileName(n, manifest.ManifestExt)
		doc, sig, ok, err := p.pair(ctx, name, manifest.MaxManifest)
		if err != nil {
			return err
		}
		if !ok {
			p.report.miss("%s: it has no signature", name)
			continue
		}
		m, position, err := manifest.Open(name, p.stream, doc, sig, p.trust)
		if err == nil {
			err = m.Expect(name, p.stream, n)
		}
		if err != nil {
			p.report.miss("%v", err)
			continue
		}
		if err := p.take(m, position); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if p.head != nil && p.head.Sequence > p.last.Sequence {
		p.report.miss("%s: the till's head names batch %d, the newest manifest here is %d", p.folder, p.head.Sequence, p.last.Sequence)
	}
	return nil
}

// take adds one verified manifest.
func (p *prover) take(m *manifest.Manifest, position manifest.Position) (err error) {
	p.chain(m)
	p.last = position
	if p.head != nil && m.Sequence == p.head.Sequence && position != p.head.Position() {
		p.report.miss("the till's head names another batch %d (%s) than the one here (%s): forked", m.Sequence, p.head.Digest, position.Digest)
	}
	got := p.receipt != nil && m.Sequence <= p.receipt.Sequence
	if p.receipt != nil && m.Sequence == p.receipt.Sequence {
		if position != p.receipt.Position() {
			p.report.miss("the receipt names another batch %d (%s) than the one here (%s): forked", m.Sequence, p.receipt.Digest, position.Digest)
		}
		p.covered = true
	}
	if err := p.count(m); err != nil {
		return err
	}
	if got {
		if p.receipted, err = manifest.AddTotals(p.receipted, m.Totals); err != nil {
			return err
		}
	}
	if !p.o.wants(m) {
		return nil
	}
	p.report.Batches++
	p.wanted[m.Sequence] = true
	if p.sealed, err = manifest.AddTotals(p.sealed, m.Totals); err != nil {
		return err
	}
	if !got {
		return p.undelivered.add(m)
	}
	p.report.Delivered++
	p.delivered, err = manifest.AddTotals(p.delivered, m.Totals)
	return err
}

// count remembers every number, whatever part of the stream is asked for.
func (p *prover) count(m *manifest.Manifest) error {
	for _, t := range m.Totals {
		numbers, err := manifest.ParseRanges(t.Numbers)
		if err != nil {
			return err
		}
		all := p.numbers[t.Table]
		for _, r := range numbers {
			all.Add(r.Lo, r.Hi)
		}
		p.numbers[t.Table] = all
	}
	return nil
}

// tail is the batches that no receipt covers: the last ones, in a row.
type tail struct {
	count        int
	first, last  int64
	since, until time.Time
	totals       []manifest.Total
}

func (u *tail) add(m *manifest.Manifest) (err error) {
	if u.count == 0 {
		u.first, u.since = m.Sequence, m.Created
	}
	u.count++
	u.last, u.until = m.Sequence, m.Created
	u.totals, err = manifest.AddTotals(u.totals, m.Totals)
	return err
}

// chain holds a manifest against the one before it.
func (p *prover) chain(m *manifest.Manifest) {
	first := m.Previous == manifest.NoPrevious()
	switch {
	case p.last.IsZero():
		if !first || m.Sequence != 1 && m.Epoch == 1 {
			p.report.miss("%s: the manifests before batch %d are missing", p.folder, m.Sequence)
		}
	case m.Epoch == p.last.Epoch && (m.Sequence != p.last.Sequence+1 || m.Previous != p.last.Digest):
		if m.Sequence > p.last.Sequence+1 {
			p.report.miss("%s: manifests %s are missing", p.folder, span(p.last.Sequence+1, m.Sequence-1))
		} else {
			p.report.miss("%s: batch %d does not name batch %d here as the one before it", p.folder, m.Sequence, p.last.Sequence)
		}
	case m.Epoch < p.last.Epoch, m.Epoch > p.last.Epoch && !first:
		p.report.miss("%s: batch %d of epoch %d does not follow batch %d of epoch %d", p.folder, m.Sequence, m.Epoch, p.last.Sequence, p.last.Epoch)
	case m.Epoch > p.last.Epoch:
		p.report.say("epoch %d begins with batch %d, after batch %d: the till was restored or made anew", m.Epoch, m.Sequence, p.last.Sequence)
	}
}

func stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05Z") }

func span(lo, hi int64) string {
	if lo == hi {
		return fmt.Sprint(lo)
	}
	return fmt.Sprintf("%d to %d", lo, hi)
}

// rows counts what a batch holds.
func rows(totals []manifest.Total) string {
	var list []string
	for _, t := range totals {
		list = append(list, t.Rows+" "+t.Table)
	}
	return strings.Join(list, ", ")
}
