package proof

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"caisseauto/manifest"
)

// judge compares what was sealed with what was integrated, and says both.
func (p *prover) judge() error {
	if p.receipt != nil && !p.covered {
		p.report.miss("the receipt names batch %d, whose manifest is not here", p.receipt.Sequence)
	}
	if u := p.undelivered; u.count > 0 {
		p.report.miss("not delivered yet: batches %s, sealed from %s to %s: no receipt covers them (%s)",
			span(u.first, u.last), stamp(u.since), stamp(u.until), rows(u.totals))
	}
	held := p.quarantine()
	if p.receipt != nil {
		lost, err := manifest.SubTotals(p.receipted, p.receipt.Totals)
		if err != nil {
			return err
		}
		// What the receipt lacks is missing, wherever in the stream it was:
		// totals do not say in which batch. Only when quarantine explains it
		// to the last row is it known to lie outside the part.
		if !p.o.partial() || held > 0 || !p.explained(lost) {
			p.lacking(lost)
		}
		p.invented()
	}
	p.report.say("batches: %d of %d delivered, each signed and naming the one before it", p.report.Delivered, p.report.Batches)
	for _, t := range p.sealed {
		if err := p.line(t, held); err != nil {
			return err
		}
	}
	p.sayHead()
	return nil
}

// quarantine names what of the part was received and not integrated, and
// returns how many rows that is.
func (p *prover) quarantine() (held int64) {
	if p.receipt == nil {
		return 0
	}
	for _, h := range p.receipt.Held {
		if p.o.partial() && !p.wanted[h.Sequence] {
			continue
		}
		held += h.Rows
		what := fmt.Sprintf("%d rows of batch %d", h.Rows, h.Sequence)
		if h.Table != "" {
			what += fmt.Sprintf(", %s %s", h.Table, h.Key)
		}
		if h.Closed != "" {
			p.report.miss("%s: discarded by an operator (%s); it was in quarantine: %s", what, h.Closed, h.Reason)
		} else {
			p.report.miss("%s: in quarantine: %s", what, h.Reason)
		}
	}
	if rest := p.unnamed(); rest > 0 {
		p.report.miss("%d more rows are in quarantine or were discarded, which the receipt counts and does not name", rest)
		held += rest
	}
	return held
}

// unnamed returns how many rows the receipt says are in quarantine or closed
// beyond those that it names.
func (p *prover) unnamed() int64 {
	rest := p.receipt.Waiting + p.receipt.Discarded
	for _, h := range p.receipt.Held {
		rest -= h.Rows
	}
	return max(rest, 0)
}

// explained reports whether what was not integrated is, to the row, what the
// receipt names as being in quarantine.
func (p *prover) explained(lost []manifest.Total) bool {
	left := p.receipt.Waiting + p.receipt.Discarded
	for _, t := range lost {
		n, err := strconv.ParseInt(t.Rows, 10, 64)
		if err != nil || n <= 0 {
			return false
		}
		left -= n
	}
	return left == 0
}

// lacking names what manifests hold and the receipt does not.
func (p *prover) lacking(lost []manifest.Total) {
	for _, t := range lost {
		var less, more []string
		note := func(n, what string) {
			switch over, negative := strings.CutPrefix(n, "-"); {
			case negative:
				more = append(more, over+what)
			case n != "0":
				less = append(less, n+what)
			}
		}
		note(t.Rows, " rows")
		known := find(p.receipted, t.Table)
		for _, s := range t.Sums {
			// The server may sum a column that the till was not asked for then.
			if _, there := sumOf(known, s.Column); there {
				note(s.Sum, " of "+s.Column)
			}
		}
		if numbers, err := manifest.ParseRanges(t.Numbers); err == nil && len(numbers) > 0 {
			less = append(less, "numbers "+some(numbers))
		}
		if len(less) > 0 {
			p.report.miss("%s: not integrated: %s", t.Table, strings.Join(less, "; "))
		}
		if len(more) > 0 {
			p.report.miss("%s: the receipt counts %s more than the manifests here hold", t.Table, strings.Join(more, "; "))
		}
	}
}

