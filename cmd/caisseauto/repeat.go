package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// wait returns how long to wait before the next run of something that runs
// every so often, after a number of failures in a row: twice as long after
// each, up to most, and a fifth more or less, so that a thousand tills that
// lost the server at one moment do not come back at one moment.
func wait(every, most time.Duration, failures int) time.Duration {
	d := every
	for range failures - 1 {
		if d *= 2; d >= most {
			break
		}
	}
	if failures > 1 {
		d = max(every, min(d, most))
	}
	return d*4/5 + rand.N(d*2/5+1)
}

// pause waits, and reports whether it did to the end.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
