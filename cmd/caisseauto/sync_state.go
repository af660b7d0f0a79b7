package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"caisseauto/importer"
	"caisseauto/internal/drop"
)

// What sync remembers in the till's database between two runs.
const (
	stateOffline = "offline_since" // RFC 3339; empty: the drop was reached last time
	stateAlarm   = "alarm"         // what stands wrong with the stream up, in words
	stateRefused = "refused"       // what import refused last, so that the JET has it once
	stateReceipt = "receipt_bad"   // what was wrong with the receipt
)

// offline notes that the drop cannot be reached, once, and returns err.
// Errors of another kind are passed on as they are.
func (s *synchroniser) offline(ctx context.Context, err error) error {
	if !errors.Is(err, drop.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	if w, werr := s.box.Waiting(ctx); werr == nil && w.Rows > 0 {
		err = fmt.Errorf("%w; nothing is lost: %d rows wait in the outbox, and are sent when the server can be reached", err, w.Rows)
	}
	since, serr := s.box.State(ctx, stateOffline)
	if serr != nil || since != "" {
		return errors.Join(err, serr)
	}
	return errors.Join(err,
		s.box.SetState(ctx, stateOffline, time.Now().UTC().Format(time.RFC3339)),
		s.box.Event(ctx, codes(s.cfg).Offline, "the server cannot be reached; tickets wait on the till", ""))
}

// online notes that the drop is reached again, once.
func (s *synchroniser) online(ctx context.Context) error {
	since, err := s.box.State(ctx, stateOffline)
	if err != nil || since == "" {
		return err
	}
	if err := s.box.Event(ctx, codes(s.cfg).Online, "the server is reached again; off line since "+since, since); err != nil {
		return err
	}
	return s.box.SetState(ctx, stateOffline, "")
}

// refused notes in the JET that something from the server was refused, once
// for the same reason in a row, and returns err.
func (s *synchroniser) refused(ctx context.Context, name string, err error) error {
	if !errors.Is(err, importer.ErrRefused) {
		return err
	}
	text := err.Error()
	last, serr := s.box.State(ctx, name)
	if serr != nil || last == text {
		return errors.Join(err, serr)
	}
	return errors.Join(err, s.box.SetState(ctx, name, text), s.box.Event(ctx, codes(s.cfg).Refused, text, ""))
}

// forgive takes a note back: that is right again.
func (s *synchroniser) forgive(ctx context.Context, name string) error {
	last, err := s.box.State(ctx, name)
	if err != nil || last == "" {
		return err
	}
	return s.box.SetState(ctx, name, "")
}

// state is what the till's head says of the till.
func (s *synchroniser) state(ctx context.Context) (*importer.TillState, error) {
	w, err := s.box.Waiting(ctx)
	if err != nil {
		return nil, err
	}
	t := &importer.TillState{Version: version(), Waiting: w.Rows, OldestWaiting: w.Oldest,
		FreeBytes: freeBytes(filepath.Dir(s.cfg.Database.DSN))}
	if t.Incarnation, err = s.box.Incarnation(ctx); err != nil {
		return nil, err
	}
	if t.Applied, err = s.box.Applied(ctx); err != nil {
		return nil, err
	}
	if t.Host, err = os.Hostname(); err != nil {
		t.Host = ""
	}
	if s.cfg.Update != nil {
		if t.Software, err = packagesOf(s.cfg, s.dossier).Software(); err != nil {
			t.Alarms = append(t.Alarms, clip("software packages: "+err.Error(), 500))
		}
	}
	for _, name := range []string{stateAlarm, stateRefused, stateReceipt} {
		text, err := s.box.State(ctx, name)
		if err != nil {
			return nil, err
		}
		if text != "" {
			t.Alarms = append(t.Alarms, clip(text, 500))
		}
	}
	return t, nil
}

// clip cuts a text that is too long for a head.
func clip(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most]) + "…"
}

// background synchronises until ctx ends. Being off line is a normal state:
// one line when it begins, one when it ends.
func (s *synchroniser) background(ctx context.Context) error {
	var since time.Time
	failures := 0
	for {
		r, err := s.once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // asked to end: what is sealed is kept, the rest waits in the outbox
		case errors.Is(err, drop.ErrUnavailable):
			if failures++; since.IsZero() {
				since = time.Now()
				s.say("off line: %v; trying again quietly", err)
			}
		case err != nil && exitCode(err) != exitBusy && exitCode(err) != exitRefused:
			return err // an operator is needed, or the configuration is wrong
		default:
			if !since.IsZero() {
				s.say("on line again after %s; %d rows still wait for their receipt", time.Since(since).Round(time.Second), r.Waiting)
			}
			since, failures = time.Time{}, 0
			if err != nil {
				s.say("%v", err)
			} else if r.Sealed || r.Pruned > 0 {
				s.app.log().Info("synchronised", "stream", s.stream, "sequence", r.Batch, "rows", r.Rows, "pruned", r.Pruned, "waiting", r.Waiting)
			}
		}
		if !pause(ctx, wait(s.flags.every, s.cfg.Sync.MaxBackoff.Duration, failures)) {
			return nil
		}
	}
}

func (s *synchroniser) say(format string, args ...any) {
	fmt.Fprintf(s.app.stderr, "%s caisseauto: till %s: %s\n", time.Now().Format(time.DateTime), s.cfg.Identity.Number, fmt.Sprintf(format, args...))
}
