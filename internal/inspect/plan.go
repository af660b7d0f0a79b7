package inspect

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"caisseauto/manifest"
)

// A planned is what a manifest said, in the order of the listing.
type planned struct {
	sequence int64
	created  time.Time // zero: it could not be opened
	begins   bool      // it names no batch before it
	wanted   bool      // it has rows of the table
	digest   string
	cost     int64
	doc, sig []byte // nil: too many are kept already
}

// plan opens the manifests of all places but packages and finds the candidates.
func (s *search) plan(ctx context.Context) error {
	for n, p := range s.places {
		if manifest.IsPackages(p.Stream) {
			continue
		}
		if err := s.planPlace(ctx, n, p); err != nil {
			return err
		}
	}
	return s.ended(ctx)
}

func (s *search) planPlace(ctx context.Context, place int, p Place) error {
	l, err := p.Files.List(ctx)
	if err != nil {
		err = unreadable(ctx, p.Stream, err)
		if fatal(ctx, err) || len(s.places) == 1 {
			return err
		}
		s.missed(Unsearched{Stream: p.Stream, Reason: err.Error(), Wrong: true})
		return nil
	}
	batches := l.Batches
	if p.Only != 0 {
		batches = slices.DeleteFunc(batches, func(b Listed) bool { return b.Sequence != p.Only })
		if len(batches) == 0 {
			return fmt.Errorf("%s: %w", shown(p, manifest.FileName(p.Only, manifest.ManifestExt)), fs.ErrNotExist)
		}
	}
	progress := s.progress("reading manifests of "+p.Stream, int64(len(batches)), false)
	defer progress.Done()
	out := make([]planned, len(batches))
	work := make(chan int)
	var wait sync.WaitGroup
	for range s.workers() {
		wait.Go(func() {
			for n := range work {
				out[n] = s.planBatch(ctx, p, batches[n])
				progress.Add(1)
			}
		})
	}
	for n := range batches {
		if ctx.Err() != nil {
			break
		}
		work <- n
	}
	close(work)
	wait.Wait()
	if err := s.ended(ctx); err != nil {
		return err
	}
	s.choose(place, p, out)
	return nil
}

// planBatch opens one manifest and looks whether it has members of the table.
func (s *search) planBatch(ctx context.Context, p Place, l Listed) planned {
	out := planned{sequence: l.Sequence}
	doc, sig, b, err := s.openForPlan(ctx, p, l)
	if err != nil {
		s.notSearched(ctx, p, l.Sequence, err)
		return out
	}
	m := b.Manifest
	out.created, out.begins = m.Created, m.Previous == manifest.NoPrevious()
	t := tableOf(m, s.table)
	if t == nil {
		s.note(m)
		return out
	}
	listed := slices.ContainsFunc(m.Members, func(x manifest.Member) bool { return x.Table == s.table })
	_, misfit := s.key.bind(t.Name, t.Key)
	if s.fit(misfit); !listed {
		return out
	}
	if misfit == nil && !l.Archive {
		misfit = fmt.Errorf("%s: %w", shown(p, m.Archive.Name), fs.ErrNotExist)
	}
	if misfit != nil {
		s.notSearched(ctx, p, l.Sequence, misfit)
		return out
	}
	out.wanted, out.digest, out.cost = true, b.Digest, costOf(doc, m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes += m.Archive.Size
	if n := int64(len(doc) + len(sig)); s.kept+n <= maxKept {
		s.kept += n
		out.doc, out.sig = doc, sig
	}
	return out
}

// fit remembers that a manifest lists the table, and whether the key fits it.
func (s *search) fit(misfit error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found.Batches++
	s.known = true
	if misfit == nil {
		s.fits++
	} else if s.misfit == nil {
		s.misfit = misfit
	}
}

func (s *search) openForPlan(ctx context.Context, p Place, l Listed) (doc, sig []byte, b *Batch, err error) {
	if !l.Manifest || !l.Signature {
		b, err = s.openListed(ctx, p, l)
		return nil, nil, b, err
	}
	doc, sig, err = readStatement(ctx, p, manifest.FileName(l.Sequence, manifest.ManifestExt), manifest.FileName(l.Sequence, manifest.SignatureExt), manifest.MaxManifest)
	if err == nil {
		b, err = s.open(p, l.Sequence, doc, sig)
	}
	return doc, sig, b, err
}

// note remembers the tables that there are, for one who has mistyped a name.
func (s *search) note(m *manifest.Manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found.Batches++
	for _, t := range m.Tables {
		if len(s.found.Tables) < maxTables && !slices.Contains(s.found.Tables, t.Name) {
			s.found.Tables = append(s.found.Tables, t.Name)
		}
	}
}

// choose makes candidates of what was planned, and finds numbers of which
// nothing is there.
func (s *search) choose(place int, p Place, list []planned) {
	next, order := int64(1), time.Time{}
	for _, b := range list {
		if p.Only == 0 && b.sequence > next && !b.begins {
			s.missed(Unsearched{Stream: p.Stream, First: next, Last: b.sequence - 1, Reason: hole, Wrong: next > 1})
		}
		next = b.sequence + 1
		if b.created.After(order) {
			order = b.created
		}
		if b.wanted {
			s.candidates = append(s.candidates, candidate{place: place, sequence: b.sequence, order: order, digest: b.digest, cost: b.cost, doc: b.doc, sig: b.sig})
		}
	}
}

// hole is the reason where there is no file at all.
const hole = "no file of it is there"
