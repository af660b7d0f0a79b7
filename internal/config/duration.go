package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Duration is a length of time written as in "90s", "5m", "24h" or "7d".
// It is a struct so that a bare number in a file is an error, and not that
// many nanoseconds.
type Duration struct{ time.Duration }

// maxDuration keeps sums of a duration and a time of day far from overflow.
const maxDuration = 10 * 366 * 24 * time.Hour

// String writes whole days as days, else as time.Duration does.
func (d Duration) String() string {
	if t := d.Duration; t > 0 && t%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", t/(24*time.Hour))
	}
	return d.Duration.String()
}

// UnmarshalText reads a duration. Zero and less are refused: a schedule or an
// expiry of nothing is a mistake everywhere it may stand.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	t, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		// The standard library has no days. 24 hours each: no schedule here
		// follows the wall clock.
		if t, err = time.ParseDuration(days + "h"); err == nil && t < maxDuration {
			t *= 24
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf(`%q is not a duration; write a number and a unit in quotes, like "30s", "5m", "24h" or "7d"`, s)
	case t <= 0:
		return errors.New("a duration must be more than zero")
	case t > maxDuration:
		return fmt.Errorf("%q is longer than ten years", s)
	}
	d.Duration = t
	return nil
}
