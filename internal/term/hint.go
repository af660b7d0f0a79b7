package term

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// hinted is an error and what to do about it.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

// WithHint returns err with a hint that [Report] shows under it: what to do
// next, best as the very command. A nil err stays nil.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// Report writes an error for people, and under it the hints of the errors it
// wraps, outermost first.
func Report(w io.Writer, program string, err error) {
	for i, line := range strings.Split(err.Error(), "\n") {
		if i == 0 {
			line = program + ": " + line
		} else {
			line = "  " + line
		}
		fmt.Fprintln(w, Clean(line))
	}
	for _, hint := range hints(err, nil) {
		fmt.Fprintln(w, Clean("  hint: "+hint))
	}
}

// hints walks the tree of wrapped errors; errors.As would find one alone.
func hints(err error, found []string) []string {
	if h, ok := err.(*hinted); ok {
		found = append(found, h.hint)
	}
	switch u := err.(type) {
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			found = hints(e, found)
		}
	default:
		if next := errors.Unwrap(err); next != nil {
			found = hints(next, found)
		}
	}
	return found
}
