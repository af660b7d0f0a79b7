package schedule

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A diary notes when runs started and ended, in a time that is made up.
type diary struct {
	mu    sync.Mutex
	begin time.Time
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf("%4s ", time.Since(d.begin))+fmt.Sprintf(format, args...))
}

// TestLoop: every process at its times, one at a time per stream.
func TestLoop(t *testing.T) {
	minute := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	for _, tt := range []struct {
		name      string
		processes []Process
		takes     time.Duration
		outcome   Outcome
		until     time.Duration
		want      []string
	}{
		{"from start to start", []Process{{"a", "s", minute(5), 0}}, minute(1), Ended, minute(11),
			[]string{"  0s a", "5m0s a", "10m0s a"}},
		{"what is missed is left out", []Process{{"a", "s", minute(5), 0}}, minute(12), Ended, minute(31),
			[]string{"  0s a", "15m0s a", "30m0s a"}},
		{"one stream, one at a time", []Process{{"a", "s", minute(5), 0}, {"b", "s", minute(5), 0}}, minute(2), Ended, minute(4) - 1,
			[]string{"  0s ?", "2m0s ?"}},
		{"two streams, side by side", []Process{{"a", "s", minute(5), 0}, {"b", "u", minute(5), 0}}, minute(2), Ended, minute(4),
			[]string{"  0s ?", "  0s ?"}},
		{"busy: soon again", []Process{{"a", "s", minute(5), 0}}, 0, Busy, 70 * time.Second,
			[]string{"  0s a", " 30s a", "1m0s a"}},
		{"busy, and due before", []Process{{"a", "s", 10 * time.Second, 0}}, 0, Busy, 25 * time.Second,
			[]string{"  0s a", " 10s a", " 20s a"}},
		{"denied: much later", []Process{{"a", "s", minute(1), 0}}, 0, Denied, minute(31),
			[]string{"  0s a", "15m0s a", "30m0s a"}},
		{"denied, and due later still", []Process{{"a", "s", minute(60), 0}}, 0, Denied, minute(61),
			[]string{"  0s a", "1h0m0s a"}},
		{"jitter before each start", []Process{{"a", "s", minute(5), minute(2)}}, 0, Ended, minute(13),
			[]string{"1m0s a", "6m0s a", "11m0s a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &diary{begin: time.Now()}
				s := &Schedule{Random: func(max time.Duration) time.Duration { return max / 2 },
					Run: func(_ context.Context, p Process) Outcome {
						d.note("%s", p.Name)
						time.Sleep(tt.takes)
						return tt.outcome
					}}
				ctx, cancel := context.WithTimeout(t.Context(), tt.until)
				defer cancel()
				s.Loop(ctx, tt.processes)
				for i := range tt.want { // which of two comes first is open
					if n := len(tt.want[i]) - 1; tt.want[i][n] == '?' && i < len(d.lines) {
						d.lines[i] = d.lines[i][:len(d.lines[i])-1] + "?"
					}
				}
				if diff := cmp.Diff(tt.want, d.lines); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestStop: Loop ends when the runs have, and starts nothing more.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		runs, ended := 0, false
		s := &Schedule{Run: func(ctx context.Context, _ Process) Outcome {
			runs++
			<-ctx.Done()
			time.Sleep(time.Second) // it finishes what it is at
			ended = true
			return Ended
		}}
		go func() { time.Sleep(time.Minute); cancel() }()
		s.Loop(ctx, []Process{{"a", "s", time.Second, 0}, {"b", "s", time.Second, 0}})
		if runs != 1 || !ended {
			t.Errorf("%d runs, ended %v", runs, ended)
		}
	})
}

// TestRandom: a jitter is spread over its whole length and never beyond.
func TestRandom(t *testing.T) {
	s := &Schedule{}
	low, high := time.Hour, time.Duration(0)
	for range 10_000 {
		r := s.random(time.Minute)
		low, high = min(low, r), max(high, r)
	}
	if low > time.Second || high < 59*time.Second || high > time.Minute {
		t.Errorf("from %s to %s", low, high)
	}
}
