package main

import (
	"context"
	"errors"
	"path"

	"caisseauto/importer"
	"caisseauto/internal/drop"
)

// fetch copies what follows the till's position from the drop into the inbox.
// A verified head spares the listing when there is nothing new, and tells a
// new till where to begin; nothing else is believed of it here.
func (t *till) fetch(ctx context.Context) (drop.Report, error) {
	d, err := t.remote(ctx)
	if err != nil {
		return drop.Report{}, err
	}
	pos, err := t.db.Position(ctx, t.stream)
	if err != nil {
		return drop.Report{}, err
	}
	r, err := remoteHead(ctx, d, t.stream, t.trust)
	if err != nil && !errors.Is(err, importer.ErrRefused) {
		return drop.Report{}, err
	}
	from := pos.Sequence + 1
	switch {
	case r.head == nil:
	case r.head.Position() == pos: // nothing new: no listing
		inbox, err := openLocal(t.cfg.Paths.Inbox, true)
		if err != nil {
			return drop.Report{}, err
		}
		defer inbox.Close()
		return drop.Report{Head: true}, r.keep(ctx, inbox, t.stream)
	case pos.IsZero():
		from = r.head.Baseline
	case r.head.Baseline >= from && r.head.Epoch == pos.Epoch:
		return t.fetchAhead(ctx, d, pos)
	case r.head.Epoch > pos.Epoch && r.head.Baseline >= from:
		from = r.head.Baseline
	}
	return t.mirror(ctx, d, drop.MirrorOptions{From: from})
}

// fetchAhead copies what a till needs that has a baseline ahead of it: the
// manifests first, which are small and say what the archives are; then the
// archives on the way that is fewer bytes.
func (t *till) fetchAhead(ctx context.Context, d drop.Drop, pos importer.Position) (drop.Report, error) {
	first, err := t.mirror(ctx, d, drop.MirrorOptions{From: pos.Sequence + 1, Skip: isArchive})
	if err != nil {
		return first, err
	}
	l, err := d.List(ctx, t.stream)
	if err != nil {
		return first, err
	}
	archives := map[int64]bool{}
	for _, f := range l.Files {
		if n, ok := drop.Sequence(f.Name); ok && isArchive(f.Name) {
			archives[n] = true
		}
	}
	route, err := t.importer().Route(pos, archives)
	if err != nil {
		return first, err
	}
	t.app.log().Info("fetching what is fewer bytes", "stream", t.stream, "from", route.From, "bytes", route.Bytes)
	second, err := t.mirror(ctx, d, drop.MirrorOptions{From: route.From, Skip: func(base string) bool {
		n, ok := drop.Sequence(base)
		return ok && isArchive(base) && route.Skip[n]
	}})
	second.Files, second.Bytes = first.Files+second.Files, first.Bytes+second.Bytes
	return second, err
}

// follow walks the trust documents that the till does not know yet: those on
// the drop, or, where that cannot be reached, in the inbox. The trust that it
// has stays in force whatever comes of it.
func (t *till) follow(ctx context.Context, network bool) error {
	var src drop.Drop
	var err error
	if network {
		src, err = t.remote(ctx)
	}
	if src == nil || err != nil {
		if src, err = openLocal(t.cfg.Paths.Inbox, true); err != nil {
			return err
		}
		defer src.Close()
	}
	trust, err := t.app.followTrust(ctx, &t.cfg.Common, src, t.dossier, false)
	if trust != nil {
		t.trust = trust
	}
	if errors.Is(err, drop.ErrUnavailable) {
		return nil // fetching will say so
	}
	return err
}

func isArchive(base string) bool { return path.Ext(base) == ".zst" }

// importer is the apply engine of the till's stream.
func (t *till) importer() *importer.Importer {
	return &importer.Importer{
		Applier: t.db, Stream: t.stream, Inbox: streamFolder(t.cfg.Paths.Inbox, t.stream),
		Trust: t.trust, Log: t.app.log(),
	}
}

func (t *till) mirror(ctx context.Context, d drop.Drop, o drop.MirrorOptions) (drop.Report, error) {
	return t.mirrorStream(ctx, d, t.stream, o)
}

// mirrorStream copies a stream from the drop into the inbox.
func (t *till) mirrorStream(ctx context.Context, d drop.Drop, stream string, o drop.MirrorOptions) (drop.Report, error) {
	inbox, err := openLocal(t.cfg.Paths.Inbox, true)
	if err != nil {
		return drop.Report{}, err
	}
	defer inbox.Close()
	bar := t.app.bar("fetching", true)
	defer bar.close()
	o.Progress, o.Log = bar.copied, t.app.log()
	return mirrorInbox(ctx, t.cfg.Paths.Inbox, inbox, d, stream, o)
}

// refetch fetches one batch again.
func (t *till) refetch(ctx context.Context, sequence int64) error {
	d, err := t.remote(ctx)
	if err != nil {
		return err
	}
	_, err = t.mirror(ctx, d, drop.MirrorOptions{From: sequence, To: sequence})
	return err
}
