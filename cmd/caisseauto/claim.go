package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"caisseauto/internal/config"
	"caisseauto/internal/database"
	"caisseauto/internal/drop"
	"caisseauto/internal/postgres"
)

// A claimer is an erpSource that several hosts may use at the same time.
type claimer interface {
	Claim(ctx context.Context, stream string) (*postgres.Claim, error)
}

// claim claims a dossier for this run, where others could be at it.
func (j *exportJob) claim(ctx context.Context, dossier string) (*postgres.Claim, error) {
	c, ok := j.source.(claimer)
	if !ok {
		return nil, nil
	}
	return c.Claim(ctx, streamDown(dossier))
}

// run exports one dossier, unless another host is at it.
func (j *exportJob) run(ctx context.Context, d config.Dossier) error {
	claim, err := j.claim(ctx, d.Code)
	if err != nil {
		return err
	}
	if claim == nil {
		return j.export(ctx, d, j.drop)
	}
	if claim.Holder != "" {
		if j.flags.baseline || j.flags.newEpoch {
			return fmt.Errorf("%w: it is exported now by %s; what was asked for was not done, run it again", database.ErrBusy, claim.Holder)
		}
		j.results = append(j.results, exportResult{Dossier: d.Code, Claimed: claim.Holder})
		return nil
	}
	defer claim.Release()
	var fenced drop.Drop
	if j.drop != nil {
		fenced = &fencedDrop{j.drop, claim}
	}
	err = j.export(claim.Context(), d, fenced)
	if lost := claim.Err(); err != nil && lost != nil && ctx.Err() == nil && !errors.Is(err, postgres.ErrClaimLost) {
		err = fmt.Errorf("%w; it ended with: %w", lost, err)
	}
	return err
}

// A fencedDrop lets nothing be written any more when the claim is lost: by then
// another host may be at the same stream.
type fencedDrop struct {
	drop.Drop
	claim *postgres.Claim
}

func (f *fencedDrop) Put(ctx context.Context, name string, size int64, feed drop.Feed) error {
	if err := f.claim.Check(); err != nil {
		return err
	}
	return f.Drop.Put(ctx, name, size, feed)
}

func (f *fencedDrop) Replace(ctx context.Context, name string, data []byte) error {
	if err := f.claim.Check(); err != nil {
		return err
	}
	return f.Drop.Replace(ctx, name, data)
}

func (f *fencedDrop) Remove(ctx context.Context, name string) error {
	if err := f.claim.Check(); err != nil {
		return err
	}
	return f.Drop.Remove(ctx, name)
}

// shipDown copies a dossier's stream from the outbox to the drop. Where several
// hosts export, the head on the drop may be another one's, and newer.
func (a *app) shipDown(ctx context.Context, d drop.Drop, cfg *config.Server, stream string) error {
	if cfg.Database.Driver != config.DriverPostgres {
		return a.shipStream(ctx, d, cfg.Paths.Outbox, stream)
	}
	newer, err := newerHead(ctx, d, cfg, stream)
	if err != nil {
		return err
	}
	r, err := a.shipAs(ctx, d, cfg.Paths.Outbox, stream, drop.MirrorOptions{KeepHead: newer})
	if err == nil {
		a.shipped(stream, r)
	}
	return err
}

// newerHead reports whether the drop has a newer head than the outbox. One that
// does not verify is not newer than any.
func newerHead(ctx context.Context, d drop.Drop, cfg *config.Server, stream string) (bool, error) {
	trust, err := trustOf(&cfg.Common)
	if err != nil {
		return false, err
	}
	local, err := openLocal(cfg.Paths.Outbox, true)
	if err != nil {
		return false, err
	}
	defer local.Close()
	dossier, _, _ := strings.Cut(stream, "/")
	there, err := remoteHead(ctx, d, stream, trust.For(dossier))
	if errors.Is(err, drop.ErrUnavailable) {
		return false, err
	}
	if err != nil || there.head == nil {
		return false, nil
	}
	here, err := remoteHead(ctx, local, stream, trust.For(dossier))
	return err == nil && here.head != nil && here.head.Issue < there.head.Issue, nil
}