// invented names numbers that the receipt counts and no manifest here holds.
func (p *prover) invented() {
	for _, t := range p.receipt.Totals {
		numbers, err := manifest.ParseRanges(t.Numbers)
		if err != nil {
			continue // a receipt that was opened has none
		}
		if extra := minus(numbers, p.numbers[t.Table]); len(extra) > 0 {
			p.report.miss("%s: the receipt counts numbers %s, which no manifest here holds", t.Table, some(extra))
		}
	}
}

// line says how much of one table has arrived. held is how many rows of the
// part are in quarantine.
func (p *prover) line(sealed manifest.Total, held int64) error {
	var got manifest.Total
	switch {
	case p.receipt == nil:
	case p.o.partial(): // the receipt's totals are those of the whole stream
		got = find(p.delivered, sealed.Table)
	default:
		got = find(p.receipt.Totals, sealed.Table)
	}
	// The receipt does not say the sums of what is in quarantine.
	unknown := p.o.partial() && held > 0
	text := sealed.Table + ": " + of(orZero(got.Rows), sealed.Rows, unknown) + " rows"
	numbers, err := manifest.ParseRanges(sealed.Numbers)
	if err != nil {
		return err
	}
	if len(numbers) > 0 {
		arrived, err := p.arrived(sealed.Table)
		if err != nil {
			return err
		}
		here := numbers.Count() - minus(numbers, arrived).Count()
		text = fmt.Sprintf("%s: %d of %d, numbers %s", sealed.Table, here, numbers.Count(), some(numbers))
		// A number that is not in the part may be in another one.
		if holes := minus(numbers.Holes(), p.numbers[sealed.Table]); len(holes) > 0 {
			p.report.miss("%s: numbers %s were never sealed: a gap in what the till numbers without gaps", sealed.Table, some(holes))
		} else if len(numbers) == 1 {
			text += " without a gap"
		}
	}
	for _, s := range sealed.Sums {
		sum, _ := sumOf(got, s.Column)
		text += fmt.Sprintf("; %s %s", s.Column, of(orZero(sum), s.Sum, unknown))
	}
	p.report.say("%s", text)
	return nil
}

// of says "3 of 4", or "4 sealed" where nobody knows how many arrived.
func of(got, sealed string, unknown bool) string {
	if unknown {
		return sealed + " sealed"
	}
	return got + " of " + sealed
}

// arrived returns the numbers of a table that the receipt counts.
func (p *prover) arrived(table string) (manifest.Ranges, error) {
	if p.receipt == nil {
		return nil, nil
	}
	return manifest.ParseRanges(find(p.receipt.Totals, table).Numbers)
}

// sayHead says what the till says of itself; none of it is a proof.
func (p *prover) sayHead() {
	switch {
	case p.head == nil:
		p.report.say("no head of the till is here: nothing says how far its stream goes beyond these batches")
	case p.report.Waiting > 0:
		p.report.say("on the till: %d rows in its outbox at %s, not sealed yet or without a receipt", p.report.Waiting, stamp(p.head.Issued))
	}
}

// minus returns what is in a and not in b.
func minus(a, b manifest.Ranges) manifest.Ranges {
	left := slices.Clone(a)
	for _, r := range b {
		left.Remove(r.Lo, r.Hi)
	}
	return left
}

// someRanges is how many ranges a line names.
const someRanges = 20

// some writes the first of many ranges.
func some(r manifest.Ranges) string {
	if len(r) <= someRanges {
		return r.String()
	}
	return fmt.Sprintf("%s and %d more up to %d", r[:someRanges], r[someRanges:].Count(), r[len(r)-1].Hi)
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func sumOf(t manifest.Total, column string) (string, bool) {
	for _, s := range t.Sums {
		if s.Column == column {
			return s.Sum, true
		}
	}
	return "", false
}

func find(totals []manifest.Total, table string) manifest.Total {
	i := slices.IndexFunc(totals, func(t manifest.Total) bool { return t.Table == table })
	if i < 0 {
		return manifest.Total{Table: table}
	}
	return totals[i]
}
