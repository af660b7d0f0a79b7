package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"caisseauto/importer"
	"caisseauto/internal/collect"
	"caisseauto/internal/drop"
	"caisseauto/keys"
)

// A worker collects from one till after the other, over a connection of its
// own to the database and to the drop.
type worker struct {
	c     *collection
	db    *collect.Collector
	drop  drop.Drop // nil with --no-fetch
	inbox drop.Drop
	out   drop.Drop // the outbox: receipts
}

func (c *collection) worker(ctx context.Context) (_ *worker, err error) {
	w := &worker{c: c}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.db, err = c.erp.collector(ctx, c.cfg.Paths.Stage); err != nil {
		return nil, err
	}
	if !c.flags.noFetch {
		if w.drop, err = c.app.openDrop(ctx, &c.cfg.Common); err != nil {
			return nil, err
		}
	}
	if w.inbox, err = openLocal(c.cfg.Paths.Inbox, true); err != nil {
		return nil, err
	}
	w.out, err = openLocal(c.cfg.Paths.Outbox, true)
	return w, err
}

func (w *worker) close() {
	for _, d := range []drop.Drop{w.drop, w.inbox, w.out} {
		if d != nil {
			d.Close()
		}
	}
	if w.db != nil {
		w.db.Close()
	}
}

// source is where the tills' folders are.
func (w *worker) source() drop.Drop {
	if w.drop != nil {
		return w.drop
	}
	return w.inbox
}

// till collects from one till. The error names it.
func (w *worker) till(ctx context.Context, j job) (collectResult, error) {
	r := collectResult{Dossier: j.dossier, Till: j.till}
	if j.known != nil {
		r.Batch, r.Epoch = j.known.Integrated.Sequence, j.known.Integrated.Epoch
	}
	start := time.Now()
	err := w.collect(ctx, j, &r)
	r.Elapsed = time.Since(start).Seconds()
	if err == nil {
		return r, nil
	}
	r.Error = err.Error()
	fork := errors.Is(err, importer.ErrFork)
	// Half a head is what a till leaves that was switched off while it wrote:
	// told, but nothing that has to stand until somebody looks.
	if errors.Is(err, importer.ErrRefused) && (fork || !strings.Contains(r.Error, importer.HeadName)) && r.Quarantined == 0 {
		kind := "refused"
		if fork {
			kind, err = collect.AlarmFork, errors.Join(err, errAlarm)
		}
		if rerr := w.db.Raise(ctx, j.dossier, j.till, kind, r.Error); rerr != nil {
			err = errors.Join(err, rerr)
		}
	}
	return r, fmt.Errorf("till %s of %s: %w", j.till, j.dossier, err)
}

func (w *worker) collect(ctx context.Context, j job, r *collectResult) error {
	stream := importer.StreamUp(j.dossier, j.till)
	doc, sig, err := drop.ReadPair(ctx, w.source(), headName(stream))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	digest := ""
	if err == nil {
		digest = importer.Digest(doc)
	}
	quiet, err := w.nothingNew(ctx, j, stream, digest)
	if err != nil || quiet {
		return err
	}
	release, ours, err := w.db.Claim(ctx, stream)
	if err != nil || !ours {
		r.Elsewhere = err == nil
		return err
	}
	defer release()
	if w.drop != nil {
		if _, err := w.fetch(ctx, stream, nil); err != nil {
			return err
		}
	}
	runErr := w.integrate(ctx, stream, r)
	if digest != "" && (j.known == nil || j.known.Head != digest) {
		runErr = errors.Join(runErr, w.saveHead(ctx, j, stream, doc, sig, digest))
	}
	return errors.Join(runErr, w.receipt(ctx, j, stream, r))
}

// nothingNew reports whether the till's head is the one of last time, the next
// batch is not there, and no receipt waits to be written: a thousand tills
// are looked at so in a second.
func (w *worker) nothingNew(ctx context.Context, j job, stream, digest string) (bool, error) {
	k := j.known
	if k == nil || digest == "" || k.Head != digest || k.ReceiptDue || k.Announced != k.Integrated {
		return false, nil
	}
	_, err := w.source().Stat(ctx, stream+"/"+importer.ManifestName(k.Integrated.Sequence+1))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// trustOf is whom the stream's dossier trusts.
func (c *collection) trustOf(stream string) *keys.Trust {
	dossier, _, _ := strings.Cut(stream, "/")
	return c.trust[dossier]
}

// fetch copies what follows the till's position into the inbox.
//
// A bar is shown only where one stream is fetched at a time.
func (w *worker) fetch(ctx context.Context, stream string, b *bar) (drop.Report, error) {
	pos, err := w.db.Position(ctx, stream)
	if err != nil {
		return drop.Report{}, err
	}
	o := drop.MirrorOptions{From: pos.Sequence + 1, Log: w.c.app.log()}
	if b != nil {
		o.Progress = b.copied
		defer b.close()
	}
	return mirrorInbox(ctx, w.c.cfg.Paths.Inbox, w.inbox, w.drop, stream, o)
}

// integrate applies what the inbox holds of a till.
func (w *worker) integrate(ctx context.Context, stream string, r *collectResult) error {
	i := &importer.Importer{Applier: w.db, Stream: stream, Inbox: streamFolder(w.c.cfg.Paths.Inbox, stream), Trust: w.c.trustOf(stream), Log: w.c.app.log()}
	if w.drop != nil {
		i.Refetch = func(ctx context.Context, sequence int64) error {
			_, err := drop.Mirror(ctx, w.inbox, w.drop, stream, drop.MirrorOptions{From: sequence, To: sequence})
			return err
		}
	}
	report, err := i.Run(ctx)
	for _, b := range report.Batches {
		w.c.app.event("integrated", stream, b.Position.Sequence, b.Elapsed, "rows", b.Rows, "quarantined", b.Quarantined)
		r.Batches++
		r.Rows += b.Rows
		r.Inserted += b.Inserted + b.Updated + b.Deleted
		r.Acknowledged += b.Acknowledged
		r.Quarantined += b.Quarantined
		r.Conflicts += b.Conflicts
	}
	if !report.After.IsZero() {
		r.Batch, r.Epoch = report.After.Sequence, report.After.Epoch
	}
	if err == nil && r.Quarantined > 0 {
		err = fmt.Errorf("%w: %d rows could not be integrated and are in quarantine, all others are in; look at them with: caisseauto quarantine list", importer.ErrRefused, r.Quarantined)
	}
	return err
}

// saveHead records what the till says of itself.
func (w *worker) saveHead(ctx context.Context, j job, stream string, doc, sig []byte, digest string) error {
	head, err := importer.OpenHead(stream, doc, sig, w.c.trustOf(stream))
	if err != nil {
		return nil // told by integrate already, or replaced since: the next run reads it again
	}
	alarms, err := w.db.SaveTill(ctx, j.dossier, j.till, head, digest)
	for _, a := range alarms {
		err = errors.Join(err, fmt.Errorf("%w: %s", errAlarm, a.Text))
	}
	return err
}

// errAlarm: something stands that an operator must look at.
var errAlarm = errors.New("an alarm stands")
