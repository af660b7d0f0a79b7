package status

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"caisseauto/manifest"
)

// till reads what one till and the server say of it.
func (g *gathering) till(number string) (Till, error) {
	t := Till{Till: number, State: Well, Alarms: []string{}, Warnings: []string{}}
	stream, folder := manifest.StreamUp(g.d.Dossier, number), "up/"+number
	var head *manifest.Head
	name := folder + "/" + manifest.HeadName
	err := g.pair(name, manifest.MaxHead, func(doc, sig []byte) error {
		h, err := manifest.OpenHead(g.d.Dossier+"/"+name, doc, sig, g.trust)
		if err == nil {
			err = h.Expect(g.d.Dossier+"/"+name, stream)
		}
		head = h
		return err
	})
	if err != nil {
		head = nil
	}
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		if err := g.said(&t.Alarms, err); err != nil {
			return t, err
		}
	}
	receipt, err := g.receipt(&t, stream)
	if err != nil {
		return t, err
	}
	if gone && receipt != nil {
		t.Alarms = append(t.Alarms, fmt.Sprintf("the server has taken its batch %d, but its head is not there: somebody removed it", receipt.Sequence))
	}
	if head != nil {
		g.heard(&t, head)
	}
	t.Undelivered = max(0, t.Sealed-t.Integrated)
	g.clock(&t, stream, folder, head, receipt)
	if t.History, err = g.history(stream, folder, &t.Alarms); err != nil {
		return t, err
	}
	t.judge(head != nil)
	return t, g.ctx.Err()
}

// receipt reads the server's receipt. nil: there is none that is good.
func (g *gathering) receipt(t *Till, stream string) (*manifest.Receipt, error) {
	var receipt *manifest.Receipt
	name := "receipts/" + manifest.ReceiptName(t.Till)
	err := g.pair(name, manifest.MaxReceipt, func(doc, sig []byte) (err error) {
		receipt, err = manifest.OpenReceipt(g.d.Dossier+"/"+name, stream, doc, sig, g.trust)
		return err
	})
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, g.said(&t.Alarms, err)
	}
	t.Integrated, t.Receipted, t.Quarantine, t.Discarded = receipt.Sequence, receipt.Issued, receipt.Waiting, receipt.Discarded
	return receipt, nil
}

// heard takes over what the till's head says.
func (g *gathering) heard(t *Till, h *manifest.Head) {
	t.Sealed, t.Heard = h.Sequence, h.Issued
	t.SilentSeconds, t.Silent = max(0, g.o.Now.Sub(h.Issued).Truncate(time.Second).Seconds()), h.Expired(g.o.Now)
	s := h.Till
	t.Host, t.Version, t.FreeBytes, t.Incarnation = s.Host, s.Version, s.FreeBytes, s.Incarnation
	t.Waiting, t.OldestWaiting = s.Waiting, s.OldestWaiting
	t.Alarms = append(t.Alarms, s.Alarms...)
	t.runs(s.Software)
	applied := int64(0)
	if s.Applied != nil {
		applied = s.Applied.Sequence
	}
	t.Applied = applied
	if applied > 0 {
		switch here := g.seal(applied); {
		case here.err == nil && here.digest != s.Applied.Digest:
			t.Alarms = append(t.Alarms, fmt.Sprintf("the till has applied another batch %d of %s than the one that is on the drop: the writer signed two, or somebody exchanged them", applied, s.Applied.Stream))
		case here.err != nil && !errors.Is(here.err, fs.ErrNotExist):
			if err := g.said(&t.Alarms, here.err); err != nil {
				return // the caller finds that ctx has ended
			}
		}
	}
	if t.LagBatches = max(0, g.d.Down.Sequence-applied); t.LagBatches > 0 {
		// A till that has nothing yet begins with the newest baseline.
		next := applied + 1
		if applied == 0 {
			next = max(1, g.d.Down.Baseline)
		}
		if lacks := g.seal(next); lacks.err == nil {
			t.LagSeconds = max(0, g.o.Now.Sub(lacks.created).Truncate(time.Second).Seconds())
		}
	}
}

// clock finds how far the till's clock is off at least.
func (g *gathering) clock(t *Till, stream, folder string, h *manifest.Head, r *manifest.Receipt) {
	if h != nil {
		ahead(t, h.Issued.Sub(g.o.Now))
		if h.Till.Applied != nil {
			if s := g.seal(h.Till.Applied.Sequence); s.err == nil {
				behind(t, s.created.Sub(h.Issued))
			}
		}
	}
	if r == nil {
		return
	}
	m, digest, err := g.manifest(stream, folder, r.Sequence)
	switch {
	case err == nil && digest != r.Digest:
		t.Alarms = append(t.Alarms, fmt.Sprintf("the receipt names another batch %d than the one that is on the drop", r.Sequence))
	case err == nil:
		ahead(t, m.Created.Sub(r.Issued))
	case !errors.Is(err, fs.ErrNotExist):
		_ = g.said(&t.Alarms, err) // the caller finds that ctx has ended
	}
}

func ahead(t *Till, d time.Duration) {
	if d > skew {
		t.ClockAhead = max(t.ClockAhead, d.Seconds())
	}
}

func behind(t *Till, d time.Duration) {
	if d > skew {
		t.ClockBehind = max(t.ClockBehind, d.Seconds())
	}
}

// late is how long a till may lack a batch before that is told.
const late = time.Hour

// judge sums it up.
func (t *Till) judge(heard bool) {
	switch {
	case len(t.Alarms) > 0 || t.Quarantine > 0:
		t.State = Alarm
	case !heard, t.Silent, len(t.Warnings) > 0, t.ClockAhead > 0, t.ClockBehind > 0, t.LagSeconds > late.Seconds():
		t.State = Look
	}
}

// Held takes over what the server's database says is in quarantine now, which
// the newest receipt may not say yet.
func (t *Till) Held(waiting, discarded int64) {
	t.Quarantine, t.Discarded, t.State = waiting, discarded, Well
	t.judge(!t.Heard.IsZero())
}
