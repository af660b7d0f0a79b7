package schedule

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// An Outcome is what came of a run, as far as the schedule must know.
type Outcome int

// The outcomes.
const (
	Ended  Outcome = iota // well or not: the next run is due at its time
	Busy                  // something else was at work: again soon
	Denied                // the login was refused: not again for a while
)

const (
	// soon is when what was busy is tried again, unless it is due before.
	soon = 30 * time.Second
	// later is the least time after a login that was denied: OpenSSH counts
	// such tries against the address they come from (sshd_config,
	// PerSourcePenalties).
	later = 15 * time.Minute
)

// A Process is what is to run.
type Process struct {
	Name   string
	Stream string        // runs of one stream never overlap
	Every  time.Duration // from start to start, more than 0
	Jitter time.Duration // a random delay up to this before each start
}

// A Schedule runs processes until it is told to stop.
type Schedule struct {
	// Run runs one process to its end. It must return soon after its context
	// has ended.
	Run func(ctx context.Context, p Process) Outcome
	// Random returns a time from 0 to max; nil is a uniform one.
	Random func(max time.Duration) time.Duration
}

// Loop runs the processes, the first time at once, until ctx ends; then it
// waits for those that are at work, and returns.
func (s *Schedule) Loop(ctx context.Context, processes []Process) {
	streams := map[string]chan struct{}{}
	for _, p := range processes {
		if streams[p.Stream] == nil {
			streams[p.Stream] = make(chan struct{}, 1)
		}
	}
	var all sync.WaitGroup
	for _, p := range processes {
		all.Go(func() { s.loop(ctx, p, streams[p.Stream]) })
	}
	all.Wait()
}

// loop runs one process. stream has room for one run.
func (s *Schedule) loop(ctx context.Context, p Process, stream chan struct{}) {
	begin := time.Now()
	for wait := s.random(p.Jitter); pause(ctx, wait); {
		select {
		case stream <- struct{}{}:
		case <-ctx.Done():
			return
		}
		outcome := s.Run(ctx, p)
		<-stream
		wait = s.next(p, outcome, time.Since(begin))
	}
}

// next returns how long to wait after a run. Runs are due at begin, and at
// every multiple of Every after it; those that were missed are left out.
func (s *Schedule) next(p Process, o Outcome, since time.Duration) time.Duration {
	due := (since/p.Every+1)*p.Every - since
	switch {
	case o == Busy && due > soon:
		return soon
	case o == Denied && due < later:
		return later
	}
	return due + s.random(p.Jitter)
}

func (s *Schedule) random(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	if s.Random != nil {
		return s.Random(limit)
	}
	return rand.N(limit + 1)
}

// pause waits; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
